from enum import StrEnum


class ListedJobOutKind(StrEnum):
    FRAME = "frame"
    VIDEO = "video"

    def __str__(self) -> str:
        return str(self.value)
