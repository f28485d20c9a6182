"""Texts in documents under test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from deepfake_service.evidence.report.report import Signing, present
from deepfake_service.platform.texts.i18n import Words


def leaves(value: Any) -> Iterator[str]:
    """Yield every text in JSON data."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)
    elif isinstance(value, str):
        yield value


def report_texts(
    document: dict[str, Any], pictures: Mapping[str, bytes], custody: dict[str, Any], words: Words
) -> dict[str, Any]:
    """Return all that a report says, its summary and tables included, by name."""
    shown = asdict(present(document, pictures, custody, {}, words, Signing("ab" * 32)))
    return shown.pop("summary") | shown.pop("tables") | shown
