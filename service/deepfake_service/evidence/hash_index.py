"""Whether two media are the same to the eye: by perceptual hashes of their frames, as vPDQ does.

The measures are those that users of PDQ exchange by: hashes are alike up to 31 of 256 bits, and
media if four fifths of the frames of good quality are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from deepfake_service.evidence.perceptual_hashes import MIN_QUALITY, distances, packed

MAX_DISTANCE = 31
MIN_SHARE = 0.8
_AT_ONCE = 256
"""Hashes compared at once: memory stays at some tens of megabytes."""


def usable(hashes: Mapping[str, Any]) -> list[str]:
    """The PDQ hashes of good quality in a ``hashes.json``; none where nothing was hashed."""
    return [h["pdq"] for h in hashes.get("pdq") or [] if h["quality"] >= MIN_QUALITY]


def share_alike(submitted: list[str], known: list[str]) -> float:
    """Share, 0 to 1, of the ``submitted`` hashes that are like one of ``known``."""
    if not submitted or not known:
        return 0.0
    ours, theirs = packed(submitted), packed(known)
    alike = 0
    for start in range(0, len(ours), _AT_ONCE):
        near = distances(ours[start : start + _AT_ONCE], theirs).min(axis=1)
        alike += int((near <= MAX_DISTANCE).sum())
    return alike / len(ours)


def exchange_lines(entries: Iterable[tuple[list[str], list[str]]]) -> Iterable[str]:
    """One JSON object a line for each known medium, as Hasher-Matcher-Actioner's
    ``POST /c/bank/<BANK>/signal`` takes it; of a video every frame's PDQ is in its vPDQ."""
    for pdq, vpdq in entries:
        signals: dict[str, str] = {}
        if len(pdq) == 1:
            signals["pdq"] = pdq[0]
        if vpdq:
            signals["vpdq"] = json.dumps(vpdq)
        if signals:
            yield json.dumps(signals)
