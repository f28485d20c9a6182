from enum import StrEnum


class JobBaseKind(StrEnum):
    FRAME = "frame"
    VIDEO = "video"

    def __str__(self) -> str:
        return str(self.value)
