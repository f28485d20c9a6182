"""The optimisation loop: AdamW, cosine schedule, EMA, bf16 autocast, checkpoints, early stop."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler
from torch.utils.tensorboard import SummaryWriter

from deepfake_training.backbone import ExportGraph, create_backbone
from deepfake_training.config import Config
from deepfake_training.data import CropStore, PairDataset, ValidationDataset
from deepfake_training.errors import TrainingError

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
CHECKPOINT_FORMAT = "deepfake-training/1"


@dataclass(frozen=True, slots=True)
class StepReport:
    """For the progress display: ``validation`` is set on the steps that validate."""

    step: int
    steps: int
    loss: float
    validation: dict[str, float] | None


class _From(Sampler[int]):
    """Pair numbers from ``start`` on, in order: what lets a resumed run see the same pairs."""

    def __init__(self, start: int, stop: int) -> None:
        self._range = range(start, stop)

    def __iter__(self) -> Iterator[int]:
        return iter(self._range)

    def __len__(self) -> int:
        return len(self._range)


class Ema:
    """Exponential moving average of weights and buffers, with a warm-up of the decay."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        for mine, theirs in zip(
            self.model.state_dict().values(), model.state_dict().values(), strict=True
        ):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1.0 - decay)
            else:
                mine.copy_(theirs)


def learning_rate(step: int, config: Config) -> float:
    """Linear warm-up, then a cosine to zero (Loshchilov and Hutter 2017, arXiv:1608.03983)."""
    fit = config.fit
    if step < fit.warmup_steps:
        return fit.learning_rate * (step + 1) / fit.warmup_steps
    done = (step - fit.warmup_steps) / max(1, fit.steps - fit.warmup_steps)
    return fit.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))


