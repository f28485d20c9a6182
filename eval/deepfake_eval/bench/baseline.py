"""The naive loop as a process: ``eval/baselines/naive_loop.py`` of a checkout."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepfake_eval.errors import EvalError
from deepfake_models.bundle import BundleSpec
from deepfake_models.decode.base import ClosesOnExit

SCRIPT = Path(__file__).resolve().parents[2] / "baselines" / "naive_loop.py"
SMALL_NETWORK = "tf_efficientnet_lite0"


class BaselineMissing(EvalError):
    """The naive loop cannot run here."""


def same_network(spec: BundleSpec) -> list[str]:
    """Return the arguments that give the naive loop the network of a bundle.

    Raises:
        BaselineMissing: the bundle does not say which network of timm it has.
    """
    backbone = spec.training.get("config", {}).get("backbone", {})
    if "name" not in backbone:
        raise BaselineMissing("the bundle does not name its network")
    scales = [spec.crop.scale, *spec.crop.further_scales]
    arguments = ["--network", backbone["name"], "--size", str(spec.input.height)]
    if backbone.get("blocks"):
        arguments += ["--blocks", str(max(backbone["blocks"]))]
    return [*arguments, "--scales", *map(str, scales)]


class NaiveLoop(ClosesOnExit):
    """A running naive loop; a context manager.

    ``python`` is the interpreter of an environment with its packages.

    Raises:
        BaselineMissing: it does not start.
    """

    def __init__(self, python: Path, arguments: Sequence[str]) -> None:
        if not SCRIPT.is_file():
            raise BaselineMissing(f"{SCRIPT.name} is part of a checkout, not of the package")
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the caller chose the interpreter
                [str(python), "-W", "ignore", str(SCRIPT), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        except OSError as error:
            raise BaselineMissing(f"{python}: {error.strerror}") from error
        try:
            self.facts: dict[str, Any] = self._answer()
        except BaseException:
            self.close()
            raise

    def score(self, video: Path, frames: int) -> dict[str, Any]:
        """Return what scoring the video took: ``seconds``, ``stages``, ``faces``, ``peak_mb``."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"video": str(video), "frames": frames}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            reason = self._process.stderr.read().strip().rpartition("\n")[2]
            raise BaselineMissing(f"the naive loop ended: {reason}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
