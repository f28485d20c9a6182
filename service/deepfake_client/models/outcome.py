from enum import StrEnum


class Outcome(StrEnum):
    FAIL = "fail"
    PASS = "pass"
    SKIPPED = "skipped"
    SUPERSEDED = "superseded"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return str(self.value)
