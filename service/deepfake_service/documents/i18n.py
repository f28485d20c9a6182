"""The words of reports and notices, by language."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = ("ko", "en")


class Words:
    """The texts of one language: ``words("name", value=...)``."""

    def __init__(self, language: str, texts: dict[str, Any]) -> None:
        self.language = language
        self._texts = texts

    def __call__(self, name: str, /, **values: object) -> str:
        text: str = self._texts[name]
        return text.format(**values) if values else text

    def of(self, group: str, name: str) -> str:
        """A text of a group, or the name itself where it has none."""
        text: str = self._texts[group].get(name, name)
        return text

    def list(self, name: str) -> list[str]:
        """A list of texts, with their places for values."""
        return list(self._texts[name])

    @property
    def plain(self) -> dict[str, str]:
        """All single texts."""
        return {k: v for k, v in self._texts.items() if isinstance(v, str)}


@cache
def words(language: str) -> Words:
    """The words of ``ko`` or ``en``."""
    path = files("deepfake_service.documents") / "texts" / f"{language}.toml"
    return Words(language, tomllib.loads(path.read_text(encoding="utf-8")))
