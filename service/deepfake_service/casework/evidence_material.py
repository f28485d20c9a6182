"""What was gathered for the evidence of a job, from which its editions are made."""

from __future__ import annotations

import json
from typing import Any

from deepfake_service.casework.core.cases import folder_of
from deepfake_service.db import Job
from deepfake_service.evidence import zip_format as bag
from deepfake_service.evidence.artifacts import EXAMINATION
from deepfake_service.storage import Vault


def material_of(job: Job) -> str:
    """Return the name of the blob of what was gathered for a job's evidence."""
    return f"{folder_of(job.case_id)}material-{job.id}"


def material_member(vault: Vault, job: Job, key: bytes, name: str) -> bytes:
    """Return one file of what was gathered for a job's evidence.

    Raises:
        BlobMissing: nothing was gathered, or it was deleted. KeyError: it has no such file.
    """
    return bag.member(vault.read(material_of(job), key), name)


def examination_of(vault: Vault, job: Job, key: bytes) -> dict[str, Any]:
    """Return the record of the examination that was gathered for a job's evidence.

    Raises:
        BlobMissing: nothing was gathered, or it was deleted.
    """
    content: dict[str, Any] = json.loads(material_member(vault, job, key, EXAMINATION))
    return content
