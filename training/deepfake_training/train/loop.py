"""The training loop: AdamW, cosine schedule, EMA, bf16 autocast, checkpoints, early stopping.

On a CPU, threads that wait for each other within every operation of a transformer cost up to twice
the time of the operations, and more beside other programs. So a thread learns from faces of its
own, with all operations in that thread, and gradients are added in the faces' order.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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

from deepfake_eval.inference.pool import no_progress
from deepfake_training.config import Config, FitConfig
from deepfake_training.data.datasets import CropStore, PairDataset, ValidationDataset
from deepfake_training.data.manifests import COLUMNS
from deepfake_training.data.prepare import check_cut
from deepfake_training.data.splits import held_out
from deepfake_training.errors import TrainingError
from deepfake_training.networks.backbone import ExportGraph, Normalise, create_backbone
from deepfake_training.networks.class_tokens import LearntTokens
from deepfake_training.train import checkpoints, method_metrics
from deepfake_training.train.frozen import fit_frozen

LABEL_SMOOTHING = 0.05
STOP = "STOP"
"""A file of this name in the folder of a run stops it after the step."""
_FACES = 8
"""Faces that a thread learns from at a time."""


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


def fit(
    crops: Path,
    out: Path,
    config: Config,
    *,
    progress: Callable[[checkpoints.StepReport], None] = no_progress,
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
        model = create_backbone(config.backbone, config.bundle.input).to(self._device)
        if not config.backbone.blocks:
            ExportGraph(model, config.bundle.input)  # raises if there is no such graph
        self._normalise = Normalise(config.bundle.input).to(self._device)
        self._model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._learnt = [p for p in model.parameters() if p.requires_grad]
        bf16 = self._device.type != "cpu" or torch.cpu.get_capabilities().get("avx512_bf16", False)
        self._bf16 = fit.bf16 and bf16
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
        self._model.load_state_dict(state["model"], strict=False)
        self._ema.module.load_state_dict(state["ema"], strict=False)
        self._step, self.best, self._unimproved = state["step"], state["best"], state["waited"]
        if not self._finished:
            self._optimiser.load_state_dict(state["optimiser"])

    def train(self, progress: Callable[[checkpoints.StepReport], None]) -> None:
        """Run the remaining steps, or stop early when validation no longer improves;
        ``TrainingError`` if the file ``STOP`` stops it before."""
        if self._finished:
            return
        fit = self._fit
        total = fit.steps * fit.pairs
        pairs = PairDataset(self._store, self._config, total + fit.first_pairs)
        with closing(SummaryWriter(str(self._out / "log"), purge_step=self._step)) as log:
            if self._step == 0 and isinstance(self._model, LearntTokens):
                self._begin_heads(
                    _loader(pairs, fit, batch_size=fit.pairs, sampler=range(total, len(pairs))),
                    progress,
                )
                frozen = self._validate(log)
                self._checkpoint()
                progress(checkpoints.StepReport(0, fit.steps, None, frozen))
            steps = range(self._step * fit.pairs, total)
            for real, fake in _loader(pairs, fit, batch_size=fit.pairs, sampler=steps):
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
                progress(checkpoints.StepReport(self._step, fit.steps, loss, metrics))
                if self._finished:
                    break
                if (self._out / STOP).exists():
                    self._checkpoint()
                    raise TrainingError(
                        f"{self._out / STOP} has stopped the run after step {self._step}. Delete "
                        "the file and run the same command again to go on."
                    )

    def _each_part(
        self, do: Callable[..., Any], crops: torch.Tensor, *others: torch.Tensor
    ) -> list[Any]:
        """Return what ``do`` gives for all ``crops`` (N, ...) and the tensors that belong to them,
        or, for a transformer on a CPU, for a few at a time in threads of their own."""
        if self._device.type != "cpu" or not self._config.backbone.blocks:
            return [do(crops, *others)]
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(threads) as pool:
                return list(pool.map(do, *(torch.split(t, _FACES) for t in (crops, *others))))
        finally:
            torch.set_num_threads(threads)

    def _outputs(self, network: nn.Module, crops: torch.Tensor) -> torch.Tensor:
        """Return what ``network`` gives for the squares of faces, (N, V, S, S, 3) uint8 or
        (N, S, S, 3) if there is one: (N, L) float32, the outputs of all squares."""
        squares = crops.flatten(0, 1) if crops.ndim == 5 else crops
        batch = self._normalise(squares.to(self._device, non_blocking=True))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            outputs = network(batch.contiguous(memory_format=torch.channels_last))
        return outputs.float().reshape(len(crops), -1)  # type: ignore[no-any-return]

    def _begin_heads(
        self,
        loader: DataLoader[tuple[torch.Tensor, torch.Tensor]],
        progress: Callable[[checkpoints.StepReport], None],
    ) -> None:
        """Begin the heads of a transformer from its frozen class tokens of the pairs that follow
        those of the steps."""
        model = self._model
        model.eval()

        @torch.no_grad()
        def read(crops: torch.Tensor) -> torch.Tensor:
            return self._outputs(model.tokens, crops)

        parts: list[torch.Tensor] = []
        for number, (real, fake) in enumerate(loader, start=1):
            tokens = torch.cat(self._each_part(read, torch.cat([real, fake])))
            parts += tokens.reshape(2, -1, model.tokens.num_features)
            progress(checkpoints.StepReport(number, len(loader), None, None, "frozen tokens"))
        truth = torch.cat([torch.full((len(t),), n % 2 == 1) for n, t in enumerate(parts)])
        model.heads.begin(torch.cat(parts), truth, self._config.probe.shrinkage)
        self._ema.set(model)  # type: ignore[no-untyped-call]

    def _one_step(self, real: torch.Tensor, fake: torch.Tensor) -> tuple[float, float]:
        """Learn from a batch of pairs, each (N, S, S, 3) uint8; return loss and learning rate."""
        # Dropout and drop path draw from torch's generator.
        torch.manual_seed(self._fit.seed + self._step)
        self._schedule.step_update(self._step)
        self._model.train()
        crops = torch.cat([real, fake])
        truth = torch.cat([torch.zeros(len(real)), torch.ones(len(fake))])
        smooth = truth * (1.0 - 2.0 * LABEL_SMOOTHING) + LABEL_SMOOTHING

        def learn(part: torch.Tensor, goal: torch.Tensor) -> tuple[float, Any]:
            output = self._outputs(self._model, part)
            goals = goal.to(output.device)[:, None].expand_as(output)
            loss = F.binary_cross_entropy_with_logits(output, goals) * (len(part) / len(crops))
            return loss.item(), torch.autograd.grad(loss, self._learnt, materialize_grads=True)

        losses, gradients = zip(*self._each_part(learn, crops, smooth), strict=True)
        for parameter, *parts in zip(self._learnt, *gradients, strict=True):
            parameter.grad = sum(parts[1:], parts[0])
        nn.utils.clip_grad_norm_(self._learnt, 1.0)
        self._optimiser.step()
        self._ema.update(self._model, self._step)
        return sum(losses), float(self._optimiser.param_groups[0]["lr"])

    def _validate(self, log: SummaryWriter) -> dict[str, float]:
        """Measure the moving average and save it if it is the best so far. If nothing is held out,
        or a measuring set is, there is nothing to choose by and the last average is saved."""
        self._unimproved += 1
        metrics: dict[str, float] = {}
        if self._measured:
            scores = self._score_held_out()
            metrics = method_metrics.mean_aucs(scores, self._config.cross_validation.apart)
        for name, value in metrics.items():
            log.add_scalar(name, value, self._step)
        better = metrics.get("auc_mean", 0.0) > self.best.get("auc_mean", -1.0)
        if better or self._config.taught_datasets:
            self.best, self._unimproved = {**metrics, "step": float(self._step)}, 0
            average = self._ema.module
            # What heads read on (backbone.learnt) finds its initial weights again, unless random.
            read = isinstance(self._model, LearntTokens)
            part = read and self._config.backbone.weights != "none"
            weights = self._changing(average) if part else average.state_dict()
            checkpoints.save_result(self._out, weights, self.best)
        return metrics

    def _score_held_out(self) -> pd.DataFrame:
        """Score the held-out crops by the moving average; return one row per crop with its labels
        and ``logit``. ``TrainingError`` if a class has no held-out crop."""
        index, network = self._store.index, self._ema.module.eval()
        data = ValidationDataset(self._store, self._config)
        method_metrics.check_classes(index.iloc[data.rows], self._config.cross_validation.apart)

        @torch.no_grad()
        def score(crops: torch.Tensor) -> torch.Tensor:
            return self._outputs(network, crops).mean(dim=1)

        rows: list[int] = []
        logits: list[float] = []
        for crops, numbers in _loader(data, self._fit, batch_size=64):
            rows += numbers.tolist()
            logits += torch.cat(self._each_part(score, crops)).tolist()
        return index.iloc[rows][list(COLUMNS)].assign(logit=logits)

    def _checkpoint(self) -> None:
        state = {
            "step": self._step,
            "best": self.best,
            "waited": self._unimproved,
            "model": self._changing(self._model),
            "ema": self._changing(self._ema.module),
            "optimiser": self._optimiser.state_dict(),
        }
        checkpoints.save_checkpoint(self._out, self._config, self._data, state)

    def _changing(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """Return the state of ``model`` without the parameters that stay as they were."""
        stay = {name for name, p in self._model.named_parameters() if not p.requires_grad}
        return {name: value for name, value in model.state_dict().items() if name not in stay}
