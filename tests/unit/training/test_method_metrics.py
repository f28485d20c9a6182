"""Figures by method from held-out crops."""

from __future__ import annotations

import pandas as pd
import pytest

from deepfake_training.train.method_metrics import mean_aucs, media_table, opponents


def crops(
    media: str, label: str, method: str, dataset: str, logit: float
) -> list[dict[str, object]]:
    row = {"media": media, "label": label, "method": method, "dataset": dataset}
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
