from enum import StrEnum


class Priority(StrEnum):
    BATCH = "batch"
    LIVE = "live"
    LOW = "low"

    def __str__(self) -> str:
        return str(self.value)
