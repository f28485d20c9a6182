from enum import StrEnum


class EventOutType(StrEnum):
    JOB_EXPIRED = "job.expired"
    JOB_FAILED = "job.failed"
    JOB_SUCCEEDED = "job.succeeded"

    def __str__(self) -> str:
        return str(self.value)
