"""A ``verdict.json`` document as the summary, the tables and the pictures of a report read it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepfake_models.bundle.results import ReasonCode
from deepfake_service.platform.texts.characters import readable, with_texts
from deepfake_service.platform.texts.i18n import Words

NO_CUSTODY: Mapping[str, Any] = {"accounts": {}, "entries": []}
MAX_PEOPLE = 60
"""People listed, those with the highest values; ``verdict.json`` has all."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A document with what all parts of its report ask of it."""

    document: dict[str, Any]
    """With texts of unknown origin, as names, in a form that can be shown."""
    custody: Mapping[str, Any]
    """Its chain of custody, likewise."""
    words: Words
    result: dict[str, Any]
    media: dict[str, Any] | None
    is_still: bool
    is_video: bool
    """Whether times within the file mean anything."""
    thresholds: dict[str, Any]
    """Those that decided on the item."""
    people: list[dict[str, Any]]
    """The tracks that tables list, in order of appearance."""
    refused: frozenset[int]
    """The tracks that were not decided on, because too few people like them were measured. The
    rates measured on faces like theirs are no part of the verdict, and are not stated."""


def read(
    document: dict[str, Any], words: Words, custody: Mapping[str, Any] = NO_CUSTODY
) -> Reading:
    """Return what the parts of a report in the language of ``words`` ask of a document."""
    document, custody = with_texts([document, custody], readable)
    result, media = document["result"], document["result"]["media"]
    is_still = bool(media) and media["kind"] == "image"
    return Reading(
        document,
        custody,
        words,
        result,
        media,
        is_still,
        bool(media) and not is_still,
        thresholds_of(document),
        _listed(result["tracks"]),
        frozenset(
            track["track"]
            for track in result["tracks"]
            if any(r["code"] == ReasonCode.UNMEASURED_CONDITION for r in track["reasons"])
        ),
    )


def thresholds_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the thresholds that decided on the item of a ``verdict.json`` document."""
    levels: dict[str, dict[str, Any]] = document["method"]["thresholds"]
    media = document["result"]["media"]
    if not media or media["kind"] != "image":
        return levels["item"]
    return levels.get("picture") or levels["face"]


def _listed(tracks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tracks with the highest values, in order of appearance."""
    ranked = sorted(
        tracks,
        key=lambda t: -math.inf if t["log_likelihood_ratio"] is None else t["log_likelihood_ratio"],
        reverse=True,
    )
    return sorted(ranked[:MAX_PEOPLE], key=lambda t: t["track"])
