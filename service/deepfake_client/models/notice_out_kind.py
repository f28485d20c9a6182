from enum import StrEnum


class NoticeOutKind(StrEnum):
    BUDAPEST_29 = "budapest-29"
    EU_DSA_16 = "eu-dsa-16"
    KR_D4U = "kr-d4u"
    KR_TBA_22_5 = "kr-tba-22-5"
    US_TAKE_IT_DOWN = "us-take-it-down"

    def __str__(self) -> str:
        return str(self.value)
