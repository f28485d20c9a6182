"""``deepfake-eval bench``: how long videos and pictures take, against a naive loop in the same run.

Media show a public-domain portrait, that of Grace Hopper, which matplotlib includes. The naive loop
is ``eval/baselines/naive_loop.py`` of a checkout, in processes of its own.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import av
import matplotlib.cbook
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_eval.errors import EvalError
from deepfake_eval.inference.packages import versions
from deepfake_eval.reporting.templates import filled
from deepfake_models.bundle.bundle import BundleSpec, load_bundle
from deepfake_models.machine import atomic_write_text, usable_cores
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_models.scorer import Scorer

RESULTS, TABLES = "bench.json", "bench.md"
OURS, NAIVE, UNCONFINED = "this scorer", "naive loop, same network", "without the sandbox"
SCRIPT = Path(__file__).resolve().parents[1] / "baselines" / "naive_loop.py"

RATE = 25
SEGMENT = 50
"""Most frames that are encoded. A longer video repeats their packets, each time from a keyframe."""


class BaselineMissing(EvalError):
    """The naive loop cannot run here."""


@dataclass(frozen=True, slots=True)
class Case:
    """A medium of ``height`` at 16:9: a video of which ``frames`` are examined, or a picture.

    ``compared`` says whether the other contenders are measured as well.
    """

    height: int
    faces: int = 1
    seconds: float = 0.0
    frames: int = 1
    compared: bool = False

    @property
    def name(self) -> str:
        faces = "1 face" if self.faces == 1 else f"{self.faces} faces"
        video = f", {self.seconds:g} s, {self.frames} frames" if self.seconds else ""
        return f"{self.height}p{video}, {faces}"

    def write(self, path: Path) -> None:
        """Write the medium, without sound, to ``path``."""
        if not self.seconds:
            Image.fromarray(self.picture()).save(path, "JPEG", quality=90)
            return
        with av.open(str(path), "w", format="mp4") as out:
            stream: Any = out.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
            stream.width, stream.height = self.height * 16 // 9, self.height
            stream.pix_fmt, stream.gop_size = "yuv420p", SEGMENT
            packets = [p for frame in self._frames() for p in stream.encode(frame)]
            packets += stream.encode(None)
            base = packets[0].time_base
            length = round(SEGMENT / RATE / base)
            contents = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in packets]
            for number in range(math.ceil(self.seconds * RATE / SEGMENT)):
                for content, pts, dts, key in contents:
                    packet = av.Packet(content)
                    packet.stream, packet.time_base = stream, base
                    packet.pts, packet.dts = pts + number * length, dts + number * length
                    packet.duration, packet.is_keyframe = round(1 / RATE / base), key
                    out.mux(packet)

    def _frames(self) -> Iterator[av.VideoFrame]:
        for number in range(min(SEGMENT, round(self.seconds * RATE))):
            frame = av.VideoFrame.from_ndarray(self.picture(number / SEGMENT), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            yield frame

    def picture(self, phase: float = 0.0) -> NDArray[np.uint8]:
        """Return (H, W, 3) uint8 RGB with copies of the portrait in rows.

        They sway a little with ``phase``, 0 to 1, so that frames of a video differ.
        """
        width, portrait = self.height * 16 // 9, _portrait()
        shape = portrait.height / portrait.width
        columns = min(self.faces, math.ceil(math.sqrt(self.faces * width / self.height * shape)))
        rows = math.ceil(self.faces / columns)
        across = int(min(width / columns / 1.1, self.height / rows / shape))
        copy = np.asarray(portrait.resize((across, int(across * shape)), Image.Resampling.BICUBIC))
        pixels = np.empty((self.height, width, 3), np.uint8)
        pixels[:] = np.linspace(90, 150, width).astype(np.uint8)[None, :, None]
        for number in range(self.faces):
            row, column = divmod(number, columns)
            sway = math.sin(2 * math.pi * phase + number) * 0.04 * across
            left = int((column + 0.5) * width / columns - across / 2 + sway)
            left, top = min(max(left, 0), width - across), int(row * self.height / rows)
            pixels[top : top + copy.shape[0], left : left + across] = copy
        return pixels


@cache
def _portrait() -> Image.Image:
    file: Any = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=True)
    with file:
        return Image.open(file).convert("RGB")


CASES = (
    Case(720, seconds=30, frames=32, compared=True),
    Case(1080, seconds=30, frames=32, compared=True),
    Case(2160, seconds=10, frames=16),
    Case(720, seconds=10, frames=16),
    Case(720, seconds=120, frames=16),
    Case(720, faces=16, seconds=30, frames=4),
    Case(720),
    Case(2160),
    Case(1440, faces=40),
)
QUICK = (Case(240, seconds=1, frames=2, compared=True), Case(240), Case(360, faces=4))
"""Takes seconds with a small bundle and shows that everything runs; its figures mean nothing."""


def bench(
    bundle_dir: Path,
    out: Path,
    report: Callable[[str], None],
    *,
    baseline_python: Path,
    quick: bool = False,
) -> dict[str, Any]:
    """Measure, write ``bench.json`` and ``bench.md`` to ``out``, and return the results.

    ``report`` is called with what is measured next. The files are written after each medium, so
    that an error in a later one loses nothing. ``baseline_python`` is the interpreter of an
    environment in which the naive loop runs. ``EvalError`` if no face was found in a generated
    medium.
    """
    bundle = load_bundle(bundle_dir)
    rows: list[dict[str, Any]] = []
    results: dict[str, Any] = {
        "format_version": 1,
        "machine": {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "processor": _processor(),
            "cores": usable_cores(),
            "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
            "packages": versions(),
        },
        "model": bundle.model_json(),
        "quick": quick,
        "rounds": 1 if quick else 3,
        "load_before": _load(),
        "not_measured": {},
        "media": rows,
    }
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="deepfake-bench-") as folder,
        contextlib.closing(ProcessDecoder(workers=1)) as decoder,
    ):
        scorers = {
            OURS: Scorer.open(bundle.directory, decoder=decoder),
            UNCONFINED: Scorer.open(bundle.directory, decoder=InProcessDecoder()),
        }
        path = Path(folder) / "generated"
        for case in QUICK if quick else CASES:
            report(case.name)
            case.write(path)
            chosen = {n: s for n, s in scorers.items() if case.compared or n == OURS}
            contenders = {n: partial(score, s, path, case.frames) for n, s in chosen.items()}
            if case.compared:
                naive = partial(naive_loop, baseline_python, bundle.spec, path, case.frames)
                try:
                    naive()
                    contenders[NAIVE] = naive
                except BaselineMissing as error:
                    results["not_measured"][NAIVE] = error.message
            rows.append(measure(case, contenders, results["rounds"]))
            results["load_after"] = _load()
            results["seconds"] = time.monotonic() - began
            text = json.dumps(results, indent=2, ensure_ascii=False)
            atomic_write_text(out / RESULTS, text)
            atomic_write_text(out / TABLES, tables(results))
    return results


def score(scorer: Scorer, path: Path, frames: int) -> float:
    """Score a file and return the seconds that it took.

    Raises:
        EvalError: no face was found, so that nothing would be measured.
    """
    began = time.perf_counter()
    with path.open("rb") as file:
        verdict = scorer.score(file, frames=frames)
    seconds = time.perf_counter() - began
    if not verdict.faces:
        raise EvalError(
            "No face was found in a generated file, so it measures nothing. Use another bundle."
        )
    return seconds


def measure(
    case: Case, contenders: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, Any]:
    """Return the seconds of each of ``contenders``, and what one takes of the time of another.

    All are measured once in each round, every other round in reverse order, so that a busy moment
    hits all of them. Ratios are taken round by round.
    """
    for warm_up in contenders.values():
        warm_up()
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: 1 if number % 2 == 0 else -1]:
            values[name].append(contenders[name]())
    ratios = {
        f"{one} / {other}": [a / b for a, b in zip(values[one], values[other], strict=True)]
        for one, other in ((OURS, UNCONFINED), (NAIVE, OURS))
        if one in values and other in values
    }
    return {
        "name": case.name,
        "seconds": {name: _spread(taken) for name, taken in values.items()},
        "ratios": {name: _spread(taken) for name, taken in ratios.items()},
    }


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "values": values,
    }


def same_network(spec: BundleSpec) -> list[str]:
    """Return the arguments that give the naive loop the networks of a bundle.

    Raises:
        BaselineMissing: the bundle does not say which network of timm it has.
    """
    config = spec.training.get("config", {})
    backbone, beside = config.get("backbone", {}), config.get("beside")
    if "name" not in backbone:
        raise BaselineMissing("The bundle does not name its network.")
    scales = [spec.crop.scale, *spec.crop.further_scales]
    arguments = ["--network", backbone["name"], "--size", str(spec.input.height)]
    if backbone.get("blocks"):
        arguments += ["--blocks", str(max(backbone["blocks"]))]
    if beside:
        blocks = str(max(beside["blocks"]))
        arguments += ["--beside", beside["name"], "--beside-blocks", blocks]
    return [*arguments, "--scales", *map(str, scales)]


def naive_loop(python: Path, spec: BundleSpec, video: Path, frames: int) -> float:
    """Return the seconds that the naive loop takes for a video, apart from starting.

    Raises:
        BaselineMissing: it does not run under the interpreter ``python``, whose environment needs
            its packages.
    """
    if not SCRIPT.is_file():
        raise BaselineMissing(f"{SCRIPT.name} is part of a checkout, not of the package.")
    command = [str(python), "-W", "ignore", str(SCRIPT), *same_network(spec)]
    try:
        done = subprocess.run(  # noqa: S603 - the caller chose the interpreter
            [*command, "--frames", str(frames), str(video)],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise BaselineMissing(f"{python} does not start: {error.strerror}.") from error
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise BaselineMissing(f"The naive loop ended: {reason}")
    return float(json.loads(done.stdout)["seconds"])


def tables(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    return filled("bench.md", **results)


def _load() -> float:
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    try:
        match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match[1] if match else platform.processor() or "unknown"
