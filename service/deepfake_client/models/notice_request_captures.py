from enum import StrEnum


class NoticeRequestCaptures(StrEnum):
    BLURRED = "blurred"
    CLEAR = "clear"

    def __str__(self) -> str:
        return str(self.value)
