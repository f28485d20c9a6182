from enum import StrEnum


class CallbackContent(StrEnum):
    IDS = "ids"
    VERDICT = "verdict"

    def __str__(self) -> str:
        return str(self.value)
