"""The manifests of the kinds of notices, and what follows from them."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import ValidationError

from deepfake_service.notices.kinds import KINDS, Kind
from deepfake_service.platform.enums import NoticeState
from tests.support.notices import DOCS, NOTICE_PAGES, page_with_kinds


def korean_in(value: object) -> bool:
    return bool(re.search("[가-힣]", str(value)))


@pytest.mark.parametrize("language", NOTICE_PAGES)
def test_the_documentation_lists_the_kinds(language: str) -> None:
    assert NOTICE_PAGES[language].read_text(encoding="utf-8") == page_with_kinds(language), (
        "run: make openapi"
    )


def test_the_description_of_the_api_lists_the_kinds() -> None:
    described = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    request = described["components"]["schemas"]["NoticeRequest"]
    assert request["properties"]["kind"]["enum"] == list(KINDS), "run: make openapi"


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
    mistakes = {"needs": ["title"], "colour": "red", "recipient": "friend"}
    for place, mistake in mistakes.items():
        with pytest.raises(ValidationError, match=place):
            Kind.model_validate({**manifest, place: mistake})


def test_choices_belong_to_fields_of_that_type_and_a_form_has_its_texts() -> None:
    for kind in KINDS.values():
        assert not kind.template or {"date", "addressee"} <= kind.form.keys()
        for field in kind.fields.values():
            values = {choice.value for choice in field.choices}
            assert bool(values) == (field.type == "choice")
            assert {field.for_minors, field.default} - {None} <= values
