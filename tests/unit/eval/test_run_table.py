"""Test the table of detectors by data sets: its figures, its bold ones and its LaTeX."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from deepfake_eval.analysis.metrics import auc_value
from deepfake_eval.analysis.table import table_of_runs
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
        (c.section, c.dataset, c.detector, c.figure): c for c in table_of_runs(runs, draws=DRAWS)[0]
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
        for c in table_of_runs(runs, draws=DRAWS)[0]
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
    cells, _ = table_of_runs([measured(known, tmp_path / "known"), runs[1]], draws=DRAWS)
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


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_latex_of_a_table_and_of_a_run_compiles(runs: list[Path], tmp_path: Path) -> None:
    write_run_table(tmp_path, *table_of_runs(runs, draws=5))
    shutil.copy(runs[1] / "tables" / "figures.tex", tmp_path)
    page = "\n".join(
        [
            r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}",
            r"\input{table}\input{figures}\end{document}",
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
    cells, _ = table_of_runs([measured(one, tmp_path / "one")], draws=DRAWS)
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
