from enum import StrEnum


class VerdictCode(StrEnum):
    INCONCLUSIVE = "inconclusive"
    LIKELY_MANIPULATED = "likely_manipulated"
    NOT_APPLICABLE = "not_applicable"
    NO_MANIPULATION_FOUND = "no_manipulation_found"
    UNABLE_TO_EVALUATE = "unable_to_evaluate"

    def __str__(self) -> str:
        return str(self.value)
