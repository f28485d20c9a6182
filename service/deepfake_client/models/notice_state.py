from enum import StrEnum


class NoticeState(StrEnum):
    DRAFTED = "drafted"
    NO_ANSWER = "no_answer"
    PRESERVED = "preserved"
    REFUSED = "refused"
    REMOVED = "removed"
    SENT = "sent"
    TEMPORARILY_BLOCKED = "temporarily_blocked"
    WITHDRAWN = "withdrawn"

    def __str__(self) -> str:
        return str(self.value)
