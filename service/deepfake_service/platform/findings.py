"""What people decide about an examination, and what their decisions amount to.

What tells findings apart follows from the sets below, but for their texts (``findings``,
``concluded`` and ``details`` in the catalogue of the report), their keys in the console
(``DECISIONS``) and their counts (``FoundItems``). Of decisions to the same effect, the first holds.
"""

from __future__ import annotations

from enum import StrEnum


class Decision(StrEnum):
    """What one person decides about an examination. The model's verdict does not change."""

    CONFIRMED = "confirmed"
    BODY_GENERATED = "body_generated"
    """The body, the clothes or the surroundings are generated; the face may be the person's own."""
    REJECTED = "rejected"
    UNDECIDED = "undecided"


class Finding(StrEnum):
    """The outcome of all decisions on an examination."""

    CONFIRMED = "confirmed"
    BODY_GENERATED = "body_generated"
    """It was confirmed that the body, the clothes or the surroundings are generated."""
    REJECTED = "rejected"
    UNDECIDED = "undecided"
    AWAITING_SECOND = "awaiting_second"
    """No two people decided the same where two are required."""


MANIPULATED = frozenset[str]({Finding.CONFIRMED, Finding.BODY_GENERATED})
"""The findings that say that a file is manipulated: notices may rest on them."""
CLEARED = frozenset[str]({Finding.REJECTED})
"""The findings that say that a file is not manipulated."""
DECIDED = MANIPULATED | CLEARED
"""The findings with which people have decided: they lead, and the automatic reading follows."""
AGAINST = frozenset[str](Finding) - MANIPULATED
"""Findings that no notice may rest on."""
DISAGREEMENT = "disagreement"
"""What people are told instead of ``Finding.UNDECIDED`` where reviewers confirmed and rejected. It
is not stored: see ``cases/filters.py``."""
