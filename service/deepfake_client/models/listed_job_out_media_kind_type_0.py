from enum import StrEnum


class ListedJobOutMediaKindType0(StrEnum):
    IMAGE = "image"
    VIDEO = "video"

    def __str__(self) -> str:
        return str(self.value)