def _start_loader_worker(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load one of our checkpoints.

    Raises:
        TrainingError: when the file is not one that this package wrote.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises pickle, zip and runtime errors alike
        raise TrainingError(f"{path.name}: not a checkpoint of this package") from error
    if not isinstance(state, dict) or state.get("format") != CHECKPOINT_FORMAT:
        raise TrainingError(f"{path.name}: not a checkpoint of this package")
    return state


def validate(
    model: nn.Module, graph: ExportGraph, store: CropStore, config: Config
) -> tuple[dict[str, float], pd.DataFrame]:
    """Score the held-out crops; return the metrics and a frame of scores by crop.

    The metric that selects a checkpoint is the mean over fake methods of the medium-level AUC
    against all held-out real media of the same kind of source, so that no large source decides.
    """
    data = ValidationDataset(store, config)
    loader = DataLoader(
        data, batch_size=64, num_workers=config.fit.workers, worker_init_fn=_start_loader_worker
    )
    rows: list[int] = []
    logits: list[float] = []
    model.eval()
    with torch.inference_mode():
        for crops, numbers in loader:
            rows += numbers.tolist()
            logits += model(graph.normalise(crops)).flatten().float().tolist()
    scores = store.index.iloc[rows][["media", "label", "method", "dataset", "group"]].copy()
    scores["logit"] = logits
    media = scores.groupby("media", sort=True).agg(
        logit=("logit", "mean"),
        label=("label", "first"),
        method=("method", "first"),
        dataset=("dataset", "first"),
    )
    real = media[media["label"] == "real"]
    metrics: dict[str, float] = {}
    for method, part in media[media["label"] == "fake"].groupby("method"):
        own = real[real["dataset"].isin(part["dataset"].unique())]
        against = own if len(own) >= 3 else real
        truth = np.r_[np.ones(len(part)), np.zeros(len(against))]
        metrics[f"auc/{method}"] = float(
            roc_auc_score(truth, np.r_[part["logit"], against["logit"]])
        )
    metrics["auc_mean"] = float(np.mean(list(metrics.values())))
    truth = (media["label"] == "fake").to_numpy(int)
    metrics["auc_all"] = float(roc_auc_score(truth, media["logit"]))
    return metrics, scores


def fit(
    crops: Path,
    out: Path,
    config: Config,
    *,
    progress: Callable[[StepReport], None] | None = None,
) -> dict[str, float]:
    """Train on the prepared ``crops``; write checkpoints to ``out``; return the best metrics.

    A run that finds its own checkpoint in ``out`` goes on from it, to the same weights as if it
    had not been stopped (the loss of step ``n`` depends on the seed and on ``n``).
    """
    out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(0)
    torch.manual_seed(config.fit.seed)
    store = CropStore(crops)
    model = create_backbone(config.backbone)
    graph = ExportGraph(model, config.bundle.input)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = Ema(model, config.fit.ema_decay)
    optimiser = torch.optim.AdamW(
        _parameter_groups(model, config.fit.weight_decay), lr=config.fit.learning_rate
    )
    start, best, waited = 0, {"auc_mean": -1.0}, 0
    if (out / CHECKPOINT).exists():
        state = read_checkpoint(out / CHECKPOINT)
        if state["config"] != config.model_dump_json():
            raise TrainingError(
                f"{out}: holds the checkpoint of another config; choose another folder"
            )
        model.load_state_dict(state["model"])
        ema.model.load_state_dict(state["ema"])
        optimiser.load_state_dict(state["optimiser"])
        start, best, waited = state["step"], state["best"], state["waited"]
    pairs = PairDataset(store, config, config.fit.steps * config.fit.pairs)
    loader = DataLoader(
        pairs,
        batch_size=config.fit.pairs,
        sampler=_From(start * config.fit.pairs, len(pairs)),
        num_workers=config.fit.workers,
        worker_init_fn=_start_loader_worker,
    )
    log = SummaryWriter(str(out / "log"), purge_step=start)
    smoothing = config.fit.label_smoothing
    for step, (real, fake) in enumerate(loader, start=start):
        # Dropout and drop path draw from torch's generator: tie it to the step.
        torch.manual_seed(config.fit.seed + step)
        rate = learning_rate(step, config)
        for group in optimiser.param_groups:
            group["lr"] = rate
        model.train()
        batch = graph.normalise(torch.cat([real, fake])).contiguous(
            memory_format=torch.channels_last
        )
        truth = torch.cat(
            [torch.full((len(real),), smoothing), torch.full((len(fake),), 1.0 - smoothing)]
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=config.fit.bf16):
            output = model(batch).flatten()
        loss = F.binary_cross_entropy_with_logits(output.float(), truth)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        ema.update(model, step)
        done = step + 1
        log.add_scalar("loss", loss.item(), done)
        log.add_scalar("learning_rate", rate, done)
        metrics = None
        if done % config.fit.validate_every == 0 or done == config.fit.steps:
            metrics, _ = validate(ema.model, graph, store, config)
            for name, value in metrics.items():
                log.add_scalar(name, value, done)
            waited += 1
            if metrics["auc_mean"] > best["auc_mean"]:
                best, waited = {**metrics, "step": float(done)}, 0
                _save(out / BEST, {"format": CHECKPOINT_FORMAT, "ema": ema.model.state_dict()})
                (out / "metrics.json").write_text(json.dumps(best, indent=2, sort_keys=True))
        if done % config.fit.checkpoint_every == 0 or done == config.fit.steps or metrics:
            _save(
                out / CHECKPOINT,
                {
                    "format": CHECKPOINT_FORMAT,
                    "config": config.model_dump_json(),
                    "step": done,
                    "best": best,
                    "waited": waited,
                    "model": model.state_dict(),
                    "ema": ema.model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                },
            )
        if progress:
            progress(StepReport(done, config.fit.steps, loss.item(), metrics))
        if waited >= config.fit.patience:
            break
    log.close()
    return best


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices alone, not on biases and normalisation."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def _save(path: Path, state: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)
