"""The training loop: AdamW, cosine schedule, EMA, bf16 autocast, checkpoints, early stopping."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import cv2
import pandas as pd
import torch
from timm.optim import param_groups_weight_decay
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter

from deepfake_training.config import Config, FitConfig
from deepfake_training.data.datasets import CropStore, PairDataset, ValidationDataset
from deepfake_training.data.manifests import COLUMNS
from deepfake_training.data.prepare import check_cut
from deepfake_training.data.splits import held_out
from deepfake_training.networks.backbone import ExportGraph, create_backbone
from deepfake_training.train import checkpoints, method_metrics
from deepfake_training.train.frozen import fit_frozen

LABEL_SMOOTHING = 0.05


def _start_loader_worker(_: int) -> None:
    """Limit a ``DataLoader`` process to one thread, since the processes are the parallelism."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _loader(
    data: PairDataset | ValidationDataset, fit: FitConfig, **options: Any
) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """Return a loader that makes tensors of the arrays of ``data`` in the processes of ``fit``."""
    return DataLoader(
        cast("Dataset[Any]", data),  # it needs a length and items, not the class
        num_workers=fit.workers,
        worker_init_fn=_start_loader_worker,
        **options,
    )


def moving_average(model: nn.Module, fit: FitConfig) -> ModelEmaV3:
    """Return an exponential moving average of the weights and buffers of ``model``.

    At step n the decay is min(``ema_decay``, (1 + n) / (10 + n)), as in TensorFlow's
    ``ExponentialMovingAverage``.
    """
    return ModelEmaV3(
        model,
        decay=fit.ema_decay,
        use_warmup=True,
        warmup_gamma=9.0,
        warmup_power=1.0,
        update_after_step=-2,
    )


def schedule(optimiser: torch.optim.Optimizer, fit: FitConfig) -> CosineLRScheduler:
    """Return a linear warm-up followed by a cosine to zero (Loshchilov and Hutter 2017,
    arXiv:1608.03983). It is stateless: the learning rate depends on the step only."""
    return CosineLRScheduler(
        optimiser,
        t_initial=max(1, fit.steps - fit.warmup_steps),
        warmup_t=fit.warmup_steps,
        warmup_lr_init=fit.learning_rate / max(1, fit.warmup_steps),
        warmup_prefix=True,
        t_in_epochs=False,
    )


def score_held_out(
    model: nn.Module, graph: ExportGraph, store: CropStore, config: Config
) -> pd.DataFrame:
    """Score the held-out crops; return one row per crop with its labels and ``logit``.
    ``TrainingError`` if a class has no held-out crop."""
    data = ValidationDataset(store, config)
    method_metrics.check_classes(store.index.iloc[data.rows], config.cross_validation.apart)
    loader = _loader(data, config.fit, batch_size=64)
    rows: list[int] = []
    logits: list[float] = []
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=False):
        for crops, numbers in loader:
            rows += numbers.tolist()
            logits += model(graph.normalise(crops.to(device))).flatten().float().tolist()
    scores = store.index.iloc[rows][list(COLUMNS)].copy()
    scores["logit"] = logits
    return scores


def fit(
    crops: Path,
    out: Path,
    config: Config,
    *,
    progress: Callable[[checkpoints.StepReport], None] | None = None,
) -> dict[str, float]:
    """Train on the prepared ``crops``, write checkpoints to ``out`` and return the best metrics.

    A run that finds its own checkpoint in ``out`` resumes, and reaches the same weights as a run
    that was never interrupted.

    Raises:
        ConfigError: if the config does not suit the network.
        TrainingError: if there are no crops, none of a class to learn from, or ``out`` contains the
            run of another config or on other data.
        WeightsMissing: if the initial weights are not available.
    """
    out.mkdir(parents=True, exist_ok=True)
    # The loader's processes provide the parallelism.
    cv2.setNumThreads(0)
    if config.frozen:
        return fit_frozen(CropStore(crops), out, config, progress)
    run = _Run(CropStore(crops), out, config)
    run.resume()
    run.train(progress)
    return run.best


