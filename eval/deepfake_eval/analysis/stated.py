"""The three lines that say how often a bundle is wrong, before any table does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LEVELS = ("level_item", "level_picture")


def three_lines(reliability: Mapping[str, Any]) -> list[str]:
    """Return what a bundle finds on known sources and on unknown ones, and on how much that rests.

    ``reliability`` is the content of ``reliability.json``. The list is empty if the rates of whole
    media are not in it.
    """
    rates = _rates(reliability)
    if rates is None:
        return []
    known = _rates(reliability.get("known_sources", {}))
    if known is None:
        return [
            f"Known sources, unknown people: {_found(rates)}",
            "Unknown sources: not measured for this model.",
            f"This rests on {_groups(rates)}, each a person, a film or another group.",
        ]
    return [
        f"Known sources, unknown people: {_found(known)}",
        f"Unknown sources and people, as new material is: {_found(rates)}",
        f"The second line rests on {_groups(rates)}, each a source.",
    ]


def _rates(levels: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Return the rates of videos and those of pictures; ``None`` if one is missing."""
    rates = [levels.get(level, {}).get("overall", {}) for level in _LEVELS]
    whole = all(
        r.get(name, {}).get("value") is not None
        for r in rates
        for name in ("true_positive_rate", "false_positive_rate")
    )
    return rates if whole else None


def _found(rates: list[Mapping[str, Any]]) -> str:
    (video, picture), (real_video, real_picture) = (
        [r[name] for r in rates] for name in ("true_positive_rate", "false_positive_rate")
    )
    return (
        f"{video['value']:.0%} of manipulated videos and {picture['value']:.0%} of manipulated "
        f"pictures are called manipulated, and {real_video['value']:.1%} of real videos and "
        f"{real_picture['value']:.1%} of real pictures (95% up to {real_video['high']:.1%} and "
        f"{real_picture['high']:.1%})."
    )


def _groups(rates: list[Mapping[str, Any]]) -> str:
    video, picture = (
        f"{r['true_positive_rate']['groups']} groups of manipulated and "
        f"{r['false_positive_rate']['groups']} of real {kind}"
        for r, kind in zip(rates, ("videos", "pictures"), strict=True)
    )
    return f"{video}, and {picture}"
