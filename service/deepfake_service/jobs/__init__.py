"""Durable jobs: queued in the transaction that accepts them, and resumed if their worker dies."""

from deepfake_service.jobs.backlog import Backlog
from deepfake_service.jobs.queue import JobQueue
from deepfake_service.jobs.runner import Runner, WorkerRules
from deepfake_service.jobs.workflow import ExaminationSteps, ExaminationWorkflow

__all__ = [
    "Backlog",
    "ExaminationSteps",
    "ExaminationWorkflow",
    "JobQueue",
    "Runner",
    "WorkerRules",
]
