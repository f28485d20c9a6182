"""Test ``deepfake-eval run`` with the real decoder and a tiny classifier: its files and figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepfake_eval.evaluate.run import run
from deepfake_eval.inference.frame_folders import open_medium
from deepfake_eval.inference.predictions import (
    examine,
    face_records,
    face_table,
    frame_records,
    item_record,
)
from deepfake_eval.options import RunOptions
from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import Verdict
from deepfake_models.decision.decide import uncapped_item_ratio
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.scorer import Scorer
from tests.support import evaluation, footage


def test_what_a_run_writes(done: tuple[Path, dict[str, Any]]) -> None:
    out, metrics = done
    names = {p.name for p in out.iterdir()}
    assert names == {
        "predictions.parquet", "metrics.json", "missing.txt", "records.jsonl", "report.html",
        "plots", "tables", "scores.csv",
    }  # fmt: skip
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert (out / "missing.txt").read_text() == "absent.mp4\n"
    assert metrics["settings"]["datasets"][0]["missing"] == 1
    assert {p.name for p in (out / "plots").iterdir()} == {
        f"{name}.{suffix}" for name in ("roc", "scores", "reliability") for suffix in ("svg", "pdf")
    }


def test_predictions_have_a_row_a_face_frame_and_item(done: tuple[Path, dict[str, Any]]) -> None:
    table = pd.read_parquet(done[0] / "predictions.parquet")
    assert dict(table["level"].value_counts()) == {"face": 20, "frame": 20, "item": 15}
    items = table[table["level"] == "item"].set_index("media")
    assert len(items) == 15
    assert items.loc["real/frames", "kind"] == "video"
    assert items.loc["real/frames", "sampled"] == 3
    times = table[(table["level"] == "frame") & (table["media"] == "real/frames")]["time_s"]
    assert times.tolist() == pytest.approx([0.0, 23 / 25, 94 / 25])
    assert set(items["dataset"]) == {"made"}
    assert set(items["group"]) == {f"g{k}" for k in range(9)}


def test_what_was_not_judged_has_no_score(done: tuple[Path, dict[str, Any]]) -> None:
    table = pd.read_parquet(done[0] / "predictions.parquet")
    items = table[table["level"] == "item"].set_index("media")
    for name, reason in (
        ("fake/faceless.png", "no_face"),
        ("fake/corrupt.mp4", "undecodable"),
        ("real/corrupt.mp4", "undecodable"),
    ):
        assert items.loc[name, ["score", "rank", "log_likelihood_ratio"]].isna().all()
        assert items.loc[name, "reason"] == reason
    assert not (table["score"] == 0.5).any()


def test_figures_and_coverage_of_the_run(done: tuple[Path, dict[str, Any]]) -> None:
    metrics = done[1]
    overall = metrics["levels"]["item"][0]
    assert overall["auc"]["value"] == 1.0
    assert overall["fake"] == {"scored": 6, "not_scored": 2, "groups": 6}
    assert overall["real"] == {"scored": 6, "not_scored": 1, "groups": 6}
    assert overall["indicative"] is True
    # One of six reals is more than 5%.
    assert overall["tpr_at_5_fpr"]["value"] is overall["tpr_at_5_fpr"]["low"] is None
    assert overall["worst_case_auc"] < 1.0
    scopes = [(e["scope"], e["name"]) for e in metrics["levels"]["item"]]
    assert scopes == [
        ("all", "all"), ("kind", "pictures"), ("kind", "videos"),
        ("method", "<script>alert(1)</script>"), ("method", "tint"),
    ]  # fmt: skip
    assert metrics["levels"]["frame"][0]["scope"] == "all"
    coverage = {(e["label"], e["name"]): e for e in metrics["coverage"]}
    fakes = coverage["fake", "fake"]
    assert (fakes["media"], fakes["not_judged"], fakes["failed"]) == (8, 1, 1)
    assert fakes["scored"] == fakes["flagged"] + fakes["cleared"] + fakes["inconclusive"] == 6
    assert fakes["reasons"]["no_face"] == fakes["reasons"]["undecodable"] == 1
    rates = {(e["label"], e["name"]): e for e in metrics["operating_point"]}
    found = rates["fake", "fake"]["true_positive_rate"]
    # Abstentions count as missed: of eight fakes, only the flagged ones are found.
    assert found["value"] == pytest.approx(fakes["flagged"] / 8, abs=1e-4)
    assert found["samples"] == 8
    assert rates["real", "real"]["false_positive_rate"]["samples"] == 6
    assert {e["value"] for e in metrics["false_positives"]} == {"F", "M"}


def test_an_inconclusive_fake_is_a_miss_and_counted_apart(
    bundle: Path, media: Path, tmp_path: Path
) -> None:
    fields = judged(never_flag=True)
    evaluation.tiny_bundle(tmp_path / "b", **fields)
    metrics = run(tmp_path / "b", [f"csv:{media}"], tmp_path / "out", RunOptions(draws=5))
    fakes = next(e for e in metrics["coverage"] if e["label"] == "fake")
    assert (fakes["inconclusive"], fakes["not_judged"], fakes["failed"]) == (6, 1, 1)
    rates = [e for e in metrics["operating_point"] if e["label"] == "fake"]
    assert rates[0]["true_positive_rate"]["value"] == 0.0
    assert metrics["levels"]["item"][0]["auc"]["value"] == 1.0


def judged(*, never_flag: bool) -> dict[str, Any]:
    """Return fields of a bundle that never decides."""
    limits = {
        "likely_manipulated": 9.0 if never_flag else 1.0,
        "no_manipulation_found": -9.0,
        "false_positive_rate": 0.0,
        "false_positive_rate_upper": 1.0,
        "true_positive_rate": 0.0,
        "miss_rate": 0.0,
    }
    return {"thresholds": dict.fromkeys(("face", "track", "item"), limits)}


def test_ranks_go_past_the_limit_that_scores_stop_at(
    bundle: Path, media: Path, tmp_path: Path
) -> None:
    scorer = Scorer.open(bundle, device="cpu")
    labels = [
        {"media": f"{label}/{name}", "label": label, "method": "", "dataset": "", "group": ""}
        for label in ("real", "fake")
        for name in ("0.png", "1.png", "clip.mp4", "frames")
    ]

    def verdicts(scorer: Scorer) -> list[tuple[dict[str, Any], Verdict]]:
        decoder = InProcessDecoder()
        return [(r, examine(scorer, media / r["media"], decoder, frames=32)) for r in labels]

    def items_of(judged: list[tuple[dict[str, Any], Verdict]], spec: BundleSpec) -> pd.DataFrame:
        return pd.DataFrame([item_record(verdict, spec) for _, verdict in judged])

    judged = verdicts(scorer)
    faces, items = face_table(judged, scorer.bundle.spec), items_of(judged, scorer.bundle.spec)
    limit = scorer.bundle.spec.calibration.item.limit
    inside = items["rank"].abs() < limit
    assert inside.any()
    assert np.allclose(items["rank"][inside], items["log_likelihood_ratio"][inside])
    assert (items["log_likelihood_ratio"].abs() <= limit).all()
    strong = tuned(tmp_path, limit=0.01)
    other = Scorer.open(strong, device="cpu")
    clipped = items_of(verdicts(other), other.bundle.spec)
    assert (clipped["log_likelihood_ratio"].abs() <= 0.01).all()
    assert np.allclose(clipped["rank"], items["rank"])
    assert faces["logit"].notna().all()
    assert set(faces["kind"]) == {"image", "video"}
    assert {"media", "label", "method", "dataset", "group"} <= set(faces.columns)


def test_items_and_frames_of_several_faces_are_valued_by_the_bundle_s_rule(
    bundle: Path, tmp_path: Path
) -> None:
    two = np.hstack([evaluation.portrait("real", 0), evaluation.portrait("fake", 1)])
    (tmp_path / "two.png").write_bytes(footage.picture(two, "PNG"))
    (tmp_path / "two.mp4").write_bytes(footage.encode([two] * 4))
    scorer = Scorer.open(bundle, device="cpu")
    for name in ("two.png", "two.mp4"):
        verdict = examine(scorer, tmp_path / name, InProcessDecoder(), frames=32)
        assert len(verdict.tracks) == 2
        assert uncapped_item_ratio(verdict, scorer.criteria) == pytest.approx(
            verdict.log_likelihood_ratio
        )
    verdict = examine(scorer, tmp_path / "two.png", InProcessDecoder(), frames=32)
    frame = frame_records(face_records(verdict, scorer.bundle.spec), scorer.bundle.spec.prior)[0]
    assert frame["log_likelihood_ratio"] == pytest.approx(verdict.log_likelihood_ratio)
    assert frame["score"] == pytest.approx(verdict.score)
    assert (frame["tracks"], frame["judged"]) == (2, 2)


def tuned(directory: Path, *, limit: float) -> Path:
    """Write the same bundle with another limit on its evidence to ``directory``."""
    calibration = {"slope": 1.0, "intercept": 0.0, "limit": limit, "samples": 9, "groups": 9}
    evaluation.tiny_bundle(
        directory, calibration=dict.fromkeys(("face", "track", "item"), calibration)
    )
    return directory


@pytest.mark.usefixtures("drawn")
def test_a_set_of_one_class_gives_a_report_without_auc(
    bundle: Path, media: Path, tmp_path: Path
) -> None:
    (tmp_path / "d" / "real").mkdir(parents=True)
    (tmp_path / "d" / "fake").mkdir()
    shutil.copy(media / "real" / "0.png", tmp_path / "d" / "real")
    metrics = run(bundle, [f"folders:{tmp_path / 'd'}"], tmp_path / "out")
    assert metrics["levels"]["item"][0]["auc"]["value"] is None
    assert "only one class was scored" in (tmp_path / "out" / "report.html").read_text()
    assert {p.name for p in (tmp_path / "out" / "plots").iterdir()} == {"scores.svg", "scores.pdf"}


def test_media_without_any_face_give_a_report(bundle: Path, media: Path, tmp_path: Path) -> None:
    for label in ("real", "fake"):
        (tmp_path / "d" / label).mkdir(parents=True)
        shutil.copy(media / "fake" / "faceless.png", tmp_path / "d" / label)
    metrics = run(bundle, [f"folders:{tmp_path / 'd'}"], tmp_path / "out")
    assert "no medium was scored" in (tmp_path / "out" / "report.html").read_text()
    assert metrics["levels"]["frame"] == []
    assert [e["not_judged"] for e in metrics["coverage"] if e["scope"] == "all"] == [1, 1]
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_folder_of_frames_is_one_clip(media: Path, tmp_path: Path) -> None:
    decoder = InProcessDecoder()
    with open_medium(media / "real" / "frames", decoder) as clip:
        assert clip.facts.kind == "video"
        assert clip.facts.frames == 3
        # In order of number, not of name: 7, 30, 101.
        assert clip.times.tolist() == pytest.approx([0.0, 23 / 25, 94 / 25])
        assert [f.index for f in clip.frames([0, 2])] == [0, 2]
    broken = tmp_path / "frames"
    shutil.copytree(media / "real" / "frames", broken)
    (broken / "30.jpg").write_bytes(b"\xff\xd8\xff torn")
    with open_medium(broken, decoder) as clip:
        kinds = [type(f).__name__ for f in clip.frames([0, 1, 2])]
    assert kinds == ["Frame", "FailedFrame", "Frame"]


def test_videos_lost_because_few_frames_were_examined_are_said(
    bundle: Path, tmp_path: Path
) -> None:
    for label in ("real", "fake"):
        (tmp_path / "m" / label).mkdir(parents=True)
        (tmp_path / "m" / label / "clip.mp4").write_bytes(evaluation.clip(label, 1, frames=8))
        picture = footage.picture(evaluation.portrait(label, 1), "PNG")
        (tmp_path / "m" / label / "a.png").write_bytes(picture)
    for frames, notes in ((2, 1), (8, 0)):
        options = RunOptions(draws=5, frames=frames)
        metrics = run(bundle, [f"folders:{tmp_path / 'm'}"], tmp_path / str(frames), options)
        assert len(metrics["settings"]["notes"]) == notes
        assert metrics["levels"]["video"][0]["real"] == {"scored": 1, "not_scored": 0, "groups": 1}
    report = (tmp_path / "2" / "report.html").read_text()
    assert "Videos not judged: 2. A person must be seen in at least 3 frames, and 2 of" in report
