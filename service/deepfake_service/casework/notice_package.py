"""What a person sends with a notice: its signed PDF, its text, reports and screenshots."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

from deepfake_service.casework.core.cases import Cases
from deepfake_service.casework.evidence_store import EvidenceStore
from deepfake_service.casework.notice_desk import NoticeDesk
from deepfake_service.errors import EvidenceMissing, ImageryWithheld, NotFound
from deepfake_service.evidence.builder import report_of
from deepfake_service.evidence.zip_format import zipped
from deepfake_service.security.accounts import Caller
from deepfake_service.storage import BlobMissing

_ENDINGS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp"}


def package_of(
    desk: NoticeDesk, cases: Cases, evidence: EvidenceStore, caller: Caller, notice_id: str
) -> bytes:
    """Return a ZIP with a notice, the reports it refers to and the screenshots of its posts.

    ``contents.json`` has the SHA-256 of each file, and the examinations and editions of the
    evidence that the notice relies on. Reports are those of these editions, in the language of the
    notice. Files that were deleted are left out, and reports and screenshots where a person shown
    may be a minor. Every reading is audited.

    Raises:
        NotFound: there is no such notice, or the caller may not see it. ImageryWithheld: its PDF
            encloses captures, and a person shown was flagged as a possible minor since.
    """
    notice = desk.read(caller, notice_id)
    files = {"notice.pdf": desk.pdf(caller, notice_id), "notice.txt": notice["text"].encode()}
    for number, occurrence_id in enumerate(dict.fromkeys(notice["occurrence_ids"]), 1):
        try:
            picture = cases.screenshot(caller, notice["case_id"], occurrence_id)
        except (NotFound, ImageryWithheld, BlobMissing):
            continue
        ending = next((e for start, e in _ENDINGS.items() if picture.startswith(start)), "bin")
        files[f"screenshots/{number:03}-{occurrence_id}.{ending}"] = picture
    for basis in notice["basis"]:
        with contextlib.suppress(NotFound, EvidenceMissing, ImageryWithheld, BlobMissing):
            report = report_of(notice["language"])
            content = evidence.member(caller, basis["job"], report, basis["edition"])
            files[f"reports/{basis['job']}.pdf"] = content
    files["contents.json"] = _contents(notice, files)
    return zipped(files)


def _contents(notice: dict[str, Any], files: dict[str, bytes]) -> bytes:
    content = {
        "notice": notice["id"],
        "kind": notice["kind"],
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        "evidence": [
            {name: b[name] for name in ("sha256", "job", "edition", "examined_at")}
            for b in notice["basis"]
        ],
    }
    return json.dumps(content, indent=2).encode()
