from enum import StrEnum


class RetentionPolicy(StrEnum):
    STANDARD = "standard"
    ZERO = "zero"

    def __str__(self) -> str:
        return str(self.value)
