"""Test ``deepfake-eval reliability``: error rates by condition from the predictions of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from deepfake_eval.analysis.reliability import (
    condition_table,
    media_tables,
    reliability_table,
    write_reliability,
)
from deepfake_eval.cli import app as cli
from deepfake_eval.errors import RunError
from deepfake_models.bundle.bundle import Bundle, load_bundle
from deepfake_models.decision.level import log_likelihood_ratio
from tests.support import evaluation


@pytest.fixture(scope="module")
def bundle(bundle: Path) -> Bundle:
    return load_bundle(bundle)


def predictions(bundle: Bundle, groups: int = 12) -> pd.DataFrame:
    """Return videos of four faces: sharp ones are told apart, blurred ones are not.

    Fakes also show a bystander.
    """
    rows: list[dict[str, Any]] = []

    def add(label: str, group: int, time_s: float, logit: float | None, **more: Any) -> None:
        ratio = None
        if logit is not None:
            ratio = log_likelihood_ratio(logit, bundle.spec.calibration.face)
        rows.append(
            {
                "level": "face", "dataset": "d", "media": f"{label}/{group}.mp4", "label": label,
                "method": "original" if label == "real" else "swap", "group": f"g{group}",
                "kind": "video", "track": 0, "main": True, "time_s": time_s, "logit": logit,
                "log_likelihood_ratio": ratio, "face_px": 200.0, "sharpness": 12.0,
                "verdict": None, "rank": None, "fitted": None, **more,
            }
        )  # fmt: skip

    for group in range(groups):
        for time_s in (0.0, 1.0):
            add("real", group, time_s, -3.0)
            add("fake", group, time_s, 9.0)
            add("fake", group, time_s, -9.0, track=1, main=False)
        for label in ("real", "fake"):
            add(label, group, 2.0, -3.0, sharpness=5.0)
        add("fake", group, 3.0, None, face_px=30.0, sharpness=2.0)
    for group in range(3):
        add("real", group, 4.0, 9.0)
    table = pd.DataFrame(rows)
    items = table.drop_duplicates("media").assign(level="item", main=None, logit=None)
    return pd.concat([table, items], ignore_index=True)


def save(table: pd.DataFrame, path: Path, bundle: Bundle) -> None:
    """Write predictions, and what a run records of its bundle beside them."""
    table.to_parquet(path)
    metrics = {"bundle": {"sha256": bundle.sha256}}
    path.with_name("metrics.json").write_text(json.dumps(metrics))


def bin_of(table: dict[str, Any], width: float, measure: str, value: float) -> dict[str, Any]:
    def holds(span: list[float | None], x: float) -> bool:
        low, high = span
        return low is not None and low <= x and (high is None or x < high)

    found = [
        b
        for b in table["by_condition"]["bins"]
        if measure in b and holds(b["face_px"], width) and holds(b[measure], value)
    ]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def table(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("run")
    path = folder / "predictions.parquet"
    save(predictions(bundle), path, bundle)
    before = {p.name: p.read_bytes() for p in bundle.directory.iterdir()}
    result = write_reliability(bundle.directory, path, folder / "rates.json")
    assert json.loads((folder / "rates.json").read_text()) == result
    assert {p.name: p.read_bytes() for p in bundle.directory.iterdir()} == before
    assert {p.name for p in folder.iterdir()} == {
        "metrics.json", "predictions.parquet", "rates.json",
    }  # fmt: skip
    return result


def test_the_structure_is_that_of_a_bundle_s_table(table: dict[str, Any], bundle: Bundle) -> None:
    assert set(table) == {
        "format_version", "level_face", "level_track", "by_condition", "bundle", "level_item",
        "level_picture", "left_out",
    }  # fmt: skip
    assert table["bundle"]["sha256"] == bundle.sha256
    # One edge of width, 200, and two of sharpness, 5 and 12: nothing else was measured.
    assert len(table["by_condition"]["bins"]) == 2 * 3
    thresholds = bundle.spec.thresholds
    assert table["by_condition"]["threshold"] == thresholds.face.likely_manipulated
    assert table["level_track"]["threshold"] == thresholds.track.likely_manipulated


def test_rates_differ_by_condition(table: dict[str, Any]) -> None:
    sharp = bin_of(table, 200, "sharpness", 12)
    soft = bin_of(table, 200, "sharpness", 5)
    assert sharp["true_positive_rate"]["value"] == 1.0
    assert soft["true_positive_rate"]["value"] == 0.0
    assert sharp["true_positive_rate"]["groups"] == 12
    assert sharp["true_positive_rate"]["samples"] == 24
    assert sharp["true_positive_rate"]["low"] < 1.0
    # 24 correct faces, and three that look manipulated.
    assert sharp["false_positive_rate"]["value"] == pytest.approx(3 / 27, abs=1e-4)
    assert soft["false_positive_rate"]["value"] == 0.0
    assert sharp["decides"]
    assert soft["decides"]


def test_a_condition_that_nobody_saw_does_not_decide(table: dict[str, Any]) -> None:
    unseen = bin_of(table, 100, "sharpness", 30)
    assert unseen["false_positive_rate"]["samples"] == 0
    assert unseen["decides"] is False


def test_ten_groups_decide_and_nine_do_not(bundle: Bundle) -> None:
    for groups, decides in ((9, False), (10, True)):
        faces = predictions(bundle, groups)
        faces = faces[faces["level"] == "face"]
        made = {"by_condition": condition_table(faces, 1.0, 10)}
        assert bin_of(made, 200, "sharpness", 12)["decides"] is decides


def test_an_auc_is_indicative_by_the_class_with_fewer_groups(bundle: Bundle) -> None:
    faces = predictions(bundle, 12)
    faces = faces[(faces["level"] == "face") & faces["main"].astype(bool) & faces["logit"].notna()]
    few = (faces["label"] == "real") | faces["group"].isin([f"g{k}" for k in range(9)])
    for part, indicative in ((faces, False), (faces[few], True)):
        table = reliability_table(part, bundle.spec)
        area = table["level_face"]["overall"]["auc"]
        assert (area["indicative"], area["groups"]) == (indicative, 12)


def test_the_bundle_says_how_many_groups_are_enough(tmp_path: Path) -> None:
    lenient = evaluation.tiny_bundle(tmp_path / "lenient", conditions={"min_groups": 5})
    path = tmp_path / "predictions.parquet"
    save(predictions(lenient, 6), path, lenient)
    rates = write_reliability(lenient.directory, path, tmp_path / "r.json")
    assert rates["by_condition"]["min_groups"] == 5
    assert bin_of(rates, 200, "sharpness", 12)["decides"]
    assert rates["level_face"]["overall"]["true_positive_rate"]["indicative"] is False


def test_faces_not_judged_are_counted_and_bystanders_left_out(table: dict[str, Any]) -> None:
    small = bin_of(table, 30, "sharpness", 2)
    assert small["not_judged"] == 12
    assert small["true_positive_rate"]["samples"] == 0
    fake = table["level_face"]["overall"]["true_positive_rate"]
    assert fake["samples"] == 12 * 3
    tracks = table["level_track"]["overall"]
    assert tracks["true_positive_rate"]["samples"] == 12
    assert tracks["false_positive_rate"]["samples"] == 12


def test_media_that_the_weights_were_fitted_on_count_in_no_rate(
    bundle: Bundle, tmp_path: Path
) -> None:
    """A bundle would state what it finds of what it has learnt by heart."""
    whole = predictions(bundle)
    learnt = whole.assign(media="learnt/" + whole["media"], group="l" + whole["group"])
    path, out = tmp_path / "p.parquet", tmp_path / "out.json"
    save(pd.concat([whole, learnt.assign(fitted="file")], ignore_index=True), path, bundle)
    rates = write_reliability(bundle.directory, path, out)
    assert rates["left_out"] == learnt["media"].nunique()
    assert rates["level_face"]["overall"]["true_positive_rate"]["groups"] == 12
    unseen = whole.assign(logit=np.nan, log_likelihood_ratio=np.nan)  # without a judged face
    save(pd.concat([unseen, learnt.assign(fitted="picture")], ignore_index=True), path, bundle)
    with pytest.raises(
        RunError, match="All judged faces are of media that the bundle was fitted on"
    ):
        write_reliability(bundle.directory, path, tmp_path / "none.json")


def test_what_is_not_a_run_of_this_bundle_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    path, out = tmp_path / "predictions.parquet", tmp_path / "out.json"

    def refused(text: str) -> None:
        with pytest.raises(RunError, match=text):
            write_reliability(bundle.directory, path, out)
        assert not out.exists()

    refused("is not readable")
    path.write_bytes(b"PAR1 torn")
    refused("is not readable")
    whole = predictions(bundle)
    whole.to_parquet(path)
    refused("metrics.json beside it is not readable")
    save(whole.drop(columns="sharpness"), path, bundle)
    refused("was not written by deepfake-eval run")
    save(whole.assign(degradation="none"), path, bundle)
    refused("was not written by deepfake-eval run")
    whole.assign(logit=np.nan, log_likelihood_ratio=np.nan).to_parquet(path)
    refused("No face was judged")
    whole.to_parquet(path)
    (tmp_path / "metrics.json").write_text(json.dumps({"bundle": {"sha256": "0" * 64}}))
    refused("scored with another bundle")


def test_command_line(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    save(predictions(bundle), path, bundle)
    line = ["reliability", "--bundle", str(bundle.directory), "--predictions", str(path)]
    rates = tmp_path / "new" / "rates.json"
    result = CliRunner().invoke(cli.app, [*line, "--out", str(rates)])
    assert result.exit_code == 0, result.output
    assert "2 of 6 conditions have enough groups" in result.output
    assert rates.is_file()


def test_whole_videos_are_counted_by_their_verdicts() -> None:
    rows = [
        ("real", "a", "video", "no_manipulation_found", -1.0),
        ("real", "b", "video", "likely_manipulated", 1.0),
        ("real", "c", "video", "not_applicable", None),  # not scored: no chance to be wrong
        ("real", "d", "image", "likely_manipulated", 1.0),
        ("fake", "e", "video", "likely_manipulated", 2.0),
        ("fake", "f", "video", "inconclusive", 2.0),
        ("fake", "g", "video", "unable_to_evaluate", None),  # missed
    ]
    items = pd.DataFrame(rows, columns=["label", "group", "kind", "verdict", "rank"])
    overall = media_tables(items, 10)["level_item"]["overall"]
    assert (overall["false_positive_rate"]["value"], overall["true_positive_rate"]["value"]) == (
        0.5, pytest.approx(1 / 3, abs=1e-3),
    )  # fmt: skip
    assert overall["true_positive_rate"]["samples"] == 3
    assert overall["true_positive_rate"]["indicative"]
