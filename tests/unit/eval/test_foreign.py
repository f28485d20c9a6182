"""Measure detectors that are not bundles, and compare them, by their tables of scores."""

from __future__ import annotations

import copy
import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from deepfake_eval.analysis.compare import compare, sentence
from deepfake_eval.analysis.metrics import auc_value
from deepfake_eval.analysis.summary import summarise
from deepfake_eval.analysis.table import table_of_runs
from deepfake_eval.cli import app as cli
from deepfake_eval.errors import RunError
from deepfake_eval.evaluate.detector import measure_table
from deepfake_eval.evaluate.score_table import read, subject
from deepfake_eval.options import DetectorOptions
from deepfake_eval.reporting.run_table import write_run_table

OPTIONS = DetectorOptions(draws=50)
Rows = list[dict[str, object]]


def scored(separation: float, *, seed: int = 0) -> Rows:
    """Return forty media of twenty people, whose fakes score higher by ``separation``."""
    rng = np.random.default_rng(seed)
    return [
        {
            "media": f"{label}/{person}.mp4",
            "label": label,
            "score": float(rng.normal(separation * (label == "fake"))),
            "method": "swap" if label == "fake" else "",
            "group": f"person {person}",
        }
        for person in range(20)
        for label in ("real", "fake")
    ]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def written(rows: Rows, name: str = "scores.csv") -> Path:
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    return written


@pytest.mark.usefixtures("drawn")
def test_the_auc_of_a_table_is_that_of_its_scores(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    rows = scored(1.0)
    metrics = measure_table(write(rows), tmp_path / "out", OPTIONS)
    truth = np.array([r["label"] == "fake" for r in rows])
    values = np.array([r["score"] for r in rows], dtype=float)
    auc = metrics["levels"]["item"][0]["auc"]
    assert auc["value"] == pytest.approx(auc_value(truth, values), abs=1e-4)
    assert auc["low"] < auc["value"] < auc["high"]
    assert auc["groups"] == 20
    assert metrics["levels"]["frame"] == []
    # Scores that are not probabilities have no accuracy, and without a threshold no rates.
    assert metrics["levels"]["item"][0]["accuracy"]["value"] is None
    assert metrics["operating_point"] == metrics["coverage"] == []
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Evaluation of scores" in report
    assert "At the thresholds" not in report
    assert {p.name for p in (tmp_path / "out" / "tables").iterdir()} == {
        "figures.csv", "figures.tex",
    }  # fmt: skip
    assert (tmp_path / "out" / "plots" / "roc.pdf").read_bytes().startswith(b"%PDF")


def test_rates_are_those_at_the_given_threshold(write: Callable[..., Path], tmp_path: Path) -> None:
    rows = scored(2.0)
    options = DetectorOptions(threshold=1.0, draws=50)
    metrics = measure_table(write(rows), tmp_path / "out", options)
    real, fake = (
        next(e for e in metrics["operating_point"] if e["label"] == label)
        for label in ("real", "fake")
    )
    for entry, label, name in (
        (real, "real", "false_positive_rate"),
        (fake, "fake", "true_positive_rate"),
    ):
        values = np.array([r["score"] for r in rows if r["label"] == label], dtype=float)
        assert entry[name]["value"] == pytest.approx((values >= 1.0).mean())
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<td>likely manipulated</td><td>1.000 (picture), 1.000 (video)</td>" in page
    rates = pd.read_csv(tmp_path / "out" / "tables" / "rates.csv")
    assert set(rates["rate"]) == {"true_positive_rate", "false_positive_rate", "cleared_rate"}


def test_a_medium_has_the_mean_score_of_its_frames(write: Callable[..., Path]) -> None:
    rows = [
        {"media": "a", "label": "fake", "frame": frame, "score": score}
        for frame, score in ((0, 0.2), (10, 0.6), (20, ""))
    ]
    table = read(write(rows), OPTIONS)
    item = table[table["level"] == "item"].iloc[0]
    assert item["rank"] == pytest.approx(0.4)
    assert (item["kind"], item["sampled"], item["with_face"]) == ("video", 3, 2)
    assert table[table["level"] == "frame"]["rank"].notna().tolist() == [True, True, False]


def test_an_empty_score_is_an_abstention(write: Callable[..., Path]) -> None:
    rows = scored(1.0)
    rows[1]["score"] = ""
    path = write(rows)
    metrics = summarise(read(path, OPTIONS), subject(path, OPTIONS), settings={"draws": 50})
    entry = metrics["levels"]["item"][0]
    assert (entry["fake"]["scored"], entry["fake"]["not_scored"]) == (19, 1)
    assert entry["worst_case_auc"] < entry["auc"]["value"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "1"}, "line 2, the label must be real or fake, not '1'"),
        ({"score": "high"}, "line 2, the score must be a number, or empty, not 'high'"),
        ({"score": "nan"}, "line 2, the score must be a number"),
        ({"media": ""}, "line 2, the column media is empty"),
        ({"fitted": "yes"}, "line 2, fitted must be file, picture or no, or empty, not 'yes'"),
        ({"media": "fake/0.mp4"}, "line 3, fake/0.mp4 occurs twice"),
    ],
)
def test_a_wrong_line_is_named(
    change: dict[str, object], message: str, write: Callable[..., Path]
) -> None:
    rows = scored(1.0)
    rows[0] |= change
    with pytest.raises(RunError, match=message):
        read(write(rows), OPTIONS)


