"""Settings and fixtures of the whole suite, and how its modules are spread over workers."""

from __future__ import annotations

import gc
import os
import sys
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
    from tests.support import databases

# A loaded machine is slow, not wrong: examples are bounded in number, not in time.
settings.register_profile("suite", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=5000, print_blob=True)
settings.load_profile("suite")

TESTS = Path(__file__).parent

LONGEST_FIRST = (
    "integration/test_jobs.py",
    "e2e/console/test_pages.py",
    "e2e/test_make_serve.py",
    "integration/test_training_head_export.py",
    "integration/test_captures.py",
    "integration/test_training_export.py",
    "integration/test_workers_postgres.py",
    "integration/test_server.py",
    "integration/test_evidence_api.py",
    "integration/test_cli_score.py",
    "unit/service/capture/test_links.py",
    "unit/service/capture/test_browser.py",
    "fuzz/test_mutants.py",
    "integration/test_jobs_postgres.py",
    "integration/test_training_prepare.py",
    "unit/service/removal/test_looks.py",
    "fuzz/test_api.py",
    "e2e/console/test_submitting.py",
    "integration/test_training_features.py",
    "e2e/console/test_answers.py",
    "integration/test_stored_data_directory.py",
    "e2e/test_shipped_model.py",
    "unit/models/sandbox/test_decoder_process.py",
    "unit/service/capture/test_link_videos.py",
    "unit/service/removal/test_whole_way.py",
    "e2e/test_docs.py",
    "unit/eval/test_docs_commands.py",
    "unit/eval/test_robustness.py",
    "unit/eval/test_bench.py",
    "unit/eval/test_run_workers.py",
    "integration/test_shipped_evidence.py",
    "integration/test_network.py",
    "integration/test_wheel.py",
    "integration/test_client.py",
    "e2e/console/test_actions.py",
    "e2e/console/test_keyboard.py",
    "integration/test_frames_api.py",
    "e2e/console/test_queue.py",
    "integration/test_training_head.py",
    "unit/service/api/test_videos_api.py",
    "unit/service/evidence/test_evidence_tampering.py",
    "unit/service/evidence/test_evidence.py",
    "unit/service/capture/test_page_client.py",
    "unit/service/web/test_long_pages.py",
    "parity/test_mtcnn_parity.py",
    "integration/test_robustness_media.py",
    "integration/test_uploads.py",
    "integration/test_training_fit.py",
    "unit/models/media/test_decoders.py",
    "unit/models/media/test_video_formats.py",
    "unit/service/cases/test_job_deletion.py",
)
"""Modules that take longest, so that no worker begins one when the others have finished. Each runs
on one worker (``--dist loadfile``), so that its fixtures are made once."""


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
    """Apply ``--without-torch``, and refuse names in ``LONGEST_FIRST`` that do not exist."""
    missing = [name for name in LONGEST_FIRST if not (TESTS / name).is_file()]
    assert not missing, missing
    if config.getoption("--without-torch"):
        sys.meta_path.insert(0, TorchBlocker())  # type: ignore[arg-type]


def pytest_xdist_auto_num_workers() -> int:
    """Return how many workers ``-n auto`` starts: one more than this process may use cores.

    Some tests wait: for downloads, for processes that start, for leases that end.
    """
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest modules first."""
    order = {TESTS / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


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
