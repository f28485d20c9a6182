"""What the steps of a verification share: their outcomes, and the result that follows from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Literal

from pydantic import Field

from deepfake_models.bundle.results import VerdictCode
from deepfake_service.evidence.bundle.dsse import OfBundle
from deepfake_service.platform.answers import ItemId, Published, Sha256


class Outcome(StrEnum):
    """Outcome of a step."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    """Intact, but the signer is not trusted."""
    SUPERSEDED = "superseded"
    """Intact, but the issuer has issued a newer edition."""


class ExitCode(IntEnum):
    """Exit status of ``deepfake verify``."""

    VERIFIED = 0
    FAILED = 1
    SIGNER_UNKNOWN = 3
    SUPERSEDED = 4


class Step(Published):
    """One step: its number, title, outcome and an explanation."""

    number: int = Field(description="Number of the step, from 1.")
    title: str = Field(description="What is checked.")
    outcome: Outcome = Field(description="What came out.")
    detail: str = Field(description="An explanation.")


class VerificationResult(Published):
    """The result of a verification."""

    result: Literal["verified", "superseded", "signer_unknown", "failed"]
    """`verified`; `superseded` if everything agrees, but this service replaced the edition by a
    newer one; `signer_unknown` if everything agrees, but no trusted key signed it; or `failed`."""
    sha256: Sha256 = Field(description="SHA-256 of the bundle that was sent.")
    signer: str | None = Field(description="Who signed it, if the key is trusted.")
    case: ItemId | None = Field(description="Id of the case.")
    capture: ItemId | None = Field(description="Id of the capture, of the bundle of a capture.")
    job: ItemId | None = Field(description="Id of the job, of a bundle of evidence.")
    edition: int | None = Field(description="Number of the edition.")
    verdict: VerdictCode | str | None = Field(description="The verdict in the bundle.")
    finding: str | None = Field(description="The finding of the reviewers in the bundle.")
    steps: list[Step] = Field(description="The steps of the verification, in order.")


@dataclass(slots=True)
class Verification:
    """The steps taken, and what the bundle says about itself."""

    sha256: str
    steps: list[Step] = field(default_factory=list)
    statement: OfBundle | None = None
    signer: str | None = None
    """Id of the trusted key that signed it."""

    @property
    def exit_code(self) -> ExitCode:
        """The exit status that follows from all outcomes."""
        outcomes = {s.outcome for s in self.steps}
        if Outcome.FAIL in outcomes or not self.steps:
            return ExitCode.FAILED
        if Outcome.UNKNOWN in outcomes:
            return ExitCode.SIGNER_UNKNOWN
        return ExitCode.SUPERSEDED if Outcome.SUPERSEDED in outcomes else ExitCode.VERIFIED

    def published(self) -> VerificationResult:
        """Return the result as the command and the HTTP interface give it."""
        # Nothing in a statement counts before its signature has been checked, in step 4.
        signed = any(s.number == 4 and s.outcome is not Outcome.FAIL for s in self.steps)
        stated = self.statement.predicate if self.statement and signed else None
        about = ("case", "capture", "job", "edition", "verdict", "finding")
        return VerificationResult.model_validate(
            {
                "result": self.exit_code.name.lower(),
                "sha256": self.sha256,
                "signer": self.signer,
                "steps": self.steps,
                **{name: getattr(stated, name, None) for name in about},
            }
        )


Found = tuple[Outcome, str]
"""What came out of a step, and an explanation."""
NamedStep = tuple[str, Callable[[], Found]]
