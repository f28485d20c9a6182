"""Test the table of detectors by data sets: its figures, its bold ones and its LaTeX."""

from __future__ import annotations

import csv
import itertools
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from typer.testing import CliRunner

from deepfake_eval.analysis.metrics import auc_value
from deepfake_eval.analysis.table import PROTOCOLS, Table, table_of_runs
from deepfake_eval.cli import app as cli
from deepfake_eval.errors import RunError
from deepfake_eval.evaluate.detector import measure_table
from deepfake_eval.options import DetectorOptions
from deepfake_eval.reporting.run_table import write_run_table

DRAWS = 60
SETS = {"Celeb_DF & more": 40, "DFDC 50%": 24}


def scores(separation: float, seed: int, *, sets: dict[str, int] | None = None) -> pd.DataFrame:
    """Return scores of videos of each data set and of pictures of the first."""
    rng = np.random.default_rng(seed)
    rows = [
        {"media": f"{label}/{number}{ending}", "label": label, "dataset": dataset,
         "group": f"{number}{ending}", "fitted": "no",
         "score": rng.normal(separation * (label == "fake"))}
        for dataset, count in (sets or SETS).items()
        for ending in ((".mp4", ".png") if dataset.startswith("C") else (".mp4",))
        for number in range(count)
        for label in ("real", "fake")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def measured(table: pd.DataFrame, folder: Path) -> Path:
    folder.mkdir()
    table.to_csv(folder / "given.csv", index=False)
    measure_table(folder / "given.csv", folder, DetectorOptions(draws=3))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Write runs of a good, a poor and a partial detector."""
    poor = scores(0.2, 2)
    poor.loc[3, "score"] = np.nan
    partial = scores(2.5, 3, sets={"DFDC 50%": 24})
    return [
        measured(scores(3.0, 1), tmp_path / "good"),
        measured(poor, tmp_path / "poor"),
        measured(partial, tmp_path / "partial"),
    ]


def test_a_cell_is_of_the_same_media_and_counts_what_was_not_scored_as_chance(
    runs: list[Path],
) -> None:
    cells = {
        (c.section, c.dataset, c.detector, c.figure): c
        for c in table_of_runs(runs, draws=DRAWS).cells
    }
    poor = cells["videos", "Celeb_DF & more", "poor", "auc"]
    given = scores(0.2, 2)
    given.loc[3, "score"] = np.nan
    chance = given["score"].median()
    videos = given[given["media"].str.endswith("mp4") & given["dataset"].str.startswith("C")]
    truth = (videos["label"] == "fake").to_numpy()
    expected = auc_value(truth, videos["score"].fillna(chance).to_numpy())
    assert poor.estimate.value == pytest.approx(expected)
    assert (poor.not_scored, poor.estimate.samples, poor.in_sample) == (1, 80, 0)
    assert poor.estimate.low < poor.estimate.value < poor.estimate.high
    mean = cells["videos", "mean", "good", "auc"].estimate.value
    parts = [cells["videos", name, "good", "auc"].estimate.value for name in SETS]
    assert mean == pytest.approx(np.mean(parts))
    assert ("videos", "mean", "partial", "auc") not in cells
    assert ("pictures", "DFDC 50%", "good", "auc") not in cells
    # Forty reals carry a TPR at 5% FPR, and none at 1%.
    assert ("videos", "Celeb_DF & more", "good", "tpr_at_5_fpr") in cells
    assert not any(figure == "tpr_at_1_fpr" for *_, figure in cells)


def test_only_what_is_shown_to_be_best_is_bold(runs: list[Path], tmp_path: Path) -> None:
    best = {
        (c.section, c.dataset, c.detector)
        for c in table_of_runs(runs, draws=DRAWS).cells
        if c.best and c.figure == "auc"
    }
    assert ("videos", "Celeb_DF & more", "good") in best
    assert ("pictures", "Celeb_DF & more", "good") in best
    assert ("videos", "mean", "good") in best
    # The partial detector is about as good where it was measured.
    assert not any(dataset == "DFDC 50%" for _, dataset, _ in best)
    # What was fitted on the media is not compared, and so never the best.
    known = scores(3.0, 1)
    known.loc[0, "fitted"] = "file"
    cells = table_of_runs([measured(known, tmp_path / "known"), runs[1]], draws=DRAWS).cells
    marked = [c for c in cells if c.detector == "known" and c.dataset == "Celeb_DF & more"]
    assert [c.in_sample for c in marked if c.section == "videos"] == [1] * 4
    assert not any(c.best for c in marked if c.section == "videos")


def test_the_files_of_a_table(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["table", *map(str, runs), "--out", str(out), "--draws", str(DRAWS)]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 0, result.output
    with (out / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    (row,) = [
        r
        for r in rows
        if (r["section"], r["dataset"], r["detector"], r["figure"])
        == ("videos", "Celeb_DF & more", "good", "auc")
    ]
    value = f"{float(row['value']):.3f}"
    bounds = f"[{float(row['low']):.3f}, {float(row['high']):.3f}]"
    assert row["best"] == "1"
    markdown, tex = (out / "table.md").read_text(), (out / "table.tex").read_text()
    assert f"**{value}** {bounds}" in markdown
    assert rf"\textbf{{{value}}} {{\scriptsize {bounds}}}" in tex
    assert r"Celeb\_DF \& more" in tex
    assert "poor did not score 1 of 208." in markdown
    # Three detectors, and two data sets with their mean: the data sets go down the page.
    assert "|  | good | poor | partial |" in markdown


def forged(trained_on: str, seed: int) -> pd.DataFrame:
    """Return scores of DF40 and the reals that it was made from, higher for what was learnt."""
    rng = np.random.default_rng(seed)
    made_from = {"DF40-ff": "FaceForensics++", "DF40-cdf": "Celeb-DF-v2", "DF40-heygen": ""}
    methods = {"FS": ("simswap", "BlendFace"), "FR": ("fomm",)}
    rows = []
    for dataset, real in made_from.items():
        kinds = methods if real else {"FR": ("heygen",)}
        fakes = [(kind, method) for kind in kinds for method in kinds[kind]]
        for (kind, method), number in itertools.product([("", "original"), *fakes], range(30)):
            label = "fake" if kind else "real"
            score = rng.normal(
                1.5 * (kind == trained_on or method == trained_on) + 0.4 * bool(kind)
            )
            rows.append(
                {"media": f"{dataset}/{method}/{number}.mp4", "label": label, "method": method,
                 "dataset": dataset if kind or not real else real, "group": f"{number}",
                 "score": score, "fitted": "no"}
            )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def trained(tmp_path: Path) -> list[str]:
    """Write two seeds of a detector that learnt swaps, and one that learnt reenactments."""
    return [
        f"{name}={measured(forged(name, seed), tmp_path / f'{name}{seed}')}"
        for name, seed in (("FS", 1), ("FS", 2), ("FR", 3))
    ]


def reference(truth: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Return the figures of scikit-learn."""
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    return {
        "auc": roc_auc_score(truth, score),
        "average_precision": average_precision_score(truth, score),
        "eer": brentq(lambda x: x + np.interp(x, fpr, tpr) - 1.0, 0.0, 1.0),
        "tpr_at_5_fpr": tpr[fpr <= 0.05].max(),
    }


def test_a_protocol_of_df40_has_the_figures_of_scikit_learn_number_by_number(
    trained: list[str],
) -> None:
    cells = {
        (c.part, c.detector, c.figure): c
        for c in table_of_runs(trained, protocol="df40-1", draws=DRAWS).cells
        if c.section == "videos"
    }
    given = [forged(name, seed) for name, seed in (("FS", 1), ("FS", 2), ("FR", 3))]
    own = given[0]["dataset"].isin(["DF40-ff", "FaceForensics++"])
    swaps = own & given[0]["method"].isin(["original", "simswap", "BlendFace"])
    redone = own & given[0]["method"].isin(["original", "fomm"])
    for part, chosen in (("FS", swaps), ("FR", redone)):
        truth = (given[0][chosen]["label"] == "fake").to_numpy()
        each = [reference(truth, table[chosen]["score"].to_numpy()) for table in given]
        for figure in each[0]:
            values = [figures[figure] for figures in each]
            fs, fr = cells[part, "FS", figure], cells[part, "FR", figure]
            assert fs.estimate.value == pytest.approx(np.mean(values[:2]))
            assert fs.deviation == pytest.approx(np.std(values[:2], ddof=1), abs=5e-5)
            assert fr.estimate.value == pytest.approx(values[2])
            assert (fs.seeds, fr.seeds, fr.deviation) == (2, 1, None)
            assert (fs.estimate.groups, fs.estimate.samples) == (30, len(truth))
            # The mean of a row is of the types that it was not trained on.
            assert (fs.counts, fr.counts) == (part == "FR", part == "FS")
            mean = cells["", "FR" if part == "FS" else "FS", figure]
            assert mean.estimate.value == (fr if part == "FS" else fs).estimate.value
    # The same resamples of whole people, drawn here by hand, for both seeds and all columns.
    rng = np.random.default_rng(zlib.crc32(b"FaceForensics++/"))
    people = sorted({f"FaceForensics++/{number}" for number in range(30)})
    members = given[0][redone]
    belongs = ("FaceForensics++/" + members["group"]).to_numpy()
    truth = (members["label"] == "fake").to_numpy()
    drawn = []
    for _ in range(DRAWS):
        picks = rng.integers(30, size=30)
        rows = np.concatenate([np.flatnonzero(belongs == people[p]) for p in picks])
        two = [roc_auc_score(truth[rows], t[redone]["score"].to_numpy()[rows]) for t in given[:2]]
        drawn.append(np.mean(two))
    estimate = cells["FR", "FS", "auc"].estimate
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def test_each_protocol_has_its_columns_and_its_mean(trained: list[str], tmp_path: Path) -> None:
    def shown(table: Table, detector: str) -> dict[str, bool]:
        cells = [c for c in table.cells if (c.figure, c.section) == ("auc", "videos")]
        names = {f"{c.dataset}: {c.part}".removesuffix(": "): c for c in cells}
        assert {c.detector for c in cells} == {"FS", "FR"}
        return {n: c.counts for n, c in names.items() if c.detector == detector and n != "mean"}

    by = {name: table_of_runs(trained, protocol=name, draws=3) for name in PROTOCOLS}
    assert shown(by["df40-1"], "FR") == {"DF40-ff: FS": True, "DF40-ff: FR": False}
    assert shown(by["df40-2"], "FR") == {"DF40-cdf: FS": False, "DF40-cdf: FR": True}
    assert shown(by["df40-3"], "FR") == {"DF40-heygen": True}
    assert set(shown(by["across"], "FR")) == {"DF40-ff", "DF40-cdf", "DF40-heygen"}
    assert by["within"].remarks == ("FS names no column.", "FR names no column.")
    assert "videos of FaceForensics++ (only real)" in by["across"].left_out
    one = measured(forged("simswap", 4), tmp_path / "simswap")
    others = table_of_runs([f"SimSwap={one}"], protocol="df40-4", draws=3).cells
    left = table_of_runs([f"DF40-ff, SimSwap={one}"], protocol="leave-one-out", draws=3).cells
    counted = [
        {(c.dataset, c.part) for c in cells if c.counts and c.dataset != "mean"}
        for cells in (others, left)
    ]
    assert ("DF40-ff", "fomm") in counted[0]
    assert {part for _, part in counted[0]} == {"BlendFace", "fomm", "heygen"}
    assert ("DF40-cdf", "simswap") in counted[1]
    long = {(c.dataset, c.part) for c in table_of_runs([one], by_method=True, draws=3).cells}
    assert long >= {("DF40-ff", ""), ("DF40-ff", "simswap"), ("DF40-cdf", "fomm"), ("mean", "")}
    assert ("DF40-heygen", "heygen") not in long
    command = ["table", *trained, "--protocol", "df40-1", "--draws", "20", "--out"]
    result = CliRunner().invoke(cli.app, [*command, str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    markdown = (tmp_path / "out" / "table.md").read_text()
    assert "| trained on | DF40-ff: FR (30 groups) | DF40-ff: FS (30 groups) | mean |" in markdown
    assert "Mean ± standard deviation (n - 1) over seeds: FS (2 runs)." in markdown
    (row,) = [line for line in markdown.split("## AP")[0].splitlines() if line.startswith("| FS")]
    assert row.count(" ± ") == 3
    assert row.split("|")[3].strip().startswith("(")


def test_runs_of_one_name_and_protocols_that_do_not_fit_are_refused(
    runs: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"There is no protocol 'df41'\. Choose from within, across"):
        table_of_runs(runs, protocol="df41")
    with pytest.raises(RunError, match="Only some runs named X have Celeb_DF & more"):
        table_of_runs([f"X={runs[0]}", f"X={runs[2]}"], draws=3)
    with pytest.raises(RunError, match="real and manipulated media of the protocol df40-1"):
        table_of_runs(runs, protocol="df40-1", draws=3)
    equal = tmp_path / "lr=1"
    shutil.copytree(runs[0], equal)
    assert {c.detector for c in table_of_runs([equal], draws=3).cells} == {"lr=1"}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_latex_of_a_table_and_of_a_run_compiles(
    runs: list[Path], trained: list[str], tmp_path: Path
) -> None:
    write_run_table(tmp_path, table_of_runs(runs, draws=5))
    write_run_table(tmp_path / "own", table_of_runs(trained, protocol="df40-4", draws=5))
    shutil.copy(runs[1] / "tables" / "figures.tex", tmp_path)
    page = "\n".join(
        [
            r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}",
            r"\input{table}\input{own/table}\input{figures}\end{document}",
        ]
    )
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    log = (tmp_path / "page.log").read_text(errors="replace")
    assert "Missing character" not in log
    assert "Overfull" not in log


def test_a_data_set_of_one_group_is_in_the_table_and_has_no_interval(tmp_path: Path) -> None:
    one = scores(2.0, 1, sets={"DFDC": 12}).assign(group="id0")
    cells = table_of_runs([measured(one, tmp_path / "one")], draws=DRAWS).cells
    (cell,) = [c for c in cells if (c.section, c.figure) == ("videos", "auc")]
    assert cell.dataset == "DFDC"
    assert cell.indicative
    assert np.isnan(cell.estimate.low)


def test_a_data_set_of_one_class_is_named(tmp_path: Path) -> None:
    both = scores(2.0, 1, sets={"DFDC": 12})
    fakes = both[both["label"] == "fake"].assign(dataset="photoshop")
    folder = measured(pd.concat([both, fakes]), tmp_path / "run")
    command = ["table", str(folder), "--out", str(tmp_path / "out"), "--draws", "3"]
    result = CliRunner().invoke(cli.app, command)
    assert "Left out: videos of photoshop (only fake)." in result.output
    assert "Left out: videos of photoshop (only fake)." in (tmp_path / "out/table.md").read_text()


def test_runs_without_both_classes_give_no_table(tmp_path: Path) -> None:
    real = scores(1.0, 1)
    real = real[real["label"] == "real"]
    folder = tmp_path / "real"
    folder.mkdir()
    real.to_csv(folder / "given.csv", index=False)
    options = DetectorOptions(draws=3, threshold=0.5)
    measure_table(folder / "given.csv", folder, options)
    with pytest.raises(RunError, match="No data set of these runs has real and manipulated"):
        table_of_runs([folder], draws=3)
