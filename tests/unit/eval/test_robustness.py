"""Test ``deepfake-eval robustness`` with real encoders, the real detector, a tiny classifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from deepfake_eval.analysis.metrics import auc
from deepfake_eval.cli import app as cli
from deepfake_eval.datasets import Row
from deepfake_eval.errors import RunError
from deepfake_eval.evaluate import robustness as sweeps
from deepfake_eval.evaluate.robustness import draw, measure, robustness
from deepfake_eval.evaluate.run import run
from deepfake_eval.inference.runner import RECORDS
from deepfake_eval.options import RunOptions, SweepOptions
from deepfake_eval.reporting.report import PREDICTIONS
from tests.support import evaluation, footage

DRAWS = 20


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("media")
    for label in ("real", "fake"):
        (root / label).mkdir()
        for number in range(2):
            picture = footage.picture(evaluation.portrait(label, number), "PNG")
            (root / label / f"{number}.png").write_bytes(picture)
        (root / label / "clip.mp4").write_bytes(evaluation.clip(label, 1))
    return root


@pytest.fixture(scope="module")
def done(
    bundle: Path, media: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("out")
    result = robustness(
        bundle,
        [f"folders:{media}"],
        out,
        SweepOptions(only="h264,resize,noise", draws=DRAWS),
    )
    return out, result


def test_what_a_sweep_writes(done: tuple[Path, dict[str, Any]]) -> None:
    out, result = done
    names = {p.name for p in out.iterdir()}
    assert names == {
        "robustness.json", "predictions.parquet", "records.jsonl", "robustness.csv", "plots",
        "missing.txt",
    }  # fmt: skip
    assert json.loads((out / "robustness.json").read_text()) == result
    assert {p.name for p in (out / "plots").iterdir()} == {
        f"{name}.{suffix}" for name in ("h264", "resize", "noise") for suffix in ("svg", "pdf")
    }
    for path in (out / "plots").glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    # 6 media × (1 + 6 + 2 + 4).
    assert len((out / RECORDS).read_text().splitlines()) == 6 * 13


def test_unchanged_media_give_what_run_gives(
    bundle: Path, media: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    options = RunOptions(frames=16, draws=DRAWS)
    run(bundle, [f"folders:{media}"], tmp_path, options)
    of_run = pd.read_parquet(tmp_path / PREDICTIONS)
    of_run.to_parquet(tmp_path / PREDICTIONS)
    plain = pd.read_parquet(tmp_path / PREDICTIONS)
    swept = pd.read_parquet(done[0] / "predictions.parquet")
    same = swept[swept["degradation"] == "none"].reset_index(drop=True)
    pd.testing.assert_frame_equal(same[plain.columns], plain)
    assert done[1]["baseline"]["auc"]["value"] == 1.0
    assert done[1]["baseline"]["auc_change"]["value"] == 0.0


def test_faces_that_become_too_small_are_not_judged_and_count_against_the_bundle(
    done: tuple[Path, dict[str, Any]],
) -> None:
    levels = {e["level"]: e for c in done[1]["degradations"] for e in c["levels"]
              if c["name"] == "resize"}  # fmt: skip
    assert done[1]["baseline"]["coverage"]["fake"]["scored"] == 3
    smallest = levels[0.25]
    assert smallest["coverage"]["fake"]["scored"] == 0
    assert smallest["coverage"]["fake"]["not_judged"] == 3
    assert smallest["true_positive_rate"]["value"] == 0.0
    assert smallest["true_positive_rate"]["samples"] == 3
    assert smallest["auc"]["value"] is None
    assert smallest["worst_case_auc"] == 0.0
    assert smallest["scored_rate"]["value"] == 0.0
    faces = pd.read_parquet(done[0] / "predictions.parquet")
    faces = faces[(faces["level"] == "face") & (faces["degradation"] == "resize")]
    assert faces["face_px"].max() < 0.6 * 256


def test_a_sweep_goes_on_where_it_stopped(
    bundle: Path,
    media: Path,
    done: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeps, "robustness_figures", lambda _: {})  # those of `done` are tested
    lines = (done[0] / RECORDS).read_bytes().splitlines(keepends=True)
    (tmp_path / RECORDS).write_bytes(b"".join(lines[:70]) + lines[70][:30])
    steps: list[tuple[str, int, int]] = []
    result = robustness(
        bundle,
        [f"folders:{media}"],
        tmp_path,
        SweepOptions(only="noise, resize, h264", draws=DRAWS),
        progress=lambda *step: steps.append(step),
    )
    assert [s for s in steps if s[0] == "scoring"] == [("scoring", k, 78) for k in range(70, 79)]
    first, second = dict(done[1]), dict(result)
    assert first.pop("created")
    assert second.pop("created")
    assert first == second
    assert (tmp_path / RECORDS).read_bytes().splitlines(keepends=True)[:70] == lines[:70]


def test_the_table_has_a_row_for_each_level(done: tuple[Path, dict[str, Any]]) -> None:
    table = pd.read_csv(done[0] / "robustness.csv")
    assert list(table["degradation"]) == ["none"] + ["h264"] * 6 + ["resize"] * 2 + ["noise"] * 4
    assert table["auc"][0] == done[1]["baseline"]["auc"]["value"]
    smallest = table[(table["degradation"] == "resize") & (table["level"] == 0.25)].iloc[0]
    assert np.isnan(smallest["auc"])
    assert smallest["worst_case_auc"] == 0.0
    assert smallest["true_positive_rate"] == 0.0
    assert bool(smallest["true_positive_rate_indicative"]) is True


def test_figures_of_a_level_on_known_scores() -> None:
    def items(ranks: dict[str, list[float]], flagged: float = 1.0) -> pd.DataFrame:
        rows = []
        for label, values in ranks.items():
            for k, value in enumerate(values):
                known = np.isfinite(value)
                verdict = "likely_manipulated" if value >= flagged else "inconclusive"
                rows.append(
                    {
                        "label": label, "group": f"g{k}", "rank": value,
                        "verdict": verdict if known else "unable_to_evaluate",
                        "reason": None if known else "face_too_small",
                        "sampled": 1, "with_face": 1, "failed": 0,
                    }
                )  # fmt: skip
        return pd.DataFrame(rows)

    before = items({"real": [0.0, 0.1, 0.2, 0.3], "fake": [1.5, 1.5, 2.0, 2.0]})
    after = items({"real": [0.0, 1.2, 0.2, np.nan], "fake": [1.1, 1.5, 2.0, np.nan]})
    entry = measure(after, before, 10, draws=DRAWS)
    assert entry["false_positive_rate"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert entry["true_positive_rate"]["value"] == 0.75
    assert entry["auc"]["value"] == pytest.approx(8 / 9, abs=1e-4)
    assert entry["auc_change"]["value"] == pytest.approx(-1 / 9, abs=1e-4)
    assert entry["auc_change"]["low"] <= entry["auc_change"]["value"]
    assert entry["auc"]["indicative"] is True
    assert entry["worst_case_auc"] == pytest.approx(8 / 16)
    assert entry["coverage"]["fake"]["reasons"] == {"face_too_small": 1}


def test_a_change_is_indicative_by_the_media_scored_both_ways() -> None:
    frame = pd.DataFrame(
        {
            "label": ["real"] * 6 + ["fake"] * 6,
            "group": [f"g{k}" for k in range(12)],
            "rank": [0.0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8],
            "verdict": "inconclusive", "reason": None, "sampled": 1, "with_face": 1, "failed": 0,
        }
    )  # fmt: skip
    before = frame.assign(rank=frame["rank"].where(frame["group"] != "g6"))
    entry = measure(frame, before, 6, draws=DRAWS)
    assert entry["auc"]["indicative"] is False
    assert entry["auc_change"]["indicative"] is True
    alone = frame.assign(group=frame["group"].where(frame["label"] == "real", "one"))
    assert measure(alone, alone, 6, draws=DRAWS)["auc"]["low"] is None


def test_the_auc_is_scikit_learn_s() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "label": rng.choice(["real", "fake"], 60),
            "group": rng.integers(20, size=60).astype(str),
            "rank": rng.integers(12, size=60) / 4,
            "verdict": "inconclusive", "reason": None, "sampled": 1, "with_face": 1, "failed": 0,
        }
    )  # fmt: skip
    entry = measure(frame, frame.assign(rank=-frame["rank"]), 10, draws=300)
    expected = auc(frame["label"] == "fake", frame["rank"], frame["group"], draws=300).to_json()
    assert entry["auc"] == {**expected, "indicative": False}
    library = roc_auc_score(frame["label"] == "fake", frame["rank"])
    assert entry["auc"]["value"] == pytest.approx(library, abs=1e-4)
    assert entry["auc_change"]["value"] == pytest.approx(2 * entry["auc"]["value"] - 1, abs=1e-3)


def test_a_draw_is_balanced_repeatable_and_grows() -> None:
    rows = [
        (Row(f"{label}/{method}/{k}", label, method, "d", "test", str(k)), Path())
        for label, method, count in (("real", "o", 9), ("fake", "a", 9), ("fake", "b", 3))
        for k in range(count)
    ]
    chosen = draw(rows, 8)
    labels = [r.label for r, _ in chosen]
    methods = [r.method for r, _ in chosen]
    assert labels.count("real") == 4
    assert methods.count("a") == methods.count("b") == 2
    assert chosen == draw(rows, 8)
    assert {r.media for r, _ in chosen} <= {r.media for r, _ in draw(rows, 11)}
    assert len(draw(rows, 20)) == 20
    assert draw(rows, None) == draw(rows, 99) == rows


def test_command_line(bundle: Path, media: Path, tmp_path: Path) -> None:
    line = ["robustness", "--bundle", str(bundle), "--dataset", f"folders:{media}", "--out"]
    options = ["--only", "jpeg", "--limit", "2", "--frames", "1", "--draws", "5"]
    result = CliRunner().invoke(cli.app, [*line, str(tmp_path / "out"), *options])
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "out" / "robustness.csv") in result.output
    written = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert written["media"] == 2
    assert [c["name"] for c in written["degradations"]] == ["jpeg"]
    assert all(e["coverage"]["real"]["media"] == 1 for e in written["degradations"][0]["levels"])
    with pytest.raises(RunError, match=r"no degradation 'heat'\. Choose from jpeg, h264, resize"):
        robustness(bundle, [f"folders:{media}"], tmp_path / "o", SweepOptions(only="heat"))
