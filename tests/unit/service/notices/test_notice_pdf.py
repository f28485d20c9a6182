"""PDFs of notices: the statutory form, letters in rows, and pages of screen captures."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyhanko.pdf_utils.reader import PdfFileReader
from sqlalchemy import select

from deepfake_models.media.decoder import InProcessDecoder
from deepfake_service.audit.log import Action
from deepfake_service.cases.cases import screenshot_of
from deepfake_service.notices.compose import (
    Capture,
    ComposedNotice,
    NoticeSubject,
    compose,
    notice_data,
    notice_pdf,
    text_of,
)
from deepfake_service.notices.documents import MAX_SIDE, NoticeDocuments
from deepfake_service.notices.kinds import KINDS
from deepfake_service.notices.shapes import content_of
from deepfake_service.platform.db import AuditEntry, Case, Notice
from deepfake_service.platform.enums import Role
from tests.support import footage
from tests.support.documents import leaves
from tests.support.notices import BASIS, GOOD, SEEN, confirmed, seen
from tests.unit.service.conftest import Service

AT = datetime(2026, 1, 2, tzinfo=UTC)
SENDER = ["Support Centre", "상담팀", "02-1", "a@example.org", "서울 중구 1"]
FORM = "kr-tba-22-5"
POST = seen(source_url="https://example.org/1", recorded_at="2026-01-03T03:04:05+00:00")


def composed(kind: str, language: str, given: dict[str, Any], **changes: Any) -> ComposedNotice:
    fields = KINDS[kind].check({**GOOD[kind], **given}, SEEN, minor=False)
    subject = NoticeSubject(SEEN, BASIS, recipient="Example", reference="R-1")
    return compose(KINDS[kind], fields, replace(subject, **changes), language=language)


def page_count(pdf: bytes) -> int:
    return int(PdfFileReader(io.BytesIO(pdf)).root["/Pages"]["/Count"])


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_statutory_form_has_its_cells_and_marks_what_was_chosen(language: str) -> None:
    letter = composed(FORM, language, {"location_without_url": "검색어"}, captures="blurred")
    data = notice_data(KINDS[FORM], letter, language, AT, SENDER)
    stated = {n: v for n, v in GOOD[FORM].items() if n not in ("request", "reason")}
    for name, value in {**stated, "to": "Example", "case": "R-1"}.items():
        assert data["cells"][name] == [value]
    assert "https://example.org/watch?v=1" in data["cells"]["about"]
    assert [o["is_marked"] for o in data["choices"]["request"]] == [False, True]
    assert [o["is_marked"] for o in data["choices"]["reason"]] == [False, True, False]
    assert "Example" in data["addressee"]
    assert "1" in data["cells"]["enclosed"][0]
    assert page_count(notice_pdf(KINDS[FORM], data, AT)) == 1


def test_a_long_form_and_a_long_letter_leave_nothing_out() -> None:
    posts = [seen(id=str(n), source_url=f"https://example.org/{n}") for n in range(60)]
    for kind in (FORM, "eu-dsa-16"):
        letter = composed(kind, "ko", {}, posts=posts, captures="clear")
        assert "50장" in text_of(letter)
        assert "나머지 화면 캡처는 파일로 따로 보냅니다." in text_of(letter)
        data = notice_data(KINDS[kind], letter, "ko", AT, SENDER)
        assert sum("https://example.org/" in text for text in leaves(data)) == 60
        assert page_count(notice_pdf(KINDS[kind], data, AT)) > 2


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {FORM}))
def test_a_letter_has_a_row_for_each_part(kind: str) -> None:
    letter = composed(kind, "en", {})
    data = notice_data(KINDS[kind], letter, "en", AT, SENDER)
    assert [row["label"] for row in data["rows"]] == [
        section.heading for section in letter.sections
    ]
    assert [row["provision"] for row in data["rows"] if row["provision"]]
    assert data["issuer"] == "Support Centre"
    assert data["sender"] == ["상담팀", "02-1", "a@example.org", "서울 중구 1"]


def test_each_capture_has_a_page_that_names_it() -> None:
    jpeg = footage.picture(footage.astronaut(), "JPEG")
    captures = [
        Capture(POST, "ab" * 32, jpeg, (512, 512), blurred=True),
        Capture(seen(captured_at=None, recorded_at=POST.recorded_at), "cd" * 32),
        Capture(seen(claimed=["source_url", "captured_at"])),
    ]
    letter = composed(FORM, "en", {}, captures="blurred")
    data = notice_data(KINDS[FORM], letter, "en", AT, SENDER, captures)
    pages = data["captures"]
    assert [p["heading"] for p in pages] == [f"Screen capture {n} of 3" for n in (1, 2, 3)]
    assert dict(pages[0]["rows"]) == {
        "URL": POST.source_url, "Captured": "2026-01-02 03:04:05 UTC",
        "SHA-256 of the file": "ab" * 32,
    }  # fmt: skip
    assert dict(pages[1]["rows"])["Captured"] == (
        "no time of capture (recorded 2026-01-03 03:04:05 UTC)"
    )
    assert "blurred" in pages[0]["note"]
    assert "decoded" in pages[1]["note"]
    assert "deleted" in pages[2]["note"]
    assert all(v.endswith("(according to the handed-in capture)") for _, v in pages[2]["rows"])
    pdf = notice_pdf(KINDS[FORM], data, AT)
    assert page_count(pdf) == 4
    assert len(pdf) > len(jpeg)


def picture() -> bytes:
    """Return a large screenshot of fine stripes."""
    pixels = np.zeros((200, 2000, 3), np.uint8)
    pixels[:, ::4] = 255
    return footage.picture(pixels, "PNG")


def contrast(capture: Capture) -> float:
    assert capture.jpeg is not None
    with Image.open(io.BytesIO(capture.jpeg)) as image:
        assert image.size == capture.size == (MAX_SIDE, 180)
        return float(np.asarray(image.convert("L"), np.float64).std())


@pytest.fixture
def decoding(service: Service) -> NoticeDocuments:
    """Decode pictures in the service, whose decoder reads texts otherwise."""
    services = service.app.state.shared.services
    documents: NoticeDocuments = services.notice_desk._documents
    documents._decoder = InProcessDecoder()
    return documents


async def noticed(service: Service, choice: str | None) -> tuple[str, dict[str, Any]]:
    """Create the statutory form about a post with a screenshot; return its case and the notice."""
    case_id, _ = await confirmed(service)
    files = {"screenshot": ("s.png", picture(), "image/png")}
    fields = {"source_url": "https://example.org/1", "captured_at": "2026-01-02T03:04:05Z"}
    path = f"/v1/cases/{case_id}/occurrences"
    seen = (await service.client.post(path, data=fields, files=files)).json()["id"]
    content = {"kind": FORM, "language": "ko", "occurrence_ids": [seen], "fields": GOOD[FORM]}
    if choice:
        content["captures"] = choice
    answer = await service.client.post(f"/v1/cases/{case_id}/notices", json=content)
    assert answer.status_code == 201, answer.text
    return case_id, answer.json()


async def test_a_form_is_not_signed_on_a_day_to_come(service: Service) -> None:
    case_id, notice = await noticed(service, None)
    fields = {**GOOD[FORM], "signed_on": "2999-02-28"}
    content = {"kind": FORM, "occurrence_ids": notice["occurrence_ids"], "fields": fields}
    refused = await service.client.post(f"/v1/cases/{case_id}/notices", json=content)
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error == {"field": "fields.signed_on", "detail": "in the future"}


@pytest.mark.parametrize("choice", [None, "clear"])
async def test_the_pdf_of_a_notice_encloses_its_captures(
    service: Service, decoding: NoticeDocuments, choice: str | None
) -> None:
    case_id, notice = await noticed(service, choice)
    assert notice["captures"] == (choice or "blurred")
    pdf = (await service.client.get(f"/v1/notices/{notice['id']}/notice.pdf")).content
    assert page_count(pdf) == 2
    seen = notice["occurrence_ids"][0]
    caller = service.accounts.authenticate(next(iter(service.keys.values())))
    with service.database.read() as session:
        row, case = session.get_one(Notice, notice["id"]), session.get_one(Case, case_id)
        read = select(AuditEntry).where(AuditEntry.action == "screenshot.read")
        assert [e.subject for e in session.scalars(read)] == [seen]
    vault = service.app.state.shared.services.vault
    key = vault.case_key(case)
    content = content_of(key, row)
    (capture,) = decoding.captures(caller.actor, row, key, content)
    assert capture.post.source_url == "https://example.org/1"
    assert capture.post.captured_at.startswith("2026-01-02T03:04:05")
    assert (contrast(capture) < 20) is (choice is None)
    vault.blobs.delete(screenshot_of(case_id, seen))
    (gone,) = decoding.captures(caller.actor, row, key, content)
    assert (gone.sha256, gone.jpeg) == (None, None)
    assert (
        decoding.captures(caller.actor, row, key, content.model_copy(update={"captures": None}))
        == []
    )


async def test_a_capture_that_cannot_be_decoded_is_named_by_its_digest(service: Service) -> None:
    _, notice = await noticed(service, None)  # the decoder of the service reads no PNG
    pdf = (await service.client.get(f"/v1/notices/{notice['id']}/notice.pdf")).content
    assert page_count(pdf) == 2


def reads_of(service: Service, notice_id: str) -> int:
    """Return how often a notice was read, by the audit log."""
    is_read = AuditEntry.subject == notice_id, AuditEntry.action == Action.NOTICE_READ
    with service.database.read() as session:
        return len(session.scalars(select(AuditEntry.number).where(*is_read)).all())


@pytest.mark.parametrize("is_made", [False, True])
async def test_a_pdf_with_captures_is_withheld_after_a_person_was_flagged_as_a_possible_minor(
    service: Service, is_made: bool
) -> None:
    case_id, notice = await noticed(service, None)
    path = f"/v1/notices/{notice['id']}/notice.pdf"
    if is_made:
        assert (await service.client.get(path)).status_code == 200
    admin = {"Authorization": f"Bearer {service.keys[Role.ADMIN]}"}
    flag = await service.client.put(f"/v1/cases/{case_id}/minor", headers=admin)
    assert flag.is_success, flag.text
    reads = reads_of(service, notice["id"])
    answer = await service.client.get(path, headers=admin)
    assert reads_of(service, notice["id"]) == reads  # nothing was handed out
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (
        403, "imagery_withheld",
    )  # fmt: skip
    fields = {**GOOD[FORM], "reason": "child_sexual_exploitation"}
    content = {"kind": FORM, "occurrence_ids": notice["occurrence_ids"], "fields": fields}
    again = await service.client.post(f"/v1/cases/{case_id}/notices", json=content, headers=admin)
    assert again.status_code == 201, again.text
    assert again.json()["captures"] is None
    pdf = await service.client.get(f"/v1/notices/{again.json()['id']}/notice.pdf", headers=admin)
    assert page_count(pdf.content) == 1


async def test_the_form_says_which_post_lacks_what_and_ticks_those_that_lack_nothing(
    service: Service,
) -> None:
    case_id, bare = await confirmed(service)
    path = f"/v1/cases/{case_id}/occurrences"
    files = {"screenshot": ("s.png", picture(), "image/png")}
    other = {"source_url": "https://other.example/2", "platform": "Other"}
    complete = (await service.client.post(path, data=other, files=files)).json()["id"]
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)
    form = f"/cases/{case_id}/notices/{FORM}"
    page = (await service.client.get(form)).text
    assert re.findall(r'name="occurrences" value="(\w+)" checked', page) == [complete]
    assert re.search(r'value="blurred"\s+checked', page)
    assert 'name="recipient" value="Other"' in page
    posts = dict(re.findall(r'id="post-(\w+)">(.*?)</div>', page, re.DOTALL))
    assert ("data-lacks" in posts[bare], "data-lacks" in posts[complete]) == (True, False)
    assert 'data-source_url="https://example.org/1"' in posts[bare]
    assert "data-captured_at=" in posts[bare]
    csrf = re.findall(r'name="csrf" value="([^"]+)"', page)[0]
    values = {"csrf": csrf, "occurrences": bare, "captures": "clear", "statement": "적은 내용"}
    origin = {"Origin": str(service.client.base_url)}
    refused = await service.client.post(form, data=values, headers=origin)
    assert refused.status_code == 422
    summary = refused.text[refused.text.index('role="alert"') :]
    assert f'<a href="#post-{bare}">' in summary
    assert "https://example.org/1" in summary[: summary.index("</ul>")]
    assert 'value="clear" checked' in refused.text
    assert "적은 내용</textarea>" in refused.text
