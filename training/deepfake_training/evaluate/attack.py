"""Attack a bundle with its weights known, and score the altered pictures with the bundle itself.

Projected gradient descent (Madry et al. 2018, arXiv:1706.06083) changes the pixels around a face by
gradients of the network in torch with the head of the bundle. The shipped graph computes in 8 bits
and has no gradients, so the altered pictures are transferred to it: rounded to whole pixel values,
they pass detection, cropping and classification like any other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

from deepfake_eval.analysis.intervals import rate
from deepfake_eval.analysis.summary import Subject
from deepfake_eval.evaluate import labelled_rows, load_dataset
from deepfake_eval.inference.targets import Picture, Target, score_picture
from deepfake_eval.stress.attack import choose
from deepfake_models.bundle import CLASSIFIER, Bundle
from deepfake_models.decode.sandbox import ProcessDecoder
from deepfake_models.faces.crops import square
from deepfake_models.files import atomic_write_text
from deepfake_models.results import Face, rounded
from deepfake_models.scorer import Scorer
from deepfake_models.spec import CropSpec
from deepfake_training.config import Config
from deepfake_training.errors import TrainingError
from deepfake_training.networks.backbone import create_backbone
from deepfake_training.networks.class_token_head import ClassTokens

RESULT: Final = "attack.json"
STEP: Final = 0.5
"""Change of a channel at each step, in units of the bound."""

AttemptReporter = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientAttackOptions:
    """How pictures are chosen and attacked.

    ``limit`` pictures of each class are attacked, drawn by ``seed``, for each of ``bounds``
    (largest change of a channel, of 255) with ``steps`` steps.
    """

    limit: int = 20
    bounds: Sequence[int] = (1, 2, 4)
    steps: int = 5
    seed: int = 0
    split: str = "all"


class WhiteBox:
    """The network of a bundle in torch, from the pixels of a picture to the logit of one face.

    Raises:
        TrainingError: the bundle's classifier is not a linear head on the config's network.
    """

    def __init__(self, bundle: Bundle, config: Config) -> None:
        network = create_backbone(config.backbone, config.bundle.input).eval()
        if not isinstance(network, ClassTokens):
            raise TrainingError(
                "backbone: gradients can only attack a bundle whose head was fitted on its own "
                '(tune = "head" and blocks)'
            )
        self._network = network.requires_grad_(False)
        self._weight, self._bias = head_of(bundle)
        self._spec = bundle.spec.crop
        if len(self._weight) != network.num_features * self._spec.views:
            raise TrainingError(f"{CLASSIFIER}: its head does not fit the config's network")
        mean, std = bundle.spec.input.mean, bundle.spec.input.std
        self._mean = torch.tensor(mean).view(1, 3, 1, 1)
        self._std = torch.tensor(std).view(1, 3, 1, 1)

    def logit(self, picture: torch.Tensor, face: Face) -> torch.Tensor:
        """Return the logit of ``face`` in ``picture``, (3, H, W) in 0 to 255."""
        scales = (self._spec.scale, *self._spec.further_scales)
        views = [crop_view(picture, face, scale, self._spec) for scale in scales]
        crops = torch.stack(views).clamp(0.0, 255.0) / 255.0
        features = self._network.class_tokens((crops - self._mean) / self._std)
        return features.flatten() @ self._weight + self._bias


def crop_view(picture: torch.Tensor, face: Face, scale: float, spec: CropSpec) -> torch.Tensor:
    """Return one square of ``face``, (3, S, S), as ``faces.crops.cut`` cuts it from ``picture``,
    (3, H, W) in 0 to 255, but without rounding and with a gradient."""
    x0, y0, side = square(face.box, scale)
    rows, down = _resampling(y0, side, picture.shape[1], spec)
    columns, right = _resampling(x0, side, picture.shape[2], spec)
    # Pillow resamples rows first, and keeps 8 bits in between.
    resampled = (picture[:, rows][:, :, columns] @ right.T).clamp(0.0, 255.0)
    view = down @ resampled
    return torch.rot90(view, -face.turn // 90, (1, 2))


def descend(
    logit: Callable[[torch.Tensor], torch.Tensor],
    picture: Picture,
    bound: int,
    steps: int,
    *,
    upwards: bool,
    rng: np.random.Generator,
) -> tuple[Picture, Picture]:
    """Return ``picture`` changed at random, and by ``steps`` steps along gradients from there.

    ``logit`` is a function of a picture (3, H, W) in 0 to 255, and is lowered, or raised if
    ``upwards``. Channels of both results differ from ``picture`` by at most ``bound`` of 255.
    """
    original = torch.from_numpy(picture.copy()).permute(2, 0, 1).float()
    signs = rng.choice([-1.0, 1.0], size=tuple(original.shape)).astype(np.float32)
    start = (original + bound * torch.from_numpy(signs)).clamp(0.0, 255.0)
    present = start
    size = max(STEP * bound, 0.5) * (1.0 if upwards else -1.0)
    for _ in range(steps):
        present = present.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(logit(present), present)
        moved = present + size * gradient.sign()
        present = torch.minimum(torch.maximum(moved, original - bound), original + bound)
        present = present.clamp(0.0, 255.0)
    return _pixels(start), _pixels(present)


def _pixels(picture: torch.Tensor) -> Picture:
    rows = picture.detach().round().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(rows.astype(np.uint8))


def _resampling(
    start: float, side: float, length: int, spec: CropSpec
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the indices (K,) of the pixels that a crop reads along one axis, and the weights
    (S, K) with which it sums them: those of ``faces.crops.cut``.

    Pillow's filter is linear and separable, so an identity matrix gives its weights.
    """
    first, last = math.floor(start) - 1, math.ceil(start + side) + 1
    mirrored = np.pad(np.arange(length), (max(-first, 0), max(last - length, 0)), mode="reflect")
    offset = max(-first, 0)
    indices = mirrored[first + offset : last + offset]
    count = len(indices)
    region = (0.0, start - first, float(count), start - first + side)
    identity = Image.fromarray(np.eye(count, dtype=np.float32))
    resample = Image.Resampling[spec.resample.upper()]
    weights = np.asarray(identity.resize((count, spec.size), resample, box=region))
    return torch.from_numpy(indices), torch.from_numpy(weights.copy())


