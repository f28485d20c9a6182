"""Each kind of notice: its fields, its text and its PDF."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deepfake_service.notices.compose import (
    NoticeSubject,
    compose,
    notice_data,
    notice_pdf,
    text_of,
)
from deepfake_service.notices.kinds import KINDS, kind_of
from deepfake_service.notices.states import (
    RUNNING,
    NoticeUpdate,
    apply_update,
)
from deepfake_service.platform.clock import CLIENT_SKEW
from deepfake_service.platform.db import Notice
from deepfake_service.platform.enums import NoticeState
from deepfake_service.platform.errors import InvalidRequest, NotFound
from deepfake_service.platform.texts.fields import STATEMENT_TOO_SHORT
from tests.support.notices import BASIS, GOOD, LONG, SEEN, seen

OPTIONAL = {
    "kr-icna-44-7": {"earlier_notice"},
    "search-delisting": {"queries"},
    "us-take-it-down": {"digital_forgery", "further_location", "contact_phone"},
    "kr-tba-22-5": {"location_without_url"},
}


def korean_in(value: object) -> bool:
    return bool(re.search("[가-힣]", str(value)))


def wrong(kind: str, given: dict[str, Any], posts: Any = SEEN, *, minor: bool = False) -> set[str]:
    with pytest.raises(InvalidRequest) as error:
        KINDS[kind].check(given, posts, minor=minor)
    return {e.field for e in error.value.errors}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_a_provision_and_is_required(kind: str) -> None:
    schema = KINDS[kind].model.model_json_schema()
    needed = set(schema["properties"]) - OPTIONAL.get(kind, set())
    assert wrong(kind, {}) == {f"fields.{name}" for name in needed}
    for name, about in schema["properties"].items():
        assert about["provision"], name
        assert about["label_ko"] != about["label_en"]
        assert (
            "default" not in about or about["default"] is None
        )  # no statement is made on behalf of a person
    for name in needed:
        rest = {k: v for k, v in GOOD[kind].items() if k != name}
        assert wrong(kind, rest) == {f"fields.{name}"}
    assert wrong(kind, {**GOOD[kind], "more": "x"}) == {"fields.more"}


def test_a_name_of_a_post_begins_no_line_of_the_letter() -> None:
    kind = KINDS["eu-dsa-16"]
    post = seen(account="@x" + " " * 110 + "Captured: 2020-01-01")
    fields = kind.check(GOOD[kind.id], [post], minor=False)
    letter = compose(kind, fields, NoticeSubject([post], BASIS), language="en")
    assert "@x Captured: 2020-01-01\n" in text_of(letter)


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_notice_has_what_a_person_states(kind: str, language: str) -> None:
    fields = KINDS[kind].check(GOOD[kind], SEEN, minor=False)
    letter = compose(
        KINDS[kind],
        fields,
        NoticeSubject(SEEN, BASIS, recipient="R\u202e", reference="R-1"),
        language=language,
    )
    text = text_of(letter)
    law = KINDS[kind].law.of(language)
    for part in ("https://example.org/watch?v=1", "ab" * 32, law, "R-1"):
        assert part in text
    for value in GOOD[kind].values():
        if isinstance(value, str) and " " in value:
            assert value in text
    assert "forgery" not in text  # no person has stated that
    at = datetime(2026, 1, 2, tzinfo=UTC)
    data = notice_data(KINDS[kind], letter, language, at, ["Centre"])
    pdf = notice_pdf(KINDS[kind], data, at)
    assert pdf.startswith(b"%PDF")
    assert pdf == notice_pdf(KINDS[kind], data, at)


def test_a_notice_states_the_day_of_an_examination_in_the_time_zone_of_its_language() -> None:
    kind = KINDS["kr-d4u"]
    fields = kind.check(GOOD["kr-d4u"], SEEN, minor=False)
    night = [
        replace(BASIS[0], job="j1", examined_at="2026-01-02T16:04:05+00:00"),
        replace(BASIS[0], job="j2", examined_at="2026-01-02T14:59:59+00:00"),
    ]
    evidence = {
        language: text_of(compose(kind, fields, NoticeSubject(SEEN, night), language=language))
        for language in ("ko", "en")
    }
    assert evidence["ko"].count("2026-01-03") == evidence["ko"].count("2026-01-02") - 1 == 1
    assert "2026-01-03" not in evidence["en"]


def test_what_a_person_writes_is_not_taken_for_one_of_the_choices() -> None:
    given = {**GOOD["kr-d4u"], "keywords": "family", "requester_relation": "family"}
    fields = KINDS["kr-d4u"].check(given, SEEN, minor=False)
    letter = compose(KINDS["kr-d4u"], fields, NoticeSubject(SEEN, BASIS), language="ko")
    lines = {section.name: section.lines for section in letter.sections}
    assert lines["keywords"] == ["family"]
    assert lines["requester_relation"] == ["가족"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_english_notice_has_no_korean_but_what_a_person_states(kind: str) -> None:
    given = {**GOOD[kind], **{name: "Kim" for name, v in GOOD[kind].items() if korean_in(v)}}
    fields = KINDS[kind].check(given, SEEN, minor=False)
    letter = compose(KINDS[kind], fields, NoticeSubject(SEEN, BASIS), language="en")
    assert not korean_in(text_of(letter))


@pytest.mark.parametrize(
    ("kind", "changes", "named"),
    [
        ("eu-dsa-16", {"good_faith": False}, "fields.good_faith"),
        ("eu-dsa-16", {"good_faith": "yes"}, "fields.good_faith"),
        ("eu-dsa-16", {"notifier_email": "a@b"}, "fields.notifier_email"),
        ("eu-dsa-16", {"notifier_email": "a@example.org\nBcc: x"}, "fields.notifier_email"),
        ("eu-dsa-16", {"explanation": "too short"}, "fields.explanation"),
        ("us-take-it-down", {"signature": " "}, "fields.signature"),
        ("us-take-it-down", {"signer_capacity": "friend"}, "fields.signer_capacity"),
        ("kr-tba-22-5", {"signed_on": "yesterday"}, "fields.signed_on"),
        ("kr-tba-22-5", {"reporter_phone": "call me"}, "fields.reporter_phone"),
        ("kr-tba-22-5", {"statement": LONG + "\x00"}, "fields.statement"),
        ("budapest-29", {"assistance_will_follow": False}, "fields.assistance_will_follow"),
    ],
)
def test_malformed_fields_are_named(kind: str, changes: dict[str, Any], named: str) -> None:
    assert wrong(kind, {**GOOD[kind], **changes}) == {named}


def test_an_empty_field_is_said_to_be_required() -> None:
    empty = {**GOOD["kr-tba-22-5"], "reporter_name": " "}
    with pytest.raises(InvalidRequest) as error:
        KINDS["kr-tba-22-5"].check(empty, SEEN, minor=False)
    assert [e.detail for e in error.value.errors] == ["required"]


@pytest.mark.parametrize(
    ("statement", "is_enough"),
    [
        ("동의 없이 합성된 영상", True),  # nine syllables and three spaces
        ("얼굴을 합성한 영상", False),
        ("this is too short..", False),
        ("this is long enough.", True),
        ("짧음", False),
    ],
)
def test_a_statement_in_korean_needs_half_the_characters(statement: str, is_enough: bool) -> None:
    given = {**GOOD["kr-tba-22-5"], "statement": statement}
    if is_enough:
        KINDS["kr-tba-22-5"].check(given, SEEN, minor=False)
        return
    with pytest.raises(InvalidRequest) as error:
        KINDS["kr-tba-22-5"].check(given, SEEN, minor=False)
    assert [e.detail for e in error.value.errors] == [STATEMENT_TOO_SHORT]


def test_a_url_and_a_screenshot_are_required_where_the_law_requires_them() -> None:
    bare = [seen(source_url=None, screenshot=False)]
    assert wrong("eu-dsa-16", GOOD["eu-dsa-16"], bare) == {"occurrences.o1.source_url"}
    korean = GOOD["kr-tba-22-5"]
    assert wrong("kr-tba-22-5", korean, bare) == {
        "occurrences.o1.source_url", "occurrences.o1.screenshot",
    }  # fmt: skip
    elsewhere = {**korean, "location_without_url": "검색어 '이름'"}
    assert wrong("kr-tba-22-5", elsewhere, bare) == {"occurrences.o1.screenshot"}
    assert wrong("kr-tba-22-5", korean, []) == {"occurrence_ids"}


def test_a_notice_about_a_possible_minor_names_the_csam_procedure() -> None:
    named = KINDS["eu-dsa-16"]
    anonymous = {"explanation": LONG, "good_faith": True}
    fields = named.check(anonymous, SEEN, minor=True)
    words = compose(named, fields, NoticeSubject(SEEN, BASIS, minor=True), language="en")
    assert "child sexual abuse" in text_of(words)
    assert wrong("kr-tba-22-5", GOOD["kr-tba-22-5"], minor=True) == {"fields.reason"}
    right = {**GOOD["kr-tba-22-5"], "reason": "child_sexual_exploitation"}
    without_picture = [seen(screenshot=False)]
    assert KINDS["kr-tba-22-5"].check(right, without_picture, minor=True)


def test_the_clocks() -> None:
    hours = {name: kind.hours_to_act for name, kind in KINDS.items()}
    assert hours.items() >= {
        "eu-dsa-16": None, "us-take-it-down": 48, "kr-tba-22-5": 24, "kr-d4u": None,
        "budapest-29": 60 * 24,
    }.items()  # fmt: skip
    with pytest.raises(NotFound):
        kind_of("../eu")


def applied(notice: Notice, update: NoticeUpdate, now: datetime) -> None:
    list(apply_update(notice, update, None, now))


def drafted(kind: str = "kr-tba-22-5") -> Notice:
    made = datetime.now(UTC) - timedelta(days=90)
    return Notice(kind=kind, state=NoticeState.DRAFTED, created_at=made)


def test_the_states_of_a_notice() -> None:
    now = datetime.now(UTC)
    notice = drafted()
    applied(notice, NoticeUpdate(sent_at=now - timedelta(hours=30)), datetime.now(UTC))
    assert notice.state == NoticeState.SENT
    assert notice.due_at == now - timedelta(hours=6)
    applied(notice, NoticeUpdate(outcome=NoticeState.TEMPORARILY_BLOCKED), datetime.now(UTC))
    assert notice.state == NoticeState.TEMPORARILY_BLOCKED
    applied(notice, NoticeUpdate(outcome=NoticeState.REMOVED), datetime.now(UTC))
    assert notice.state == NoticeState.REMOVED
    applied(notice, NoticeUpdate(outcome=NoticeState.WITHDRAWN), datetime.now(UTC))
    for update in (NoticeUpdate(outcome=NoticeState.REMOVED), NoticeUpdate(sent_at=now)):
        with pytest.raises(InvalidRequest):
            applied(notice, update, datetime.now(UTC))


def test_a_clock_that_is_a_little_ahead_states_the_present() -> None:
    """A program that recorded what it had just sent used to be refused for a second."""
    now = datetime.now(UTC)
    ahead = now + CLIENT_SKEW
    notice = drafted()
    applied(notice, NoticeUpdate(sent_at=ahead), now)
    assert notice.sent_at == now
    assert notice.due_at == now + timedelta(hours=24)
    applied(notice, NoticeUpdate(outcome=NoticeState.REMOVED, answered_at=ahead), now)
    assert notice.answered_at == now
    later = NoticeUpdate(sent_at=ahead + timedelta(seconds=1))
    with pytest.raises(InvalidRequest, match="in the future"):
        applied(drafted(), later, now)


def test_the_clock_keeps_running_for_preserved_data() -> None:
    notice = drafted("budapest-29")
    applied(notice, NoticeUpdate(sent_at=datetime.now(UTC) - timedelta(days=61)), datetime.now(UTC))
    applied(notice, NoticeUpdate(outcome=NoticeState.PRESERVED), datetime.now(UTC))
    assert notice.due_at is not None
    assert notice.due_at < datetime.now(UTC)
    assert notice.state in RUNNING


@pytest.mark.parametrize(
    ("kind", "before", "update", "named"),
    [
        ("kr-d4u", None, NoticeUpdate(outcome=NoticeState.REMOVED), "sent_at"),
        ("kr-d4u", None, NoticeUpdate(sent_at=datetime(2099, 1, 1, tzinfo=UTC)), "sent_at"),
        ("kr-d4u", 1, NoticeUpdate(outcome=NoticeState.SENT), "outcome"),
        ("eu-dsa-16", 1, NoticeUpdate(outcome=NoticeState.TEMPORARILY_BLOCKED), "outcome"),
        ("eu-dsa-16", 1, NoticeUpdate(outcome=NoticeState.PRESERVED), "outcome"),
        ("eu-dsa-16", 1, NoticeUpdate(sent_at=datetime.now(UTC)), "sent_at"),
        ("eu-dsa-16", None, NoticeUpdate(sent_at=datetime(2020, 1, 1, tzinfo=UTC)), "sent_reason"),
        ("kr-d4u", 1, NoticeUpdate(answered_at=datetime(2026, 1, 1, tzinfo=UTC)), "answered_at"),
        (
            "kr-d4u",
            1,
            NoticeUpdate(outcome=NoticeState.REFUSED, answered_at=datetime(2020, 1, 1, tzinfo=UTC)),
            "answered_at",
        ),
    ],
)
def test_an_impossible_update_is_refused(
    kind: str, before: int | None, update: NoticeUpdate, named: str
) -> None:
    notice = drafted(kind)
    if before:
        applied(
            notice,
            NoticeUpdate(sent_at=datetime.now(UTC) - timedelta(hours=before)),
            datetime.now(UTC),
        )
    with pytest.raises(InvalidRequest) as error:
        applied(notice, update, datetime.now(UTC))
    assert error.value.errors[0].field == named
