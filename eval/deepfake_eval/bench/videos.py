"""Measure videos end to end, against the naive loop.

The naive loop is ``eval/baselines/naive_loop.py`` of a checkout, in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_eval.bench.media import Clip
from deepfake_eval.bench.scoring import (
    Report,
    Samples,
    alternate,
    ratio,
    score,
    seconds_of,
)
from deepfake_eval.errors import EvalError
from deepfake_models.bundle.bundle import Bundle, BundleSpec
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import ClosesOnExit
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_models.scorer import Scorer

OURS, UNCONFINED = "this scorer", "without the sandbox"
NAIVE = "naive loop, same network"
CONTENDERS = (OURS, NAIVE, UNCONFINED)

SCRIPT = Path(__file__).resolve().parents[2] / "baselines" / "naive_loop.py"


@dataclass(frozen=True, slots=True)
class VideoCase:
    """A video and how many of its frames are examined.

    ``naive`` says whether the naive loop and the scorer without its sandbox are measured as well.
    """

    clip: Clip
    frames: int
    naive: bool = False

    @property
    def name(self) -> str:
        faces = "1 face" if self.clip.faces == 1 else f"{self.clip.faces} faces"
        return (
            f"{self.clip.height}p {self.clip.codec}, {self.clip.seconds:g} s, {faces}, "
            f"{self.frames} frames"
        )


class BaselineMissing(EvalError):
    """The naive loop cannot run here."""


def same_network(spec: BundleSpec) -> list[str]:
    """Return the arguments that give the naive loop the network of a bundle.

    Raises:
        BaselineMissing: the bundle does not say which network of timm it has.
    """
    backbone = spec.training.get("config", {}).get("backbone", {})
    if "name" not in backbone:
        raise BaselineMissing("The bundle does not name its network.")
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
            raise BaselineMissing(f"{SCRIPT.name} is part of a checkout, not of the package.")
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the caller chose the interpreter
                [str(python), "-W", "ignore", str(SCRIPT), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        except OSError as error:
            raise BaselineMissing(f"{python} does not start: {error.strerror}.") from error
        try:
            self.facts = self._answer()
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
            raise BaselineMissing(f"The naive loop ended: {reason}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass(frozen=True, slots=True)
class VideoBench:
    bundle: Bundle
    baseline_python: Path
    folder: Path
    """Where videos are generated."""
    rounds: int
    report: Report

    def run(self, cases: tuple[VideoCase, ...]) -> dict[str, Any]:
        """Return the figures of all cases, and why the naive loop was not measured."""
        loop, missing = None, {}
        with contextlib.ExitStack() as stack:
            try:
                naive = NaiveLoop(self.baseline_python, same_network(self.bundle.spec))
                loop = stack.enter_context(naive)
            except BaselineMissing as error:
                missing[NAIVE] = error.message
            decoder = stack.enter_context(contextlib.closing(ProcessDecoder(workers=1)))
            ours = Scorer.open(self.bundle.directory, decoder=decoder)
            rows = [self._row(case, ours, loop) for case in cases]
        return {"cases": rows, "not_measured": missing, "baseline": loop and loop.facts}

    def _row(self, case: VideoCase, ours: Scorer, loop: NaiveLoop | None) -> dict[str, Any]:
        self.report(case.name)
        suffix = "webm" if case.clip.codec == "VP9" else "mp4"
        path = self.folder / f"{case.name.replace(' ', '-').replace(',', '')}.{suffix}"
        case.clip.write(path)
        contenders: dict[str, Callable[[], float]] = {
            OURS: lambda: seconds_of(lambda: score(ours, path, case.frames)),
        }
        if case.naive:
            inside = Scorer.open(self.bundle.directory, decoder=InProcessDecoder())
            contenders[UNCONFINED] = lambda: seconds_of(lambda: score(inside, path, case.frames))
            if loop is not None:
                contenders[NAIVE] = lambda: loop.score(path, case.frames)["seconds"]
        for warm_up in contenders.values():
            warm_up()
        taken = alternate(contenders, self.rounds)
        path.unlink()
        return {
            "name": case.name,
            "seconds": {name: samples.to_json() for name, samples in taken.items()},
            "ratios": _ratios(taken),
        }


def _ratios(taken: dict[str, Samples]) -> dict[str, Any]:
    pairs = [(OURS, UNCONFINED), (NAIVE, OURS)]
    return {
        f"{one} / {other}": ratio(taken[one], taken[other]).to_json()
        for one, other in pairs
        if one in taken and other in taken
    }
