"""The moving average and the learning rate of a run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deepfake_training.config import FitConfig
from deepfake_training.train.loop import moving_average, schedule


def rates(fit: FitConfig, steps: range) -> list[float]:
    optimiser = torch.optim.AdamW(nn.Linear(2, 1).parameters(), lr=fit.learning_rate)
    scheduler = schedule(optimiser, fit)
    values = []
    for step in steps:
        scheduler.step_update(step)
        values.append(optimiser.param_groups[0]["lr"])
    return values


def test_the_decay_of_the_average_grows_to_the_configured_one() -> None:
    average = moving_average(nn.Linear(2, 1), FitConfig(ema_decay=0.9))
    for step in range(200):
        assert average.get_decay(step) == pytest.approx(min(0.9, (1 + step) / (10 + step)))


def test_the_average_includes_buffers() -> None:
    model = nn.BatchNorm1d(2)
    average = moving_average(model, FitConfig(ema_decay=0.5))
    model.running_mean += 1.0  # type: ignore[operator]
    average.update(model, 100)
    assert average.module.running_mean.tolist() == [0.5, 0.5]


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    fit = FitConfig(steps=30, warmup_steps=10, learning_rate=0.1)
    values = rates(fit, range(30))
    assert values[0] == pytest.approx(0.01)
    assert values[10] == max(values) == pytest.approx(0.1)
    assert values[20] == pytest.approx(0.05)
    assert 0.0 < values[29] < 0.002
    assert values[:11] == sorted(values[:11])
    assert rates(fit, range(17, 30)) == values[17:], "a resumed run has the same rates"
    assert rates(FitConfig(steps=4, warmup_steps=0, learning_rate=0.1), range(1)) == [0.1]
    assert max(rates(FitConfig(steps=4, warmup_steps=9, learning_rate=0.1), range(4))) < 0.1
