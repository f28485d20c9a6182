"""``deepfake-eval attack``: how many queries it takes to change a verdict by an invisible change.

The attacker sees what a client sees: the box of the face, the verdict and the value of each query.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_eval.analysis.intervals import rate
from deepfake_eval.analysis.summary import Subject
from deepfake_eval.datasets import Row
from deepfake_eval.errors import RunError
from deepfake_eval.evaluate.run import Labelled, labelled_rows, load_dataset
from deepfake_eval.inference.frame_folders import open_medium
from deepfake_eval.inference.runner import StageReporter, no_progress
from deepfake_eval.options import AttackOptions
from deepfake_models.bundle.results import Verdict, VerdictCode, rounded
from deepfake_models.errors import MediaError
from deepfake_models.faces.crops import square
from deepfake_models.machine import atomic_write_text
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import Frame
from deepfake_models.sandbox.decoder import Decoder, ProcessDecoder
from deepfake_models.scorer import Scorer

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]
Query = Callable[[Floats], float | None]
"""Asks for the value of the picture with a field of changes added; ``None`` ends the attack."""

RESULT = "attack.json"
FIELD: Final = (28, 28, 3)
"""Cells of a field, which covers a square of ``SCALE`` times the side of the face's box."""
SCALE: Final = 1.4


@dataclass(frozen=True, slots=True)
class Target:
    """A picture (H, W, 3) on which the bundle is right, and the box of its most suspect face."""

    row: Row
    picture: Picture
    verdict: Verdict
    box: tuple[float, float, float, float]

    def is_reached(self, verdict: Verdict) -> bool:
        """Return whether a fake is no longer ``likely_manipulated``, or a real picture is."""
        flagged = verdict.verdict is VerdictCode.LIKELY_MANIPULATED
        return flagged is (self.row.label == "real")

    def change(self, field: Floats, bound: int) -> Picture:
        """Return the picture with ``field``, in units of ``bound``, added around the face."""
        height, width = self.picture.shape[:2]
        x0, y0, side = square(self.box, SCALE)
        left, top = max(math.floor(x0), 0), max(math.floor(y0), 0)
        size = min(math.ceil(x0 + side), width) - left, min(math.ceil(y0 + side), height) - top
        channels = np.moveaxis(np.clip(field, -1.0, 1.0), 2, 0).astype(np.float32)
        resized = [
            np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BICUBIC))
            for channel in channels
        ]
        change = np.rint(np.clip(np.stack(resized, axis=2), -1.0, 1.0) * bound)
        picture = self.picture.copy()
        region = picture[top : top + size[1], left : left + size[0]]
        region[:] = np.clip(region + change, 0, 255).astype(np.uint8)
        return picture


def nes(query: Query, towards: float, rng: np.random.Generator) -> None:
    """Follow the direction in which the value falls, or rises if ``towards`` is 1.

    Natural evolution strategies (Wierstra et al. 2014; as an attack: Ilyas et al. 2018,
    arXiv:1804.08598) estimate it from five pairs of queries on either side of the present field.
    """
    field, estimate = np.zeros(FIELD), np.zeros(FIELD)
    while True:
        step = np.zeros(FIELD)
        for probe in rng.normal(size=(5, *FIELD)):
            above, below = query(field + 0.5 * probe), query(field - 0.5 * probe)
            if above is None or below is None:
                return
            step += np.nan_to_num(above - below) * probe  # NaN: no face was found
        estimate = 0.9 * estimate + step / (float(np.std(step)) or 1.0)
        field = 1.5 * towards * estimate / (float(np.std(estimate)) or 1.0)


def run_attack(
    bundle_dir: Path,
    datasets: Sequence[str],
    out: Path,
    options: AttackOptions,
    *,
    progress: StageReporter = no_progress,
) -> dict[str, Any]:
    """Attack pictures of ``datasets``, write ``attack.json`` to ``out``, and return its content.

    Raises:
        RunError: the bundle is right about none of the pictures.
    """
    labelled = labelled_rows([load_dataset(text, options.split) for text in datasets])
    order = np.random.default_rng(0).permutation(len(labelled)).tolist()
    scorer = Scorer.open(bundle_dir, decoder=InProcessDecoder())
    with closing(ProcessDecoder(workers=1)) as decoder:
        chosen = list(choose_targets(scorer, decoder, [labelled[n] for n in order], options.limit))
    if not chosen:
        raise RunError("The bundle is right about no picture, so none can be attacked. Add media.")
    attempts = []
    for number, target in enumerate(chosen, start=1):
        attempts.append(attack_picture(scorer, target, options))
        progress("attacking", number, len(chosen))
    result = {
        **Subject.of_bundle(scorer.bundle).heading(),
        "settings": asdict(options),
        "results": [
            {
                "label": label,
                "pictures": len(part),
                "changed": rate(
                    [bool(a["queries"]) for a in part], [a["group"] for a in part]
                ).to_json(),
            }
            for label in ("fake", "real")
            if (part := [a for a in attempts if a["label"] == label])
        ],
        "attempts": attempts,
    }
    out.mkdir(parents=True, exist_ok=True)
    atomic_write_text(out / RESULT, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


def choose_targets(
    scorer: Scorer, decoder: Decoder, media: Labelled, limit: int
) -> Iterator[Target]:
    """Yield at most ``limit`` targets of each class, one for each group: stills, or middle frames
    of videos, on which the bundle is right."""
    used: set[tuple[str, str]] = set()
    for row, root in media:
        if (row.label, row.group) in used or sum(row.label == k for k, _ in used) == limit:
            continue
        try:
            with open_medium(root / row.media, decoder) as medium:
                frame = next(iter(medium.frames([len(medium.times) // 2])), None)
        except MediaError:
            continue
        if not isinstance(frame, Frame):
            continue
        verdict = score_picture(scorer, frame.pixels)
        values = [(f.log_likelihood_ratio, f.box) for f in verdict.faces]
        known = [(value, box) for value, box in values if value is not None]
        if known and verdict.log_likelihood_ratio is not None:
            target = Target(row, frame.pixels, verdict, max(known)[1])
            if not target.is_reached(verdict):
                used.add((row.label, row.group))
                yield target


def score_picture(scorer: Scorer, picture: Picture) -> Verdict:
    """Return the verdict on a lossless file of ``picture``, (H, W, 3) uint8 RGB."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return scorer.score(file)


def attack_picture(scorer: Scorer, target: Target, options: AttackOptions) -> dict[str, Any]:
    """Return what came of attacking ``target``; ``queries`` is ``None`` if it was given up."""
    seen: list[Verdict] = []

    def query(field: Floats) -> float | None:
        if len(seen) >= options.queries or (seen and target.is_reached(seen[-1])):
            return None
        seen.append(score_picture(scorer, target.change(field, options.bound)))
        value = seen[-1].log_likelihood_ratio
        return math.nan if value is None else value

    towards = 1.0 if target.row.label == "real" else -1.0
    nes(query, towards, np.random.default_rng(0))
    return {
        **{name: getattr(target.row, name) for name in ("media", "label", "method", "group")},
        "before": rounded(target.verdict.log_likelihood_ratio),
        "after": rounded(seen[-1].log_likelihood_ratio),
        "verdict": seen[-1].verdict,
        "queries": len(seen) if target.is_reached(seen[-1]) else None,
    }
