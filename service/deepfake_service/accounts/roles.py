"""What each role may do: the sets of roles that permit an action."""

from __future__ import annotations

from deepfake_service.platform.db.enums import Role

MAY_SUBMIT = frozenset({Role.PIPELINE, Role.ANALYST, Role.ADMIN})
MAY_READ_ALL = frozenset({Role.ANALYST, Role.ADMIN})
MAY_HOLD = frozenset({Role.ANALYST, Role.ADMIN})
"""Roles that may set and lift legal holds, and export originals."""
MAY_REVIEW = frozenset({Role.ANALYST, Role.ADMIN})
"""Roles that may decide about examinations, and flag that a minor may be shown."""
MAY_AUDIT = frozenset({Role.AUDITOR, Role.ADMIN})