class _Run:
    """The state of one training run, on the GPU if there is one."""

    def __init__(self, store: CropStore, out: Path, config: Config) -> None:
        check_cut(store.root, config)
        method_metrics.check_measurable(store.index, config)
        fit = config.fit
        torch.manual_seed(fit.seed)
        self._store, self._out, self._config, self._fit = store, out, config, fit
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = create_backbone(config.backbone, config.bundle.input)
        self._graph = ExportGraph(model, config.bundle.input).to(self._device)
        self._model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._ema = moving_average(self._model, fit)
        self._optimiser = torch.optim.AdamW(
            param_groups_weight_decay(self._model, fit.weight_decay), lr=fit.learning_rate
        )
        self._schedule = schedule(self._optimiser, fit)
        self._step, self._unimproved = 0, 0
        self._data = store.digest()
        self._measured = bool(held_out(store.index, config).any())
        self.best: dict[str, float] = {}

    @property
    def _finished(self) -> bool:
        return self._step >= self._fit.steps or self._unimproved >= self._fit.patience

    def resume(self) -> None:
        """Load the checkpoint in the run's folder, if there is one; ``TrainingError`` if the
        checkpoint is of another config or other data."""
        state = checkpoints.own_checkpoint(self._out, self._config, self._data)
        if state is None:
            return
        self._model.load_state_dict(state["model"])
        self._ema.module.load_state_dict(state["ema"])
        self._step, self.best, self._unimproved = state["step"], state["best"], state["waited"]
        if not self._finished:
            self._optimiser.load_state_dict(state["optimiser"])

    def train(self, progress: Callable[[checkpoints.StepReport], None] | None) -> None:
        """Run the remaining steps, or stop early when validation no longer improves."""
        if self._finished:
            return
        fit = self._fit
        loader = _loader(
            PairDataset(self._store, self._config, fit.steps * fit.pairs),
            fit,
            batch_size=fit.pairs,
            sampler=range(self._step * fit.pairs, fit.steps * fit.pairs),
        )
        with closing(SummaryWriter(str(self._out / "log"), purge_step=self._step)) as log:
            for real, fake in loader:
                loss, rate = self._one_step(real, fake)
                self._step += 1
                last = self._step == fit.steps
                metrics = None
                log.add_scalar("loss", loss, self._step)
                log.add_scalar("learning_rate", rate, self._step)
                if last or (self._measured and self._step % fit.validate_every == 0):
                    metrics = self._validate(log)
                if self._step % fit.checkpoint_every == 0 or last or metrics:
                    self._checkpoint()
                if progress:
                    progress(checkpoints.StepReport(self._step, fit.steps, loss, metrics))
                if self._finished:
                    break

    def _one_step(self, real: torch.Tensor, fake: torch.Tensor) -> tuple[float, float]:
        """Learn from a batch of pairs, each (N, S, S, 3) uint8; return loss and learning rate."""
        fit, device = self._fit, self._device
        # Dropout and drop path draw from torch's generator.
        torch.manual_seed(fit.seed + self._step)
        self._schedule.step_update(self._step)
        self._model.train()
        crops = torch.cat([real, fake])
        batch = self._graph.normalise(crops.to(device, non_blocking=True))
        truth = torch.cat([torch.zeros(len(real)), torch.ones(len(fake))]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=fit.bf16):
            output = self._model(batch.contiguous(memory_format=torch.channels_last)).flatten()
        smooth = truth * (1.0 - 2.0 * LABEL_SMOOTHING) + LABEL_SMOOTHING
        loss = F.binary_cross_entropy_with_logits(output.float(), smooth)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimiser.step()
        self._ema.update(self._model, self._step)
        return loss.item(), float(self._optimiser.param_groups[0]["lr"])

    def _validate(self, log: SummaryWriter) -> dict[str, float]:
        """Measure the moving average and save it if it is the best so far. If nothing is held out,
        there is nothing to choose by and the last average is saved."""
        self._unimproved += 1
        metrics: dict[str, float] = {}
        if self._measured:
            scores = score_held_out(self._ema.module, self._graph, self._store, self._config)
            metrics = method_metrics.mean_aucs(scores, self._config.cross_validation.apart)
        for name, value in metrics.items():
            log.add_scalar(name, value, self._step)
        if metrics.get("auc_mean", 0.0) > self.best.get("auc_mean", -1.0):
            self.best, self._unimproved = {**metrics, "step": float(self._step)}, 0
            checkpoints.save_result(self._out, self._ema.module.state_dict(), self.best)
        return metrics

    def _checkpoint(self) -> None:
        state = {
            "step": self._step,
            "best": self.best,
            "waited": self._unimproved,
            "model": self._model.state_dict(),
            "ema": self._ema.module.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        checkpoints.save_checkpoint(self._out, self._config, self._data, state)
