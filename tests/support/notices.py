"""What notices under test are about, and fields that each kind of notice accepts.

``python -m tests.support.notices`` writes the kinds of notices into the documentation.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_models.bundle.results import VerdictCode
from deepfake_service.cases.posts import Post
from deepfake_service.notices.compose import Basis
from deepfake_service.notices.kinds import KINDS
from deepfake_service.platform.db import Case, Job, Occurrence
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.findings import Decision
from deepfake_service.platform.storage import seal_json
from deepfake_service.review.reviews import Judgement
from tests.support.jobs import submit

# ``conftest.Service`` of the unit tests, which imports these modules itself.
Service = Any

SEEN = [
    Post(
        id="o1", media_id="m1", recorded_at="2026-01-02T03:04:05+00:00",
        source_url="https://example.org/watch?v=1", platform="P", account="a",
        captured_at="2026-01-02T03:04:05+00:00", note=None, case_reference=None, collector="c1",
        tool=None, capture=None, capture_sha256=None, claimed=None, screenshot=True,
    )
]  # fmt: skip


def seen(**changes: object) -> Post:
    """Return the post of ``SEEN`` with changes."""
    return SEEN[0].model_copy(update=changes)


BASIS = [
    Basis(
        sha256="ab" * 32, finding="confirmed", reviewers=2, reasons=["Compared."], report=True,
        verdict="likely_manipulated", job="j1", edition=2, examined_at="2026-01-02T03:04:05+00:00",
    )
]  # fmt: skip
LONG = "Somebody's face was put into this video without their consent."
RLO = "\u202e"
"""A right-to-left override, after which text is shown in reverse."""
BY_TYPE = {
    "text": "A", "statement": LONG, "email": "a@example.org", "phone": "+82 2 1234 5678",
    "date": "2026-01-02", "signature": "/s/ A", "affirmation": True,
}  # fmt: skip
KOREAN = {
    "kr-tba-22-5": {
        "reporter_name": "김신고", "request": "deletion", "reason": "false_video",
        "signature": "김신고",
    },
    "kr-d4u": {
        "requester_name": "김신청", "identity_proof": "주민등록증 사본", "post_title": "제목",
        "keywords": "검색어",
    },
    "budapest-29": {"authority": "경찰청", "offence": "성폭력처벌법 제14조의2"},
}  # fmt: skip
GOOD: dict[str, dict[str, Any]] = {
    kind.id: {
        name: field.choices[0].value if field.choices else BY_TYPE[field.type]
        for name, field in kind.fields.items()
        if not field.optional
    }
    | KOREAN.get(kind.id, {})
    for kind in KINDS.values()
}
"""Fields that each kind of notice accepts."""


def look_manipulated(service: Service, session: Session, job_id: str) -> None:
    """End a job with that verdict, without evidence."""
    row = session.get_one(Job, job_id)
    key = service.app.state.shared.services.vault.case_key(session.get_one(Case, row.case_id))
    row.state, row.verdict = JobState.SUCCEEDED, VerdictCode.LIKELY_MANIPULATED
    row.finished_at = row.finished_at or service.clock()
    counts = {"sampled": 0, "with_face": 0, "failed": 0, "longest_gap_s": 0.0}
    empty = {"media": None, "score": None, "log_likelihood_ratio": None, "frames": counts}
    lists: dict[str, Any] = {"reasons": [], "tracks": [], "faces": [], "examined": ["face"]}
    seal_json(key, row, {"verdict": str(row.verdict), **empty, **lists})


def decide(service: Service, job_id: str, decision: Decision, role: Role = Role.ANALYST) -> None:
    """Record what an account decides about a job."""
    caller = service.accounts.authenticate(service.keys[role])
    service.app.state.shared.services.reviews.decide(
        caller, job_id, Judgement(decision=decision, reason="Compared.")
    )


async def confirmed(service: Service) -> tuple[str, str]:
    """Return the ids of a case with a file that was found manipulated, and of its occurrence."""
    job = await submit(service, source_url="https://example.org/1", platform="Example")
    with service.database.write() as session:
        look_manipulated(service, session, job["id"])
        session.get_one(Job, job["id"]).evidence_expired_at = service.clock()
        seen = session.scalars(select(Occurrence.id)).one()
    decide(service, job["id"], Decision.CONFIRMED)
    return job["case_id"], seen


async def drafted(service: Service, **changes: Any) -> dict[str, Any]:
    """Create a notice about a file that was found manipulated."""
    case_id, seen = await confirmed(service)
    content = {
        "kind": "kr-d4u", "language": "en", "occurrence_ids": [seen], "fields": GOOD["kr-d4u"],
        "recipient": "D4U", **changes,
    }  # fmt: skip
    answer = await service.client.post(f"/v1/cases/{case_id}/notices", json=content)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def updated(service: Service, notice_id: str, **changes: Any) -> dict[str, Any]:
    answer = await service.client.patch(f"/v1/notices/{notice_id}", json=changes)
    assert answer.status_code == 200, answer.text
    notice: dict[str, Any] = answer.json()
    return notice


DOCS = Path(__file__).parents[2] / "docs"
NOTICE_PAGES = {"en": DOCS / "notices.md", "ko": DOCS / "ko" / "notices.md"}
HEADS = {
    "en": ("kind", "law of", "addressee", "legal basis", "time to act"),
    "ko": ("종류", "법", "수신자", "근거 규정", "처리 기한"),
}
RECIPIENTS = {
    "en": {
        "platform": "a platform",
        "authority": "an authority",
        "search_engine": "a search engine",
    },
    "ko": {"platform": "플랫폼", "authority": "기관", "search_engine": "검색 사업자"},
}


def page_with_kinds(language: str) -> str:
    """Return the page of notices in a language with the table as the manifests have it."""
    rows = [HEADS[language], ("---",) * 5]
    for kind in KINDS.values():
        name = kind.recipient_name
        recipient = name.of(language) if name else RECIPIENTS[language][kind.recipient]
        law, deadline = kind.law.of(language), kind.deadline.of(language)
        rows.append((f"`{kind.id}`", kind.country, recipient, law, deadline))
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    page = NOTICE_PAGES[language].read_text(encoding="utf-8")
    return re.sub(rf"\| {HEADS[language][0]} \|.*?\n(?=\n)", lambda _: table, page, flags=re.S)


if __name__ == "__main__":
    for each, path in NOTICE_PAGES.items():
        path.write_text(page_with_kinds(each), encoding="utf-8")
