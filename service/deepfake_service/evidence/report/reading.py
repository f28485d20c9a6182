"""A ``verdict.json`` document with what all parts of its report ask of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from deepfake_models.bundle.results import ReasonCode
from deepfake_service.platform.texts.characters import readable, with_texts
from deepfake_service.platform.texts.formatting import strength_of, to_the_second
from deepfake_service.platform.texts.i18n import Words

MAX_PEOPLE = 60
"""People listed, those with the highest values; ``verdict.json`` has all."""


class Reading:
    """A document, and the language in which it is reported."""

    def __init__(
        self, document: dict[str, Any], words: Words, time: Callable[..., str] | None = None
    ) -> None:
        """Put texts of unknown origin, as names, in a form that can be shown. ``time`` formats the
        times in tables; by default, ``to_the_second`` does."""
        self.document = with_texts(document, readable)
        self.words = words
        self.time = time or partial(to_the_second, language=words.language)

    @cached_property
    def result(self) -> Any:
        """The result of the examination."""
        return self.document["result"]

    @cached_property
    def media(self) -> Any:
        """What was read of the file; ``None`` if it could not be read."""
        return self.result["media"]

    @cached_property
    def kind(self) -> str | None:
        """``image`` or ``video``, in which times mean something; ``None`` of an unread file."""
        return self.media["kind"] if self.media else None

    @property
    def is_still(self) -> bool:
        """Whether the file is a picture."""
        return self.kind == "image"

    @cached_property
    def strength(self) -> str | None:
        """See ``strength_of``."""
        return strength_of(self.result)

    @cached_property
    def thresholds(self) -> Any:
        """The thresholds that decided on the item."""
        levels = self.document["method"]["thresholds"]
        if not self.is_still:
            return levels["item"]
        return levels.get("picture") or levels["face"]

    @cached_property
    def calibration(self) -> Any:
        """The calibration of the item's value."""
        return self.document["method"]["calibration"]["face" if self.is_still else "item"]

    @cached_property
    def histogram(self) -> Any:
        """The histogram of media like the item; ``None`` without one, or without a value."""
        if not self.media or self.result["log_likelihood_ratio"] is None:
            return None
        histograms = self.document["method"].get("histograms") or {}
        return histograms.get("picture" if self.is_still else "item")

    @cached_property
    def people(self) -> list[dict[str, Any]]:
        """The tracks that tables list, in order of appearance."""
        ranked = sorted(self.result["tracks"], key=value_of, reverse=True)
        return sorted(ranked[:MAX_PEOPLE], key=lambda t: t["track"])

    @cached_property
    def pictures(self) -> list[dict[str, Any]]:
        """The faces that are shown, by falling value."""
        return sorted(
            self.document["pictures"], key=lambda p: (-p["log_likelihood_ratio"], p["number"])
        )

    @cached_property
    def refused(self) -> frozenset[int]:
        """The tracks that were not decided on, because too few people like them were measured. The
        rates measured on faces like theirs are no part of the verdict, and are not stated."""
        return frozenset(
            track["track"]
            for track in self.result["tracks"]
            if any(r["code"] == ReasonCode.UNMEASURED_CONDITION for r in track["reasons"])
        )


def value_of(track: dict[str, Any]) -> float:
    """Return the value by which a track is ranked."""
    value: float | None = track["log_likelihood_ratio"]
    return -math.inf if value is None else value
