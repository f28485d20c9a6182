"""Settings and fixtures of the whole suite, and how its modules are spread over workers."""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING

# Workers share the cores, so none may take all of them. Set before NumPy or torch is imported, and
# inherited by every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

    from tests.support import databases

# A loaded machine is slow, not wrong: examples are bounded in number, not in time.
settings.register_profile("suite", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=5000, print_blob=True)
settings.load_profile("suite")

UNIT = Path(__file__).parent / "unit"
TRAINING = "tests/integration/test_training_"
TAKES_LONG = frozenset({"browser", "install", "server", "shipped_model", "slow", "torch"})


class TorchBlocker:
    """A finder that skips the importing module where it imports torch or a package built on it."""

    blocked = frozenset({"torch", "torchvision", "timm", "facenet_pytorch"})

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return ``None``, which leaves ``name`` to the other finders, or skip."""
        if name.partition(".")[0] in self.blocked:
            pytest.skip(f"imports {name}, and --without-torch was given", allow_module_level=True)
        return None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--without-torch", action="store_true", help="Skip modules and tests that import torch."
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--without-torch"):
        sys.meta_path.insert(0, TorchBlocker())  # type: ignore[arg-type]


def pytest_xdist_auto_num_workers() -> int:
    """Return how many workers ``-n auto`` starts: two more than this process may use cores.

    Some tests wait: for downloads, for processes that start, for leases that end.
    """
    return len(os.sched_getaffinity(0)) + 2


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Let ``--dist loadfile`` run the modules that train on one worker, one after the other.

    They share crops and networks, whose making takes as long as the tests of such a module.
    """
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return TRAINING if nodeid.startswith(TRAINING) else super()._split_scope(nodeid)

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put modules that take long first, so that no worker begins one when the others have finished.

    Each runs on one worker (``--dist loadfile``), so that its fixtures are made once. First are all
    that are no unit tests, and among the others those with most tests that are marked as long.
    """
    long = Counter(i.path for i in items if TAKES_LONG & {mark.name for mark in i.iter_markers()})
    items.sort(key=lambda item: (UNIT in item.path.parents, -long[item.path]))


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Collect no garbage while tests are imported: nearly all objects that this makes stay."""
    if isinstance(collector, pytest.Session):
        gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but never look through the million objects of the imports."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def shared_statements() -> Iterator[None]:
    """Compile the statements of all databases of this worker once."""
    from tests.support import databases

    with databases.share_statements():
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[databases.Server]:
    """Yield the PostgreSQL server of this worker."""
    from tests.support import databases

    if databases.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with databases.running() as server:
        yield server
