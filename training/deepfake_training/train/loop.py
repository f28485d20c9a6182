"""The optimisation loop: AdamW, cosine schedule, EMA, bf16 autocast, checkpoints, early stop."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler
from torch.utils.tensorboard import SummaryWriter

from deepfake_training.config import Config, FitConfig
from deepfake_training.data.batches import BatchDataset
from deepfake_training.data.datasets import CropStore, ValidationDataset, start_loader_worker
from deepfake_training.data.prepare import check_cut
from deepfake_training.data.splits import held_out
from deepfake_training.networks.backbone import ExportGraph, create_backbone, last_layers
from deepfake_training.train.checkpoints import (
    CHECKPOINT,
    CHECKPOINT_FORMAT,
    LABELS,
    StepReport,
    keep,
    own_checkpoint,
    save,
)
from deepfake_training.train.distributed import Workers, joined
from deepfake_training.train.linear_probe import fit_head, start_head
from deepfake_training.train.method_metrics import check_classes, mean_aucs


class _Numbers(Sampler[int]):
    """Pair numbers in a fixed order: what lets a resumed run see the same pairs."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


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


def score_held_out(
    model: nn.Module, graph: ExportGraph, store: CropStore, config: Config
) -> pd.DataFrame:
    """Score the held-out crops: a row a crop, with its labels and ``logit``.

    Raises:
        TrainingError: when a class has no held-out crop.
    """
    data = ValidationDataset(store, config)
    check_classes(store.index["label"].iloc[data.rows])
    loader = DataLoader(
        data, batch_size=64, num_workers=config.fit.workers, worker_init_fn=start_loader_worker
    )
    rows: list[int] = []
    logits: list[float] = []
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=False):
        for crops, numbers in loader:
            rows += numbers.tolist()
            logits += model(graph.normalise(crops.to(device))).flatten().float().tolist()
    scores = store.index.iloc[rows][LABELS].copy()
    scores["logit"] = logits
    return scores


def fit(
    crops: Path,
    out: Path,
    config: Config,
    *,
    progress: Callable[[StepReport], None] | None = None,
) -> dict[str, float]:
    """Train on the prepared ``crops``; write checkpoints to ``out``; return the best metrics.

    A run that finds its own checkpoint in ``out`` goes on from it, to the same weights as if it
    had not been stopped (the loss of step ``n`` depends on the seed and on ``n``). Under torchrun
    each step's pairs are dealt out to the processes; ``progress`` is called in the first alone.
    """
    out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(0)
    with joined() as workers:
        if config.backbone.tune == "head":
            return fit_head(CropStore(crops), out, config, workers, progress)
        run = _Run(CropStore(crops), out, config, workers)
        run.start(progress)
        run.train(progress)
        return run.best


