"""Figures by method from held-out crops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepfake_training.config import BundleConfig, Config, CrossValidationConfig, LeaveOut
from deepfake_training.train.method_metrics import (
    by_acquaintance,
    mean_aucs,
    media_table,
    method_aucs,
    method_table,
    opponents,
)


def crops(
    media: str, label: str, method: str, dataset: str, logit: float, *, split: str = "fold-0"
) -> list[dict[str, object]]:
    row = {"media": media, "label": label, "method": method, "dataset": dataset, "split": split}
    values = (logit - 0.5, logit + 0.5)
    return [{**row, "group": media, "fold": 0, "logit": value} for value in values]


def scores(*parts: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame([row for part in parts for row in part])


REALS = [crops(f"r{i}.mp4", "real", "original", "ffpp", float(i)) for i in range(4)]


def test_a_medium_has_the_mean_of_its_crops() -> None:
    media = media_table(scores(*REALS))
    assert media["logit"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert not media["still"].any()


def test_a_method_is_measured_against_its_own_source_and_else_against_its_kind() -> None:
    still = crops("s.png", "real", "original", "stills", 9.0)
    own = crops("f.mp4", "fake", "swap", "ffpp", 5.0)
    alone = crops("g.mp4", "fake", "talker", "pages", 5.0)
    media = media_table(scores(*REALS, still, own, alone))
    reals = media[media["label"] == "real"]
    for name in ("swap", "talker"):
        against = opponents(media[media["method"] == name], reals)
        assert sorted(against["media"]) == ["r0.mp4", "r1.mp4", "r2.mp4", "r3.mp4"]
    picture = media_table(scores(*REALS, still, crops("p.png", "fake", "gan", "gans", 5.0)))
    against = opponents(picture[picture["method"] == "gan"], reals)
    assert against["media"].tolist() == ["s.png"]


def test_aucs_by_method_and_their_mean() -> None:
    high = crops("a.mp4", "fake", "high", "ffpp", 9.0)
    low = crops("b.mp4", "fake", "low", "ffpp", -9.0)
    metrics = mean_aucs(scores(*REALS, high, low))
    assert (metrics["auc/high"], metrics["auc/low"]) == (1.0, 0.0)
    assert metrics["auc_mean"] == metrics["auc_all"] == pytest.approx(0.5)
    without = mean_aucs(scores(*REALS, high, low), apart=("low",))
    assert (without["auc/low"], without["auc_mean"], without["auc_all"]) == (0.0, 1.0, 1.0)
    figures = method_aucs(scores(*REALS, high, low))
    assert (figures["high"].value, figures["high"].samples, figures["high"].groups) == (1.0, 1, 1)


def test_seen_and_left_out_are_told_apart_by_run() -> None:
    config = Config(
        bundle=BundleConfig(name="n", version="1", terms="t"),
        cross_validation=CrossValidationConfig(
            leave_out=(LeaveOut(name="a", methods=("swap",)), LeaveOut(name="b"))
        ),
    )
    parts = []
    for split, logit in (("without-a", -9.0), ("without-b", 9.0), ("fold-0", 9.0)):
        parts += [crops(f"r{i}.mp4", "real", "o", "ffpp", i, split=split) for i in range(4)]
        parts.append(crops("f.mp4", "fake", "swap", "ffpp", logit, split=split))
    seen, left_out = by_acquaintance(scores(*parts), config)
    assert seen["swap"].value == 1.0
    assert (seen["swap"].samples, seen["swap"].groups) == (1, 1)
    assert left_out["swap"].value == 0.0
    alone, _ = by_acquaintance(scores(*parts[:10]), config)
    assert not alone, "runs that leave something out say nothing of what was learnt"
    table = method_table(seen, left_out)
    # The fakes of one group have no interval.
    assert "| swap | 1.00* | 1 (1) | 0.00* | 1 (1) |" in table


def test_folds_are_pooled_so_that_runs_must_agree_on_where_their_scores_lie() -> None:
    """Folds may each rank well with different offsets; calibration would see the overlap."""
    config = Config(bundle=BundleConfig(name="n", version="1", terms="t"))
    parts = []
    for split, shift in (("fold-0", 0.0), ("fold-1", 10.0)):
        parts += [
            crops(f"{split}r{i}.mp4", "real", "o", "ffpp", i + shift, split=split) for i in range(4)
        ]
        parts.append(crops(f"{split}f.mp4", "fake", "swap", "ffpp", 5 + shift, split=split))
    seen, _ = by_acquaintance(scores(*parts), config)
    assert seen["swap"].value == pytest.approx(0.75)
    assert np.isfinite(seen["swap"].low)
