"""The three lines that say how often a bundle is wrong, before any table does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LEVELS = {"videos": "level_item", "pictures": "level_picture"}
_Rates = list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]
"""A kind of media, the share of manipulated ones that is found, and that of real ones."""


def three_lines(reliability: Mapping[str, Any], unseen: str = "people") -> list[str]:
    """Return what a bundle finds on known sources and on unknown ones, and on how much that rests.

    ``reliability`` is the content of ``reliability.json``, and ``unseen`` that of ``BundleSpec``.
    The list is empty if the rates of whole media are not in it.
    """
    rates = _rates(reliability)
    if not rates:
        return []
    known = _rates(reliability.get("known_sources", {}))
    basis = f"This rests on {_groups(rates)}, each a person, a film or another group."
    if unseen == "unknown":
        return [
            f"Sources and people that the network may have learnt from: {_found(rates)}",
            "Unknown sources and people, as new material is: not known, because the network was "
            "trained elsewhere, and what it learnt from is for its makers to say.",
            basis,
        ]
    if not known:
        return [
            f"Known sources, unknown people: {_found(rates)}",
            "Unknown sources: not measured for this model.",
            basis,
        ]
    return [
        f"Known sources, unknown people: {_found(known)}",
        f"Unknown sources and people, as new material is: {_found(rates)}",
        f"The second line rests on {_groups(rates)}, each a source.",
    ]


def _rates(levels: Mapping[str, Any]) -> _Rates:
    rates = []
    for kind, level in _LEVELS.items():
        overall = levels.get(level, {}).get("overall", {})
        found, alarms = (
            overall.get(name, {"value": None})
            for name in ("true_positive_rate", "false_positive_rate")
        )
        if found["value"] is not None and alarms["value"] is not None:
            rates.append((kind, found, alarms))
    return rates


def _found(rates: _Rates) -> str:
    parts = (
        f"{found['value']:.0%} of manipulated and {alarms['value']:.1%} of real {kind} (95% up to "
        f"{alarms['high']:.1%})"
        for kind, found, alarms in rates
    )
    return f"{', '.join(parts)} are called manipulated."


def _groups(rates: _Rates) -> str:
    parts = (
        f"{found['groups']} groups of manipulated and {alarms['groups']} of real {kind}"
        for kind, found, alarms in rates
    )
    return ", ".join(parts)
