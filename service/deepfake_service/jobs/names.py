"""The names by which DBOS knows the service and its jobs."""

from __future__ import annotations

APPLICATION = "deepfake-service"
WORKFLOW_VERSION = "1"
"""Version of the workflow's steps and of their results. Raise it if the worker can no longer resume
a job that an older one began."""
EXAMINE = "examine"
QUEUE = "examinations"
_BUNDLE_CHARS = 32


def job_version(bundle_sha256: str) -> str:
    """Return the version of jobs that are examined with a model bundle.

    DBOS gives a worker jobs of its own version only. So another model than the one that a job was
    begun with never goes on with it, nor does a workflow of other steps; see ``jobs/take_over.py``.
    """
    return f"{WORKFLOW_VERSION}-{bundle_sha256[:_BUNDLE_CHARS]}"


def has_our_workflow(version: str | None) -> bool:
    """Return whether jobs of ``version`` have the workflow of this program."""
    return (version or "").partition("-")[0] == WORKFLOW_VERSION
