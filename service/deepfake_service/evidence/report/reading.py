"""A ``verdict.json`` document with what all parts of its report ask of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial

from deepfake_models.bundle.results import ReasonCode, Track, VerdictCode
from deepfake_models.bundle.spec import Histograms
from deepfake_service.evidence.bundle.documents import D, VerdictDocument
from deepfake_service.platform.texts.characters import readable, with_texts
from deepfake_service.platform.texts.formatting import signed, strength_of, to_the_second
from deepfake_service.platform.texts.i18n import Words

MAX_PEOPLE = 60
"""People listed, those with the highest values; ``verdict.json`` has all."""


class Reading:
    """A document, and the language in which it is reported."""

    def __init__(
        self, document: VerdictDocument, words: Words, time: Callable[[str], str] | None = None
    ) -> None:
        """Put texts of unknown origin, as names, in a form that can be shown. ``time`` formats the
        times in tables; by default, ``to_the_second`` does."""
        self.document = d = shown(document)
        self.words = words
        self.time = time or partial(to_the_second, language=words.language)
        self.result = d.result
        self.media = self.result.media
        """What was read of the file; ``None`` if it could not be read."""
        self.kind = self.media.kind if self.media else None
        """``image`` or ``video``, in which times mean something; ``None`` of an unread file."""
        self.is_still = self.kind == "image"
        self.is_part = d.job.within_s is not None
        """Only a part of a video was examined, which a person chose. What was measured on whole
        videos, whose frames were taken evenly, is not stated of it."""
        self.strength = None if self.is_part else strength_of(self.result)
        decision = d.error_rates.decision
        self.false_positive_rate = None if self.is_part else decision.false_positive_rate
        self.true_positive_rate = None if self.is_part else decision.true_positive_rate
        """Both ``None`` where they were not measured."""
        self.is_likely = self.result.verdict is VerdictCode.LIKELY_MANIPULATED
        """Overlays are shown only then: they mark something even where the value says nothing."""

        levels, method = d.method.thresholds, d.method
        self.thresholds = levels.still if self.is_still else levels.item
        """Those that decided on the item."""
        value = self.result.log_likelihood_ratio
        edges = self.thresholds.likely_manipulated, self.thresholds.no_manipulation_found
        is_near = value is not None and signed(value) in map(signed, edges)
        self.decimals = 4 if is_near else 2
        """Of the item's value and its thresholds where they stand side by side in tables: one that
        is rounded to its threshold would seem to be decided on wrongly. Bundles state four."""
        self.calibration = method.calibration.face if self.is_still else method.calibration.item
        """Of the item's value."""
        histograms = method.histograms or Histograms()
        of_kind = histograms.picture if self.is_still else histograms.item
        is_placed = self.result.log_likelihood_ratio is not None and not self.is_part
        self.histogram = of_kind if is_placed else None
        """Of media like the item; ``None`` without one, or without a value."""

        tracks = self.result.tracks
        ranked = sorted(tracks, key=value_of, reverse=True)[:MAX_PEOPLE]
        self.people = ranked if self.is_still else sorted(ranked, key=lambda t: t.track)
        """The tracks that tables list, in order of appearance; of a still, by falling value."""
        self.pictures = sorted(d.pictures, key=lambda p: (-p.log_likelihood_ratio, p.number))
        """The faces that are shown, by falling value."""
        self.refused = frozenset(
            track.track
            for track in tracks
            if any(r.code is ReasonCode.UNMEASURED_CONDITION for r in track.reasons)
        )
        """The tracks that were not decided on, because too few people like them were measured. The
        rates measured on faces like theirs are no part of the verdict, and are not stated."""


def shown(document: D) -> D:
    """Return a document whose texts can be shown, whatever their origin."""
    texts = with_texts(document.model_dump(mode="json"), readable)
    return document.model_validate_json(json.dumps(texts))


def value_of(track: Track) -> float:
    """Return the value by which a track is ranked."""
    value = track.log_likelihood_ratio
    return -math.inf if value is None else value
