"""Hidden characters in notices: names in any language are accepted, reversals are refused."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from deepfake_service.notices.compose import NoticeSubject, compose, text_of
from deepfake_service.notices.kinds import KINDS
from deepfake_service.platform.db import Notice, NoticeEvent
from deepfake_service.platform.errors import InvalidRequest
from deepfake_service.platform.texts.characters import hidden, revealed, revealed_url
from tests.support.notices import BASIS, GOOD, LONG, RLO, SEEN, confirmed, drafted, seen
from tests.unit.service.conftest import Service

NAMES = {
    "Korean": "김신고",
    "Hebrew": "דוד לוי",
    "Arabic": "محمد الفاسي",
    "Persian, with a non-joiner": "می\u200cخواهم",
    "Hindi, with a joiner": "क्\u200dष",
    "Sinhala, with a joiner": "ශ්\u200dරී",
    "emoji, with a joiner": "👩\u200d💻 desk",
    "an accent of its own": "Jose\u0301",
    "hanja, with a selector": "葛\U000e0100城",
}
HIDDEN = {
    "a reversal": "\u202e", "an isolate": "\u2066", "a mark": "\u200f", "the Arabic mark": "\u061c",
    "a zero width space": "\u200b", "a soft hyphen": "\u00ad", "a byte order mark": "\ufeff",
    "a tag": "\U000e0041", "a Hangul filler": "\u3164", "a blank Braille cell": "\u2800",
    "a line separator": "\u2028", "a null": "\x00", "a private character": "\ue000",
    "a joiner between Latin letters": "\u200d", "a non-joiner between Latin letters": "\u200c",
}  # fmt: skip


@pytest.mark.parametrize("language", NAMES)
def test_names_in_any_language_are_accepted(language: str) -> None:
    assert not list(hidden(NAMES[language], lines=False))
    given = {**GOOD["eu-dsa-16"], "notifier_name": NAMES[language]}
    fields = KINDS["eu-dsa-16"].check(given, SEEN, minor=False)
    letter = compose(KINDS["eu-dsa-16"], fields, NoticeSubject(SEEN, BASIS), language="en")
    assert NAMES[language] in text_of(letter)


@pytest.mark.parametrize("what", HIDDEN)
def test_l4_a_hidden_character_is_refused_by_its_code_point(what: str) -> None:
    char = HIDDEN[what]
    given = {**GOOD["eu-dsa-16"], "explanation": f"{LONG}a{char}b"}
    with pytest.raises(InvalidRequest) as error:
        KINDS["eu-dsa-16"].check(given, SEEN, minor=False)
    (found,) = error.value.errors
    assert found.field == "fields.explanation"
    assert f"U+{ord(char):04X} at position {len(LONG) + 2}" in found.detail


@pytest.mark.parametrize("kind", KINDS)
def test_l4_a_reversal_is_refused_in_every_field_of_words(kind: str) -> None:
    for name, value in GOOD[kind].items():
        if not isinstance(value, str) or name in ("signed_on",):
            continue
        with pytest.raises(InvalidRequest) as error:
            KINDS[kind].check({**GOOD[kind], name: f"{value[:3]}{RLO}{value[3:]}"}, SEEN,
                    minor=False)  # fmt: skip
        assert [e.field for e in error.value.errors] == [f"fields.{name}"]


def test_l4_what_others_wrote_shows_its_hidden_characters_in_text_and_pdf_alike() -> None:
    place = seen(account=f"good{RLO}lanosrep", source_url=f"https://a.example/{RLO}x")
    fields = KINDS["eu-dsa-16"].check(GOOD["eu-dsa-16"], [place], minor=False)
    letter = compose(KINDS["eu-dsa-16"], fields, NoticeSubject([place], BASIS), language="en")
    assert "good[U+202E]lanosrep" in text_of(letter)
    assert "https://a.example/%E2%80%AEx" in text_of(letter)
    assert not list(hidden(text_of(letter)))
    assert revealed("a\nb") == "a[U+000A]b"
    assert revealed_url("https://a.example/ㅤ") == "https://a.example/%E3%85%A4"


async def test_l4_a_reversal_in_the_recipient_is_refused(service: Service) -> None:
    case_id, seen = await confirmed(service)
    content = {"kind": "kr-d4u", "occurrence_ids": [seen], "fields": GOOD["kr-d4u"],
               "recipient": f"a{RLO}b"}  # fmt: skip
    answer = await service.client.post(f"/v1/cases/{case_id}/notices", json=content)
    assert answer.status_code == 422
    (found,) = answer.json()["errors"]
    assert found["field"] == "recipient"
    assert "U+202E" in found["detail"]


async def test_l4_a_reversal_in_a_receipt_is_refused(service: Service) -> None:
    notice = await drafted(service)
    receipt = {"receipt": f"\u2066denied{RLO}"}
    answer = await service.client.patch(f"/v1/notices/{notice['id']}", json=receipt)
    assert answer.status_code == 422
    assert "U+2066" in answer.json()["errors"][0]["detail"]
    with service.database.read() as session:
        assert len(session.scalars(select(NoticeEvent)).all()) == 1
        assert session.get_one(Notice, notice["id"]).state == "drafted"