def test_probabilities_outside_0_to_1_are_refused(write: Callable[..., Path]) -> None:
    rows = scored(1.0)
    rows[0]["score"] = 1.5
    with pytest.raises(RunError, match=r"line 2, a probability must be from 0 to 1, not 1\.5"):
        read(write(rows), DetectorOptions(probabilities=True))


def test_probabilities_are_judged_at_the_prior_at_which_they_are_calibrated(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    # Of media with the probability n/10, n of ten are manipulated: one in four of all.
    rows: Rows = [
        {"media": f"{n}-{k}", "label": "fake" if k < n else "real", "score": n / 10}
        for n in (0, 1, 2, 3, 4, 5)
        for k in range(10)
    ]
    path = write(rows)

    def ece(*options: str) -> float:
        line = ["detector", str(path), "--out", str(tmp_path / "out"), "--draws", "5", *options]
        result = CliRunner().invoke(cli.app, line)
        assert result.exit_code == 0, result.output
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        value: float = metrics["levels"]["item"][0]["ece"]["value"]
        return value

    assert ece("--probabilities", "--prior", "0.25") == pytest.approx(0.0, abs=1e-4)
    assert ece("--probabilities") > 0.2
    refused = CliRunner().invoke(
        cli.app, ["detector", str(path), "--out", str(tmp_path / "o"), "--prior", "0.25"]
    )
    assert refused.exit_code == 2
    assert "--probabilities" in refused.output


def test_groups_of_several_data_sets_are_kept_apart(write: Callable[..., Path]) -> None:
    rows: Rows = [
        {"media": "a.mp4", "label": label, "score": 1.0, "dataset": dataset, "group": group}
        for dataset, label, group in (("A", "real", "1"), ("B", "fake", "1"), ("C", "fake", ""))
    ]
    assert read(write(rows), OPTIONS)["group"].tolist() == ["A/1", "B/1", "C/a.mp4"]
    assert read(write(rows[:1]), OPTIONS)["group"].tolist() == ["1"]


def test_a_missing_column_is_named(write: Callable[..., Path]) -> None:
    with pytest.raises(RunError, match=r"no column score\. It has media, label\."):
        read(write([{"media": "a", "label": "real"}]), OPTIONS)


def test_the_comparison_says_which_detector_is_better(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    for name, separation in (("good", 5.0), ("bad", 0.0)):
        save(read(write(scored(separation)), OPTIONS), tmp_path / name)
    for a, b in (("good", "bad"), ("bad", "good")):
        result = compare(tmp_path / a, tmp_path / b, draws=100)
        text = sentence(result)
        assert text.startswith("good is better than bad by 0.")
        assert "40 media of 20 groups" in text
        higher, lower = re.findall(r"\((\S+) and (\S+) on", text)[0]
        assert float(higher) > float(lower)
        for field, doubt in (
            ("difference", "a class has too few groups"),
            ("in_sample", "good was fitted on some of the media"),
        ):
            doubted = copy.deepcopy(result)
            doubted["difference"]["indicative"] = field == "difference"
            if field == "in_sample":
                doubted["in_sample"]["good"] |= {"same_file": 1, "same_picture": 0}
            text = sentence(doubted)
            said = f"No difference is shown, because {doubt}: AUC of good is higher by 0."
            assert text.startswith(said)
    shutil.copytree(tmp_path / "bad", tmp_path / "other" / "good")
    text = sentence(compare(tmp_path / "good", tmp_path / "other" / "good", draws=20))
    assert f"{tmp_path / 'good'} is better than {tmp_path / 'other' / 'good'}" in text
    same = sentence(compare(tmp_path / "good", tmp_path / "good", draws=20))
    assert same.startswith("No difference is shown")


def test_groups_that_either_run_knows_count_in_a_comparison(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    rows = scored(1.0)
    alone = [{k: v for k, v in row.items() if k != "group"} for row in scored(2.0, seed=1)]
    # A table that calls pairs of people families links the people of another.
    families = [
        row | {"group": f"family {n // 4}", "score": 0.0} for n, row in enumerate(scored(0.0))
    ]
    # One that numbers the same people otherwise links none.
    names = sorted({row["group"] for row in rows})
    other = {name: names[n ^ 1] for n, name in enumerate(names)}
    renumbered = [row | {"group": other[row["group"]]} for row in rows]
    tables = {"people": rows, "alone": alone, "families": families, "renumbered": renumbered}
    for name, table in tables.items():
        save(read(write(table), OPTIONS), tmp_path / name)

    def difference(a: str, b: str) -> dict[str, Any]:
        found: dict[str, Any] = compare(tmp_path / a, tmp_path / b, draws=50)["difference"]
        return found

    there, back = difference("people", "alone"), difference("alone", "people")
    assert there["groups"] == back["groups"] == 20
    assert (there["low"], there["high"]) == (-back["high"], -back["low"])
    assert difference("people", "families")["groups"] == 10
    assert difference("people", "renumbered")["groups"] == 20


def test_runs_without_a_medium_in_common_are_told_apart_from_those_of_one_class(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("first", "second"):
        rows = [row | {"dataset": name} for row in scored(1.0)]
        save(read(write(rows), OPTIONS), tmp_path / name)
    with pytest.raises(RunError, match=r"no medium in common.*'first', of the other '.*'second'"):
        compare(tmp_path / "first", tmp_path / "second")


def save(predictions: pd.DataFrame, folder: Path) -> Path:
    folder.mkdir()
    predictions.to_parquet(folder / "predictions.parquet")
    (folder / "metrics.json").write_text('{"bundle": {"min_groups": 10}}')
    return folder


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (["7", "007"], "line 3, the frame 7 of a occurs twice"),
        (["", "7"], "line 3, a occurs twice. Give each row of a medium its frame"),
    ],
)
def test_a_frame_that_occurs_twice_is_refused(
    frames: list[str], message: str, write: Callable[..., Path]
) -> None:
    rows: Rows = [{"media": "a", "label": "fake", "frame": f, "score": 1.0} for f in frames]
    with pytest.raises(RunError, match=message):
        read(write(rows), OPTIONS)


def test_what_is_not_scored_is_said_wherever_the_auc_is(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    rows = scored(3.0)
    for row in rows[1:8:2]:
        row["score"] = ""
    out = tmp_path / "out"
    command = ["detector", str(write(rows)), "--out", str(out), "--draws", "20"]
    printed = CliRunner().invoke(cli.app, command).output
    metrics = json.loads((out / "metrics.json").read_text())
    worst = metrics["levels"]["item"][0]["worst_case_auc"]
    said = f"with 4 of 40 not scored, in the worst case {worst:.3f}; 20 real and 16 manipulated"
    assert said in printed
    assert said in (out / "report.html").read_text()
    tex = (out / "tables" / "figures.tex").read_text()
    assert f" & 20 & 16 & 4 & {metrics['levels']['item'][0]['auc']['value']:.3f}" in tex
    assert f" & {worst:.3f} & " in tex
    assert "worst is the AUC with all of that counted against the detector" in tex
    figures = pd.read_csv(out / "tables" / "figures.csv")
    assert figures["fake_not_scored"].iloc[0] == 4


def test_a_perfect_auc_is_said_to_be_uncertain_wherever_it_stands(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [{**row, "score": float(row["label"] == "fake")} for row in scored(0.0)]
    out = tmp_path / "out"
    command = ["detector", str(write(rows)), "--out", str(out), "--draws", "20"]
    printed = " ".join(CliRunner().invoke(cli.app, command).output.split())
    assert "AUC 1.000 (no interval); 20 real" in printed
    write_run_table(tmp_path, table_of_runs([out], draws=20))
    caption = (out / "tables" / "figures.tex").read_text()
    texts = (
        printed,
        (out / "report.html").read_text(),
        caption,
        (tmp_path / "table.md").read_text(),
    )
    for text in texts:
        assert "such as a perfect AUC, is still uncertain" in text
    figures = pd.read_csv(out / "tables" / "figures.csv").iloc[0]
    assert figures["auc"] == 1.0
    assert figures[["auc_low", "auc_high", "tpr_at_5_fpr_low"]].isna().all()


def test_without_groups_each_medium_is_one_and_that_is_said(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [{k: v for k, v in row.items() if k != "group"} for row in scored(1.0)]
    command = ["detector", str(write(rows)), "--out", str(tmp_path / "out"), "--draws", "5"]
    printed = " ".join(CliRunner().invoke(cli.app, command).output.split())
    assert "note: Each medium is a group of its own. If people recur, intervals are" in printed


def test_the_ending_of_a_name_tells_pictures_from_videos(write: Callable[..., Path]) -> None:
    media = {"a.mp4": "video", "b.PNG": "image", "c": "", "d.jpg": "video"}
    rows: Rows = [
        {"media": m, "label": "fake", "score": 1.0, "kind": "video" * (m == "d.jpg")} for m in media
    ]
    assert read(write(rows), OPTIONS)["kind"].tolist() == list(media.values())


def test_a_method_without_reals_is_measured_against_reals_of_its_kind(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [row | {"dataset": "mine"} for row in scored(1.0)]
    rows += [row | {"media": f"{row['media']}.png", "dataset": "faces"} for row in scored(1.0)]
    rows = [r for r in rows if r["label"] == "real" or r["dataset"] == "mine"]
    rows += [
        {"media": f"x/{n}.mp4", "label": "fake", "score": 2.0, "method": "new", "group": f"x{n}",
         "dataset": "elsewhere"}
        for n in range(12)
    ]  # fmt: skip
    metrics = measure_table(write(rows), tmp_path / "out", OPTIONS)
    (entry,) = [e for e in metrics["levels"]["item"] if e["name"] == "new"]
    assert entry["against"] == "all real videos"
    assert (entry["real"]["scored"], entry["fake"]["scored"]) == (20, 12)
    assert (
        r"$\ddagger$ against all real videos." in (tmp_path / "out/tables/figures.tex").read_text()
    )
    figures = pd.read_csv(tmp_path / "out/tables/figures.csv").set_index("name")
    assert figures.loc["new", "against"] == "all real videos"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("media;label;score\na;real;0.1\n", "separates its columns by semicolons"),
        ("media\tlabel\tscore\na\treal\t0.1\n", "separates its columns by tabs"),
        ("media,label,score\na,fake,0.1\nb,fake,0.2\n", "All media are fake, so that nothing can"),
    ],
)
def test_a_table_that_cannot_be_measured_is_refused(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(RunError, match=message):
        measure_table(path, tmp_path / "out", OPTIONS)
