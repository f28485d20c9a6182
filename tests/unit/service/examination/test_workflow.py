"""The workflow of an examination: its steps, the names that DBOS stores, and what ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from dbos import DBOS
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from deepfake_service.examination.workflow import ExaminationWorkflow, JobOver, Stopping
from deepfake_service.platform.errors import DatabaseUnavailable


class Steps:
    """Steps of a video with two chunks and one more for the denser pass. ``error`` is raised by
    each step in ``failing``."""

    def __init__(self, error: Exception | None = None, *failing: str) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.stopping = threading.Event()
        self._error, self._failing = error, failing

    def _note(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        if self._error is not None and name in self._failing:
            raise self._error

    def claim_job(self, job_id: str) -> None:
        self._note("claim_job")

    def plan_overview(self, job_id: str) -> int:
        self._note("plan_overview")
        return 2

    def examine_chunk(self, job_id: str, number: int) -> None:
        self._note("examine_chunk", number)

    def plan_dense(self, job_id: str, chunks: int) -> int:
        self._note("plan_dense", chunks)
        return 1

    def conclude(self, job_id: str, chunks: int) -> None:
        self._note("conclude", chunks)

    def issue_evidence(self, job_id: str) -> None:
        self._note("issue_evidence")

    def fail(self, job_id: str, code: str) -> None:
        self._note("fail", code)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the steps that DBOS would store."""
    names: list[str] = []

    def run_step(options: dict[str, Any], step: Callable[[], Any]) -> Any:
        names.append(options["name"])
        return step()

    monkeypatch.setattr(DBOS, "run_step", run_step)
    return names


def run(steps: Steps) -> list[str]:
    """Run the workflow; return the steps that it reports as finished."""
    finished: list[str] = []
    workflow = ExaminationWorkflow(steps, lambda name, _: finished.append(name), 1, print)
    workflow.run("job")
    assert not workflow.active
    return finished


def test_the_stored_names_are_those_of_earlier_versions(stored: list[str]) -> None:
    steps = Steps()
    finished = run(steps)
    assert (
        stored
        == finished
        == [
            "plan_overview",
            "examine_chunk",
            "examine_chunk",
            "plan_dense",
            "examine_chunk",
            "conclude",
            "issue_evidence",
        ]
    )
    assert steps.calls == [
        ("claim_job",),
        ("plan_overview",),
        ("examine_chunk", 0),
        ("examine_chunk", 1),
        ("plan_dense", 2),
        ("examine_chunk", 2),
        ("conclude", 3),
        ("issue_evidence",),
    ]


def test_a_job_that_has_ended_is_left_alone(stored: list[str]) -> None:
    steps = Steps(JobOver(), "examine_chunk")
    assert run(steps) == ["plan_overview"]
    assert steps.calls[-1] == ("examine_chunk", 0)


def test_a_fault_ends_the_job_with_its_class(stored: list[str]) -> None:
    steps = Steps(RuntimeError("secret-name.mp4"), "plan_dense")
    assert run(steps)[-1] == "fail"
    assert steps.calls[-1] == ("fail", "RuntimeError")


def test_a_result_that_could_not_be_stored_fails_no_job(stored: list[str]) -> None:
    steps = Steps(OperationalError("INSERT", {}, Exception()), "plan_dense")
    with pytest.raises(Stopping):
        run(steps)
    assert steps.calls[-1] == ("plan_dense", 2)


def test_what_a_stopping_worker_could_not_store_fails_no_job(stored: list[str]) -> None:
    """DBOS had stopped, and the log said that the job had failed."""
    steps = Steps(RuntimeError("stopped"), "plan_dense")
    steps.stopping.set()
    with capture_logs() as logged, pytest.raises(Stopping):
        run(steps)
    assert logged == []
    assert steps.calls[-1] == ("plan_dense", 2)


def test_a_worker_that_stops_does_not_wait_for_the_database(stored: list[str]) -> None:
    steps = Steps(DatabaseUnavailable(), "claim_job")
    steps.stopping.set()
    with pytest.raises(Stopping):
        run(steps)
    assert stored == []


@pytest.mark.parametrize("stopping", [False, True])
def test_a_job_that_a_worker_has_no_slot_for_is_queued_again(
    stored: list[str], monkeypatch: pytest.MonkeyPatch, stopping: bool
) -> None:
    """DBOS gives a worker as many as another worker of the queue takes."""
    monkeypatch.setattr("deepfake_service.examination.workflow._SLOT_WAIT_S", 0.1)
    given_back, steps = list[str](), Steps()
    workflow = ExaminationWorkflow(steps, lambda *_: None, 1, given_back.append)

    def claim_job(job_id: str) -> None:
        if job_id == "first":
            if stopping:
                steps.stopping.set()
            with pytest.raises(Stopping):
                workflow.run("second")

    steps.claim_job = claim_job  # type: ignore[method-assign]
    workflow.run("first")
    assert given_back == ([] if stopping else ["second"])
    assert steps.calls[-1] == ("issue_evidence",)
    workflow.run("third")