class _Run:
    """The state of one training run in one process."""

    def __init__(self, store: CropStore, out: Path, config: Config, workers: Workers) -> None:
        check_cut(store.root, config)
        torch.manual_seed(config.fit.seed)
        self._store, self._out, self._config, self._workers = store, out, config, workers
        model = create_backbone(config.backbone, config.bundle.input)
        self._graph = ExportGraph(model, config.bundle.input).to(workers.device)
        self._model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._ema = Ema(self._model, config.fit.ema_decay)
        self._optimiser = torch.optim.AdamW(
            _parameter_groups(self._model, config.fit), lr=config.fit.learning_rate
        )
        self._step, self._waited = 0, 0
        self._measured = bool(held_out(store.index, config).any())
        self.best: dict[str, float] = {}

    def start(self, progress: Callable[[StepReport], None] | None) -> None:
        """Take up the checkpoint in the run's folder; where there is none, fit the last layer if
        the config asks for that."""
        state = own_checkpoint(self._out, self._config)
        if state is None:
            if self._config.fit.start == "probe":
                start_head(self._model, self._store, self._config, self._workers, progress)
                self._ema = Ema(self._model, self._config.fit.ema_decay)
            return
        self._model.load_state_dict(state["model"])
        self._ema.model.load_state_dict(state["ema"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._step, self.best, self._waited = state["step"], state["best"], state["waited"]

    def train(self, progress: Callable[[StepReport], None] | None) -> None:
        """Go on to the last step, or until nothing has become better for long."""
        fit = self._config.fit
        loader = DataLoader(
            BatchDataset(self._store, self._config, fit.steps * fit.pairs),
            batch_size=self._workers.share(fit.pairs),
            sampler=_Numbers(self._workers.numbers(self._step, fit.steps, fit.pairs)),
            num_workers=fit.workers,
            worker_init_fn=start_loader_worker,
        )
        trained = self._workers.wrapped(self._model)
        # One file alone: a reader of the log takes the newest, which might be an empty one.
        leads = self._workers.leads
        log = SummaryWriter(str(self._out / "log"), purge_step=self._step) if leads else None
        for batch in loader:
            loss, rate = self._one_step(trained, *batch)
            self._step += 1
            last = self._step == fit.steps
            metrics = None
            if log:
                log.add_scalar("loss", loss, self._step)
                log.add_scalar("learning_rate", rate, self._step)
            if last or (self._measured and self._step % fit.validate_every == 0):
                metrics = self._validate(log)
            if leads:
                if self._step % fit.checkpoint_every == 0 or last or metrics:
                    self._checkpoint()
                if progress:
                    progress(StepReport(self._step, fit.steps, loss, metrics))
            self._workers.wait()
            if self._waited >= fit.patience:
                break
        if log:
            log.close()

    def _one_step(
        self,
        trained: nn.Module,
        real: torch.Tensor,
        fake: torch.Tensor,
        light: torch.Tensor,
        light_truth: torch.Tensor,
    ) -> tuple[float, float]:
        fit, device = self._config.fit, self._workers.device
        # Dropout and drop path draw from torch's generator: tie it to the step and the process.
        torch.manual_seed(fit.seed + self._step * self._workers.world + self._workers.rank)
        rate = learning_rate(self._step, self._config)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["share"]
        trained.train()
        if fit.freeze_batchnorm:
            for module in self._model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        pairs = len(real)
        crops = torch.cat([real, fake, light.flatten(0, 1)])
        batch = self._graph.normalise(crops.to(device, non_blocking=True))
        truth = torch.cat([torch.zeros(pairs), torch.ones(pairs), light_truth.flatten()]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=fit.bf16):
            output = trained(batch.contiguous(memory_format=torch.channels_last)).flatten()
        logits = output.float()
        smooth = truth * (1.0 - 2.0 * fit.label_smoothing) + fit.label_smoothing
        loss = F.binary_cross_entropy_with_logits(logits, smooth)
        if fit.pair_loss:
            apart = logits[pairs : 2 * pairs] - logits[:pairs]
            loss = loss + fit.pair_loss * F.softplus(-apart).mean()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimiser.step()
        self._ema.update(self._model, self._step)
        return self._workers.mean(loss), rate

    def _validate(self, log: SummaryWriter | None) -> dict[str, float] | None:
        """Measure the average, keep it if it is the best; the first process does, and all wait.

        With nothing held out there is nothing to choose by: the last average is kept.
        """
        self._waited += 1
        metrics = None
        if log:
            metrics, scores = {}, None
            if self._measured:
                scores = score_held_out(self._ema.model, self._graph, self._store, self._config)
                metrics = mean_aucs(scores)
            for name, value in metrics.items():
                log.add_scalar(name, value, self._step)
            if metrics.get("auc_mean", 0.0) > self.best.get("auc_mean", -1.0):
                self.best, self._waited = {**metrics, "step": float(self._step)}, 0
                keep(self._out, self._ema.model, self.best, scores)
        self._waited = round(self._workers.sum(self._waited if self._workers.leads else 0))
        return metrics

    def _checkpoint(self) -> None:
        save(
            self._out / CHECKPOINT,
            {
                "format": CHECKPOINT_FORMAT,
                "config": self._config.model_dump_json(),
                "step": self._step,
                "best": self.best,
                "waited": self._waited,
                "model": self._model.state_dict(),
                "ema": self._ema.model.state_dict(),
                "optimiser": self._optimiser.state_dict(),
            },
        )


def _parameter_groups(model: nn.Module, fit: FitConfig) -> list[dict[str, Any]]:
    """Weight decay on matrices alone, not on biases and normalisation; the last layer apart, whose
    learning rate is another ``share`` of the run's."""
    head = {id(p) for layer in last_layers(model) for p in layer.parameters()}
    fitted = [p for p in model.parameters() if p.requires_grad]
    groups = []
    for share, mine in ((1.0, False), (fit.head_rate, True)):
        part = [p for p in fitted if (id(p) in head) is mine]
        decayed, plain = [p for p in part if p.ndim > 1], [p for p in part if p.ndim <= 1]
        groups += [
            {"params": decayed, "weight_decay": fit.weight_decay, "share": share},
            {"params": plain, "weight_decay": 0.0, "share": share},
        ]
    return [group for group in groups if group["params"]]
