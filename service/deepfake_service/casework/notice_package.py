"""What a person sends with a notice: its signed PDF, its text and screenshots."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from deepfake_service.casework.core.cases import Cases
from deepfake_service.casework.notice_desk import NoticeDesk
from deepfake_service.errors import ImageryWithheld, NotFound
from deepfake_service.evidence.zip_format import zipped
from deepfake_service.security.accounts import Caller
from deepfake_service.storage import BlobMissing

_ENDINGS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp"}


def package_of(desk: NoticeDesk, cases: Cases, caller: Caller, notice_id: str) -> bytes:
    """Return a ZIP with a notice and the screenshots of its posts. Every reading is audited.

    ``contents.json`` has the SHA-256 of each file, and the examinations and editions of the
    evidence that the notice relies on. Screenshots that were deleted are left out, and all of them
    where a person shown may be a minor.

    Raises:
        NotFound: there is no such notice, or the caller may not see it.
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
