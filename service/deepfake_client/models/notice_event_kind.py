from enum import StrEnum


class NoticeEventKind(StrEnum):
    CREATED = "created"
    OUTCOME = "outcome"
    RECEIPT = "receipt"
    RECORDED = "recorded"
    SEND_UNDONE = "send_undone"
    SENT = "sent"
    SIGNED = "signed"
    TO_WITHDRAW = "to_withdraw"
    UPHELD = "upheld"

    def __str__(self) -> str:
        return str(self.value)
