from enum import StrEnum


class Leaning(StrEnum):
    NEITHER = "neither"
    TOWARDS_MANIPULATED = "towards_manipulated"
    TOWARDS_UNTOUCHED = "towards_untouched"

    def __str__(self) -> str:
        return str(self.value)
