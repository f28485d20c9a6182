from enum import StrEnum


class PublicKeyOutKty(StrEnum):
    EC = "EC"
    OKP = "OKP"

    def __str__(self) -> str:
        return str(self.value)
