"""What the steps of an examination leave for each other, sealed: the blobs below ``work/JOB/``.

A step may run in another worker than the step before it, and that worker may run
another model. All blobs are deleted when the job ends.
"""

from __future__ import annotations

import json
from typing import Any

from deepfake_models.bundle.results import Verdict
from deepfake_models.decision.decide import Part
from deepfake_models.decision.serialization import (
    dump_part,
    dump_timeline,
    dump_verdict,
    load_part,
    load_timeline,
    load_verdict,
)
from deepfake_models.media.interface import SavedTimeline, Timeline
from deepfake_service.platform.storage import BlobMissing, Vault

_PLAN, _OVERVIEW, _TIMELINE, _VERDICT = "plan", "overview", "timeline", "verdict"


class JobFiles:
    """The intermediate results of one job."""

    def __init__(self, vault: Vault, job_id: str, case_key: bytes) -> None:
        self._vault = vault
        self._prefix = f"work/{job_id}/"
        self._key = case_key

    def save_plan(self, chunks: list[list[int]]) -> None:
        """Save which frames are examined, a list of indices a chunk."""
        self._save_json(_PLAN, chunks)

    def plan(self) -> list[list[int]]:
        """Return what ``save_plan`` saved; empty before that."""
        content = self._read(_PLAN)
        chunks: list[list[int]] = json.loads(content) if content else []
        return chunks

    def save_overview_chunks(self, count: int) -> None:
        """Save how many chunks of the plan, from the first, are the overview of the video."""
        self._save_json(_OVERVIEW, count)

    def overview_chunks(self) -> int | None:
        """Return what ``save_overview_chunks`` saved; ``None`` before that."""
        content = self._read(_OVERVIEW)
        return int(json.loads(content)) if content else None

    def save_timeline(self, timeline: Timeline) -> None:
        """Save the facts of the medium and the times of its frames."""
        self._save(_TIMELINE, dump_timeline(timeline))

    def timeline(self) -> SavedTimeline:
        """Return what ``save_timeline`` saved."""
        return load_timeline(self._vault.read(self._prefix + _TIMELINE, self._key))

    def save_part(self, number: int, part: Part, model_sha256: str) -> None:
        """Save what examining chunk ``number`` with a model gave."""
        self._save(f"part-{number}", bytes.fromhex(model_sha256) + dump_part(part))

    def part(self, number: int, model_sha256: str) -> Part | None:
        """Return what ``save_part`` saved; ``None`` where another model examined the chunk.

        Raises:
            BlobMissing: nothing was saved.
        """
        content = self._vault.read(self._prefix + f"part-{number}", self._key)
        digest = bytes.fromhex(model_sha256)
        return load_part(content[len(digest) :]) if content.startswith(digest) else None

    def save_verdict(self, verdict: Verdict) -> None:
        """Save the verdict on media that cannot be examined at all."""
        self._save(_VERDICT, dump_verdict(verdict))

    def verdict(self) -> Verdict | None:
        """Return what ``save_verdict`` saved; ``None`` for media that can be examined."""
        content = self._read(_VERDICT)
        return load_verdict(content) if content else None

    def delete_leftovers(self) -> None:
        """Delete what an earlier attempt left that ``save_plan`` does not replace."""
        for name in (_VERDICT, _OVERVIEW):
            self._vault.blobs.delete(self._prefix + name)

    def delete_all(self, chunks: int) -> None:
        """Delete everything, with the parts of ``chunks`` chunks."""
        for name in (_PLAN, _OVERVIEW, _TIMELINE, _VERDICT, *(f"part-{n}" for n in range(chunks))):
            self._vault.blobs.delete(self._prefix + name)

    def _save_json(self, name: str, content: Any) -> None:
        self._save(name, json.dumps(content, separators=(",", ":")).encode())

    def _save(self, name: str, content: bytes) -> None:
        self._vault.write(self._prefix + name, self._key, content)

    def _read(self, name: str) -> bytes | None:
        try:
            return self._vault.read(self._prefix + name, self._key)
        except BlobMissing:
            return None
