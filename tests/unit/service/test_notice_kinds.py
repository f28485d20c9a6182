"""The manifests of the kinds of notices, and what follows from them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from deepfake_service.db.enums import NoticeState
from deepfake_service.notices.kinds import KINDS, Kind

ROOT = Path(__file__).parents[3]
HEADS = {
    "en": "| kind | law of | addressee | legal basis | time to act |",
    "ko": "| 종류 | 법 | 수신자 | 근거 규정 | 처리 기한 |",
}
RECIPIENTS = {
    "en": {"platform": "a platform", "authority": "an authority"},
    "ko": {"platform": "플랫폼", "authority": "기관"},
}


def korean_in(value: object) -> bool:
    return bool(re.search("[가-힣]", str(value)))


def table(language: str) -> str:
    """Return the table of kinds for the documentation."""
    rows = [HEADS[language], "| --- | --- | --- | --- | --- |"]
    for kind in KINDS.values():
        recipient = (
            kind.recipient_name.of(language)
            if kind.recipient_name
            else RECIPIENTS[language][kind.recipient]
        )
        cells = (f"`{kind.id}`", kind.country, recipient)
        cells += (kind.law.of(language), kind.deadline.of(language))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize(("language", "page"), [("en", "notices.md"), ("ko", "ko/notices.md")])
def test_the_documentation_lists_the_kinds(language: str, page: str) -> None:
    assert table(language) in (ROOT / "docs" / page).read_text(encoding="utf-8"), table(language)


def test_the_description_of_the_api_lists_the_kinds() -> None:
    described = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    request = described["components"]["schemas"]["NoticeRequest"]
    assert request["properties"]["kind"]["enum"] == list(KINDS)


def test_every_kind_has_outcomes_and_its_texts_in_both_languages() -> None:
    for kind in KINDS.values():
        assert set(kind.outcomes) <= set(NoticeState) - {NoticeState.DRAFTED, NoticeState.SENT}
        texts = [kind.name, kind.law, kind.deadline, kind.title, kind.opening, kind.if_minor]
        texts += [field.label for field in kind.fields.values()]
        for text in texts:
            assert korean_in(text.ko)
            assert not korean_in(text.en)


def test_a_mistake_in_a_manifest_is_named() -> None:
    manifest = KINDS["kr-tba-22-5"].model_dump()
    for place, mistake in {"needs": ["title"], "colour": "red", "recipient": "friend"}.items():
        with pytest.raises(ValidationError, match=place):
            Kind.model_validate({**manifest, place: mistake})