def head_of(bundle: Bundle) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weights (V * F,) and the bias of the linear head of a bundle's classifier.

    Raises:
        TrainingError: the classifier has no such head.
    """
    model = onnx.load(str(bundle.directory / CLASSIFIER))
    tensors = {
        t.name: numpy_helper.to_array(t)
        for t in model.graph.initializer
        if t.name in ("head.weight", "head.bias")
    }
    if len(tensors) < 2:
        raise TrainingError(f"{CLASSIFIER}: it has no linear head")
    weight, bias = (torch.from_numpy(tensors[f"head.{n}"].copy()) for n in ("weight", "bias"))
    return weight.flatten(), bias.flatten()[0]


def run_attack(
    bundle_dir: Path,
    datasets: Sequence[str],
    out: Path,
    config: Config,
    options: GradientAttackOptions,
    *,
    progress: AttemptReporter | None = None,
) -> dict[str, Any]:
    """Attack pictures of ``datasets`` (``NAME[,OPTION=VALUE]:ROOT``), and write ``attack.json``.

    Return its content.

    Raises:
        BundleError: the bundle is incomplete or altered.
        DatasetError: a root does not have the published layout of its data set.
        TrainingError: the bundle is not a linear head on the config's network, or is right about
            none of the pictures.
        WeightsMissing: the network's initial weights have not been converted.
    """
    labelled = labelled_rows([load_dataset(text, options.split) for text in datasets])
    rng = np.random.default_rng(options.seed)
    records = []
    with closing(ProcessDecoder(workers=1)) as decoder:
        scorer = Scorer.open(bundle_dir, decoder=decoder, device="cpu")
        network = WhiteBox(scorer.bundle, config)
        chosen = choose(scorer, decoder, labelled, options.limit, options.seed)
    if not chosen:
        raise TrainingError("there is no picture on which the bundle is right, so none to attack")
    ways = [(target, bound) for target in chosen for bound in options.bounds]
    for number, (target, bound) in enumerate(ways):
        if progress:
            progress(number, len(ways))
        start, changed = descend(
            partial(network.logit, face=target.face),
            target.picture,
            bound,
            options.steps,
            upwards=not target.manipulated,
            rng=rng,
        )
        records.append(_record(scorer, target, bound, start, changed))
    result = {
        **Subject.of_bundle(scorer.bundle).heading(),
        "settings": {
            "split": options.split, "limit": options.limit, "steps": options.steps,
            "seed": options.seed,
        },
        "results": [
            entry
            for label in ("fake", "real")
            for bound in options.bounds
            if (entry := _figures(records, label, bound)) is not None
        ],
        "attempts": records,
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    atomic_write_text(out / RESULT, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


def _record(
    scorer: Scorer, target: Target, bound: int, start: Picture, changed: Picture
) -> dict[str, Any]:
    row = target.row
    noise, after = score_picture(scorer, start), score_picture(scorer, changed)
    return {
        "media": row.media, "label": row.label, "method": row.method, "dataset": row.dataset,
        "group": row.group, "bound": bound,
        "before": rounded(target.verdict.log_likelihood_ratio),
        "noise": rounded(noise.log_likelihood_ratio), "noise_changed": target.reached(noise),
        "after": rounded(after.log_likelihood_ratio), "changed": target.reached(after),
        "verdict": after.verdict,
    }  # fmt: skip


def _figures(records: Sequence[dict[str, Any]], label: str, bound: int) -> dict[str, Any] | None:
    """Return the shares of changed verdicts; ``noise`` is by changes of the same size at random."""
    part = [r for r in records if (r["label"], r["bound"]) == (label, bound)]
    if not part:
        return None
    groups: NDArray[Any] = np.array([r["group"] for r in part])
    return {
        "label": label,
        "bound": bound,
        "pictures": len(part),
        "changed": rate(np.array([r["changed"] for r in part]), groups).to_json(),
        "noise": rate(np.array([r["noise_changed"] for r in part]), groups).to_json(),
    }
