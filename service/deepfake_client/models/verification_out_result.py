from enum import StrEnum


class VerificationOutResult(StrEnum):
    FAILED = "failed"
    SIGNER_UNKNOWN = "signer_unknown"
    VERIFIED = "verified"

    def __str__(self) -> str:
        return str(self.value)
