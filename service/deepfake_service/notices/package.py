"""What a person sends with a notice: its PDF, its text, reports and screenshots."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain

from deepfake_service.accounts.accounts import Caller
from deepfake_service.cases.cases import Cases
from deepfake_service.evidence.bundle.zip_format import sha256, zip_pieces
from deepfake_service.evidence.report.report import ReportCopy
from deepfake_service.evidence.store import EvidenceStore
from deepfake_service.notices.desk import NoticeDesk
from deepfake_service.notices.shapes import FullNotice
from deepfake_service.platform.errors import EvidenceMissing, Forbidden, NotFound

_ENDINGS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp"}


def package_of(
    desk: NoticeDesk, cases: Cases, evidence: EvidenceStore, caller: Caller, notice_id: str
) -> Iterator[bytes]:
    """Return the pieces of a ZIP with a notice, the reports it refers to and the screenshots of its
    posts. The notice is read now, and each other file when its piece is: 200 screenshots may have
    3 GiB together.

    ``contents.json`` has the SHA-256 of each file, and the examinations and editions of the
    evidence that the notice relies on. Reports are those of these editions, in the language of the
    notice; without the reasons of the reviewers, if the notice is. Files that were deleted are left
    out, and reports and screenshots where a person shown may be a minor. Every reading is audited.
    ``NotFound`` if there is no such notice, or the caller may not see it; ``Forbidden`` or
    ``Conflict`` as ``NoticeDocuments.pdf``.
    """
    notice = desk.read(caller, notice_id)
    letter = [("notice.pdf", desk.pdf(caller, notice_id)), ("notice.txt", notice.text.encode())]
    screenshots = _screenshots(cases, caller, notice)
    files = chain(iter(letter), screenshots, _reports(evidence, caller, notice))
    return zip_pieces(_with_contents(notice, files))


Files = Iterable[tuple[str, bytes]]
"""Files with their names, each of which is read when it is its turn."""


def _screenshots(cases: Cases, caller: Caller, notice: FullNotice) -> Files:
    for number, occurrence_id in enumerate(dict.fromkeys(notice.occurrence_ids), 1):
        try:
            picture = cases.screenshot(caller, notice.case_id, occurrence_id)
        except (NotFound, Forbidden):
            continue
        ending = next((e for start, e in _ENDINGS.items() if picture.startswith(start)), "bin")
        yield f"screenshots/{number:03}-{occurrence_id}.{ending}", picture


def _reports(evidence: EvidenceStore, caller: Caller, notice: FullNotice) -> Files:
    language = notice.language
    for basis in notice.basis:
        if not basis.report:
            continue
        try:
            copy = ReportCopy(reasons=bool(basis.reasons))
            content = evidence.report(caller, basis.job, language, copy, basis.edition)
        except (NotFound, EvidenceMissing, Forbidden):
            continue
        yield f"reports/{basis.job}.pdf", content


def _with_contents(notice: FullNotice, files: Files) -> Files:
    digests = {}
    for name, content in files:
        digests[name] = sha256(content)
        yield name, content
    contents = {
        "notice": notice.id,
        "kind": notice.kind,
        "files": digests,
        "evidence": [
            {name: getattr(b, name) for name in ("sha256", "job", "edition", "examined_at")}
            for b in notice.basis
        ],
    }
    yield "contents.json", json.dumps(contents, indent=2).encode()
