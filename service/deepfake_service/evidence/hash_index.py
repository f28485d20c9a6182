"""Matching of media by the perceptual hashes of their frames, with vPDQ's measures.

Two PDQ hashes match up to a Hamming distance of 31 of 256 bits, the threshold that PDQ's authors
recommend. Two media match if four fifths of the frames of good quality do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from deepfake_service.evidence.perceptual_hashes import MIN_QUALITY, distances, packed

MAX_DISTANCE = 31
MIN_SHARE = 0.8
_AT_ONCE = 256
"""Hashes compared at once, to bound memory to some tens of megabytes."""


def usable(hashes: Mapping[str, Any]) -> list[str]:
    """Return the PDQ hashes of good quality in the content of a ``hashes.json``."""
    return [h["pdq"] for h in hashes.get("pdq") or [] if h["quality"] >= MIN_QUALITY]


def share_alike(submitted: list[str], known: list[str]) -> float:
    """Return the share, 0 to 1, of the ``submitted`` hashes that match one of ``known``."""
    if not submitted or not known:
        return 0.0
    ours, theirs = packed(submitted), packed(known)
    alike = 0
    for start in range(0, len(ours), _AT_ONCE):
        near = distances(ours[start : start + _AT_ONCE], theirs).min(axis=1)
        alike += int((near <= MAX_DISTANCE).sum())
    return alike / len(ours)


def exchange_lines(entries: Iterable[tuple[list[str], list[str]]]) -> Iterable[str]:
    """Yield a line of JSON for each medium, given its PDQ hashes and its vPDQ lines.

    A line is a request body of Hasher-Matcher-Actioner's ``POST /c/bank/<BANK>/signal``. Videos are
    exported as vPDQ alone, which includes the PDQ of every frame.
    """
    for pdq, vpdq in entries:
        signals: dict[str, str] = {}
        if len(pdq) == 1:
            signals["pdq"] = pdq[0]
        if vpdq:
            signals["vpdq"] = json.dumps(vpdq)
        if signals:
            yield json.dumps(signals)
