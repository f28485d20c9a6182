from enum import StrEnum


class Order(StrEnum):
    LIKELIHOOD = "likelihood"
    NEWEST = "newest"
    OLDEST = "oldest"

    def __str__(self) -> str:
        return str(self.value)
