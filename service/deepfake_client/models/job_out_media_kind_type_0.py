from enum import StrEnum


class JobOutMediaKindType0(StrEnum):
    IMAGE = "image"
    VIDEO = "video"

    def __str__(self) -> str:
        return str(self.value)
