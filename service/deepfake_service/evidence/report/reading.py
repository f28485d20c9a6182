"""A ``verdict.json`` document with what all parts of its report ask of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from deepfake_models.bundle.results import ReasonCode, VerdictCode
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
        self.document = d = with_texts(document, readable)
        self.words = words
        self.time = time or partial(to_the_second, language=words.language)
        self.result: Any = d["result"]
        self.media: Any = self.result["media"]
        """What was read of the file; ``None`` if it could not be read."""
        self.kind: str | None = self.media["kind"] if self.media else None
        """``image`` or ``video``, in which times mean something; ``None`` of an unread file."""
        self.is_still = self.kind == "image"
        self.strength = strength_of(self.result)
        self.is_likely = self.result["verdict"] == VerdictCode.LIKELY_MANIPULATED
        """Overlays are shown only then: they mark something even where the value says nothing."""

        levels, histograms = d["method"]["thresholds"], d["method"].get("histograms") or {}
        picture = levels.get("picture") or levels["face"]
        self.thresholds: Any = picture if self.is_still else levels["item"]
        """Those that decided on the item."""
        self.calibration: Any = d["method"]["calibration"]["face" if self.is_still else "item"]
        """Of the item's value."""
        has_value = self.media and self.result["log_likelihood_ratio"] is not None
        of_kind = histograms.get("picture" if self.is_still else "item")
        self.histogram: Any = of_kind if has_value else None
        """Of media like the item; ``None`` without one, or without a value."""

        tracks = self.result["tracks"]
        ranked = sorted(tracks, key=value_of, reverse=True)[:MAX_PEOPLE]
        by_track = ranked if self.is_still else sorted(ranked, key=lambda t: t["track"])
        self.people: list[dict[str, Any]] = by_track
        """The tracks that tables list, in order of appearance; of a still, by falling value."""
        self.pictures: list[dict[str, Any]] = sorted(
            d["pictures"], key=lambda p: (-p["log_likelihood_ratio"], p["number"])
        )
        """The faces that are shown, by falling value."""
        self.refused = frozenset(
            track["track"]
            for track in tracks
            if any(r["code"] == ReasonCode.UNMEASURED_CONDITION for r in track["reasons"])
        )
        """The tracks that were not decided on, because too few people like them were measured. The
        rates measured on faces like theirs are no part of the verdict, and are not stated."""


def value_of(track: dict[str, Any]) -> float:
    """Return the value by which a track is ranked."""
    value: float | None = track["log_likelihood_ratio"]
    return -math.inf if value is None else value
