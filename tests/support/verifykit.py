"""Verify evidence of tests with their key, and say at which step it fails."""

from __future__ import annotations

from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.evidence.bundle.verification_result import (
    ExitCode,
    Outcome,
    Trust,
    Verification,
)
from tests.support import evidencekit as kit

OURS = Trust(keys=(kit.signers().statement.public_key(),))


def files() -> dict[str, bytes]:
    return bag.unzipped(kit.bundle())


def failed_at(content: bytes, trust: Trust = OURS) -> int:
    """Return the number of the step at which a bundle fails."""
    found = verify(content, trust)
    assert found.exit_code is ExitCode.FAILED, [s.to_json() for s in found.steps]
    return next(s.number for s in found.steps if s.outcome is Outcome.FAIL)


def outcomes(found: Verification) -> dict[int, Outcome]:
    return {s.number: s.outcome for s in found.steps}
