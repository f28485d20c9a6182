"""The tables for papers: CSV, LaTeX and BibTeX."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from deepfake_eval.analysis.metrics import FIGURES
from deepfake_eval.datasets import DATASETS
from deepfake_eval.reporting.tables import bibliography, figure_rows, latex, write_tables

OWN_DATA = {"folders", "csv"}


def estimate(value: float | None, half: float = 0.1) -> dict[str, Any]:
    bounds = (None, None) if value is None else (value - half, value + half)
    return {"value": value, "low": bounds[0], "high": bounds[1]}


@pytest.fixture
def metrics() -> dict[str, Any]:
    counts = {"scored": 12, "not_scored": 1, "groups": 5}
    entry = {
        "scope": "all", "name": "all", "real": counts, "fake": counts, "groups": 10,
        "indicative": False, **dict.fromkeys(FIGURES, estimate(0.8)), "ece": estimate(None),
        "tpr_at_01_fpr": estimate(None), "worst_case_auc": 0.7,
    }  # fmt: skip
    method = {
        **entry, "scope": "method", "name": "50%_{swap}$", "dataset": "my & data",
        "against": "all real videos",
    }  # fmt: skip
    return {
        "bundle": {"bundle": "small_net", "version": "1", "min_groups": 10},
        "settings": {"confidence": 0.95, "draws": 100, "datasets": [{"adapter": "ffpp"}]},
        "in_sample": {"known": True, "media": 26, "same_file": 3, "same_picture": 1},
        "levels": {
            "item": [entry, {**method, "indicative": True}], "video": [entry], "frame": [entry],
        },
        "operating_point": [],
    }  # fmt: skip


def test_the_csv_has_every_figure_with_its_interval(
    metrics: dict[str, Any], tmp_path: Path
) -> None:
    write_tables(tmp_path, metrics)
    text = (tmp_path / "figures.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [r["level"] for r in rows] == ["item", "item", "video", "frame"]
    assert (rows[1]["name"], rows[1]["indicative"]) == ("50%_{swap}$", "1")
    assert float(rows[0]["auc_low"]) == pytest.approx(0.7)
    assert rows[0]["ece"] == ""
    assert len(figure_rows(metrics)) == len(rows)


def test_names_are_escaped_in_latex_and_marks_explained(metrics: dict[str, Any]) -> None:
    text = latex(metrics)
    row = r"my \& data: 50\%\_\{swap\}\$$^{\dagger}$$^{\ddagger}$ & 12 & 12 & 2 & 0.800"
    assert row in text
    assert "& 0.700 & 0.800" in text  # the worst case, after the AUC
    assert r"\caption{small\_net 1, with 95\% intervals" in text
    assert r"$\dagger$ fewer than 10 groups in a class." in text
    assert r"$\ddagger$ against all real videos." in text
    assert "leave out what was not scored" in text
    assert "In sample: 4 of 26 media." in text
    # A figure that no row has is no column.
    assert "TPR@1" in text
    assert "TPR@0.1" not in text
    assert text.count("&") - text.count(r"\&") == 4 * 9
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_a_file_of_an_earlier_run_that_does_not_apply_is_removed(
    metrics: dict[str, Any], tmp_path: Path
) -> None:
    write_tables(tmp_path, metrics)
    assert (tmp_path / "datasets.bib").exists()
    metrics["settings"]["datasets"] = [{"adapter": "folders"}]
    write_tables(tmp_path, metrics)
    assert not (tmp_path / "datasets.bib").exists()


@pytest.mark.parametrize("name", sorted(set(DATASETS) - OWN_DATA))
def test_every_published_data_set_has_a_reference(name: str) -> None:
    entry = bibliography([name, name])
    assert entry.startswith("@")
    assert entry.count("@") == 1
    assert entry.count("{") == entry.count("}")
    assert "year" in entry
