"""Run functions of this program on the workers of a Dask scheduler, on one machine or many.

The workers need the same version of this program, and the same files at the same paths: a shared
file system. Whoever reaches the scheduler can run any code on its workers, as with every cluster of
this kind: keep it in a private network, or use TLS as Dask's documentation describes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from deepfake_eval.errors import EvalError

Task = TypeVar("Task")
Result = TypeVar("Result")

CONNECT_S = 30
VERSIONED = ("deepfake-service", "onnxruntime", "onnxruntime-gpu", "numpy", "av", "pillow", "torch")
"""Packages that may change results."""


class ClusterError(EvalError):
    """The Dask cluster cannot be used."""


def map_on_workers(
    scheduler: str, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[Result]:
    """Yield ``function(task)`` of each task, in the order in which they finish.

    The workers are those of the scheduler at an address such as ``tcp://10.0.0.5:8786``. The
    function must be importable on them. Tasks of a worker that dies are run by another one.

    Raises:
        ClusterError: Dask is not installed, the scheduler does not respond, is lost or has no
            workers, or a task ended several of them.
        Exception: whatever the function raises.
    """
    try:
        from distributed import CancelledError, Client, as_completed
    except ImportError:
        raise ClusterError(
            "Dask is not installed. Run pip install 'deepfake-service[cluster]'."
        ) from None
    try:
        client: Any = Client(scheduler, timeout=CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            f"No Dask scheduler responds at {scheduler}. Start one with `dask scheduler`, and "
            "workers with `dask worker`."
        ) from error
    with client:
        if not client.nthreads():
            raise ClusterError(
                f"The scheduler at {scheduler} has no workers. Start some with `dask worker "
                f"{scheduler} --nthreads 1`."
            )
        try:
            futures = client.map(function, list(tasks), pure=False)
            finished = iter(as_completed(futures, loop=client.loop))  # type: ignore[no-untyped-call]
        except (CancelledError, OSError) as error:
            raise _lost() from error
        # Only these references keep a task alive: without them, what was not begun is cancelled.
        del futures
        for future in finished:
            yield _result(future)


def _result(future: Any) -> Any:
    from distributed import CancelledError, KilledWorker

    if future.status == "error":
        error = future.exception()
        if isinstance(error, KilledWorker):
            raise ClusterError(
                "A task ended the worker processes that tried it, perhaps because memory ran out. "
                "Look at the logs of the workers, and run the same command again to resume."
            ) from error
        # Also an OSError: the file of the task, not the connection, is what it is about.
        future.result()
    try:
        return future.result()
    except (CancelledError, OSError) as error:
        raise _lost() from error


def _lost() -> ClusterError:
    return ClusterError(
        "The connection to the scheduler was lost. Run the same command again to resume."
    )


def require_shared(path: Path) -> None:
    """Check that this worker sees a file or folder of the machine that sent a task.

    Raises:
        ClusterError: it does not.
    """
    if not path.exists():
        raise ClusterError(
            f"A worker does not see {path}. Files must have the same paths on all machines. Share "
            "their folder."
        )


def versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in VERSIONED:
        try:
            found[package] = version(package)
        except ImportError:  # not installed
            continue
    return found


def check_versions(expected: dict[str, Any]) -> None:
    """Compare this worker's packages with those of the machine that sent a task.

    Raises:
        ClusterError: a package has another version, which is named.
    """
    here = versions()
    for package in sorted(expected.keys() | here.keys()):
        if expected.get(package) != here.get(package):
            raise ClusterError(
                f"A worker has {package} {here.get(package, '(not installed)')} and this machine "
                f"{expected.get(package, '(not installed)')}, so results could differ. Install the "
                "same versions everywhere."
            )
