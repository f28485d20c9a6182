from enum import StrEnum


class NoticeOutCapturesType0(StrEnum):
    BLURRED = "blurred"
    CLEAR = "clear"

    def __str__(self) -> str:
        return str(self.value)
