from enum import StrEnum


class Role(StrEnum):
    ADMIN = "admin"
    ANALYST = "analyst"
    AUDITOR = "auditor"
    PIPELINE = "pipeline"

    def __str__(self) -> str:
        return str(self.value)
