from enum import StrEnum


class Finding(StrEnum):
    AWAITING_SECOND = "awaiting_second"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    UNDECIDED = "undecided"

    def __str__(self) -> str:
        return str(self.value)
