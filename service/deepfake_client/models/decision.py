from enum import StrEnum


class Decision(StrEnum):
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    UNDECIDED = "undecided"

    def __str__(self) -> str:
        return str(self.value)
