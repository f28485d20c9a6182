from enum import StrEnum


class NoticeBaseLanguage(StrEnum):
    EN = "en"
    KO = "ko"

    def __str__(self) -> str:
        return str(self.value)
