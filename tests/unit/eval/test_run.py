"""Test ``deepfake-eval run`` and ``compare`` with the real decoder and a tiny classifier."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from deepfake_eval import cli, cluster
from deepfake_eval.analysis.compare import compare
from deepfake_eval.cluster import ClusterError
from deepfake_eval.datasets import Row, Rows
from deepfake_eval.errors import DatasetError, RunError
from deepfake_eval.evaluate import (
    LoadedDataset,
    RunOptions,
    file_stamps,
    labelled_rows,
    load_dataset,
    measure,
    run,
)
from deepfake_eval.inference.frame_folders import open_medium
from deepfake_eval.inference.predictions import (
    examine,
    face_records,
    face_table,
    frame_records,
    item_record,
    verdicts,
)
from deepfake_eval.inference.runner import (
    RECORDS,
    Job,
    ScoringOptions,
    _Setting,
    borrowed,
    read_records,
)
from deepfake_eval.reporting.results import PREDICTIONS
from deepfake_models.bundle import BundleSpec, load_bundle
from deepfake_models.decision.ranking import uncapped_item_ratio
from deepfake_models.decode.decoder import InProcessDecoder
from deepfake_models.errors import BundleError
from deepfake_models.results import Verdict
from deepfake_models.scorer import Scorer
from tests.support import daskkit, evalkit, mediakit

DRAWS = 40


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create pictures, clips and frame folders of both classes, and some unusable media."""
    root = tmp_path_factory.mktemp("media")
    rows = []

    def add(name: str, label: str, method: str, group: str, content: bytes | None) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content)
        rows.append([name, label, method, group, {"g0": "F", "g1": "M"}.get(group, "")])

    for number in range(4):
        for label, method in (("real", "original"), ("fake", "tint")):
            picture = mediakit.picture(evalkit.portrait(label, number), "PNG")
            add(f"{label}/{number}.png", label, method, f"g{number}", picture)
    for label, method in (("real", "original"), ("fake", "tint")):
        add(f"{label}/clip.mp4", label, method, "g4", evalkit.clip(label, 1))
        folder = root / label / "frames"
        folder.mkdir()
        for portrait, k in ((1, 7), (3, 30), (5, 101)):
            frame = mediakit.picture(evalkit.portrait(label, portrait), "JPEG", quality=95)
            (folder / f"{k}.jpg").write_bytes(frame)
        add(f"{label}/frames", label, method, "g5", None)
    blank = mediakit.picture(np.full((64, 64, 3), 90, np.uint8), "PNG")
    add("fake/faceless.png", "fake", "<script>alert(1)</script>", "g6", blank)
    add("fake/corrupt.mp4", "fake", "tint", "g7", mediakit.encode(mediakit.panning(3))[:300])
    add("real/corrupt.mp4", "real", "original", "g8", b"\0" * 100)
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["media", "label", "method", "group", "attribute_sex"])
        writer.writerows(rows)
        writer.writerow(["absent.mp4", "real", "original", "g9", ""])
    return root


@pytest.fixture(scope="module")
def done(
    bundle: Path, media: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("out")
    steps: list[tuple[str, int, int]] = []
    metrics = run(
        bundle,
        [f"csv,title=made:{media}"],
        out,
        RunOptions(draws=DRAWS),
        progress=lambda what, done, total: steps.append((what, done, total)),
    )
    assert [s for s in steps if s[0] == "scoring"] == [("scoring", k, 15) for k in range(16)]
    return out, metrics


def test_what_a_run_writes(done: tuple[Path, dict[str, Any]]) -> None:
    out, metrics = done
    names = {p.name for p in out.iterdir()}
    assert names == {
        "predictions.parquet", "metrics.json", "missing.txt", "records.jsonl", "report.html",
        "plots", "tables",
    }  # fmt: skip
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert (out / "missing.txt").read_text() == "absent.mp4\n"
    assert metrics["settings"]["datasets"][0]["missing"] == 1
    assert {p.name for p in (out / "plots").iterdir()} == {
        f"{name}.{suffix}"
        for name in ("roc", "scores", "reliability", "methods")
        for suffix in ("svg", "pdf")
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
    assert overall["tpr_at_1_fpr"]["value"] == pytest.approx(6 / 8)
    assert overall["worst_case_auc"] < 1.0
    scopes = [(e["scope"], e["name"]) for e in metrics["levels"]["item"]]
    assert scopes == [
        ("all", "all"), ("kind", "image"), ("kind", "video"),
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
    evalkit.tiny_bundle(tmp_path / "b", **fields)
    _, metrics = measure(tmp_path / "b", [f"csv:{media}"], tmp_path / "out", RunOptions(draws=5))
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
    rows = [(media / row["media"], row) for row in labels]

    def items_of(judged: list[tuple[dict[str, Any], Verdict]], spec: BundleSpec) -> pd.DataFrame:
        return pd.DataFrame([item_record(verdict, spec) for _, verdict in judged])

    judged = verdicts(scorer, rows)
    faces, items = face_table(judged, scorer.bundle.spec), items_of(judged, scorer.bundle.spec)
    limit = scorer.bundle.spec.calibration.item.limit
    inside = items["rank"].abs() < limit
    assert inside.any()
    assert np.allclose(items["rank"][inside], items["log_likelihood_ratio"][inside])
    assert (items["log_likelihood_ratio"].abs() <= limit).all()
    strong = tuned(tmp_path, limit=0.01)
    other = Scorer.open(strong, device="cpu")
    clipped = items_of(verdicts(other, rows), other.bundle.spec)
    assert (clipped["log_likelihood_ratio"].abs() <= 0.01).all()
    assert np.allclose(clipped["rank"], items["rank"])
    assert faces["logit"].notna().all()
    assert set(faces["kind"]) == {"image", "video"}
    assert {"media", "label", "method", "dataset", "group"} <= set(faces.columns)


def test_items_and_frames_of_several_faces_are_valued_by_the_bundle_s_rule(
    bundle: Path, tmp_path: Path
) -> None:
    two = np.hstack([evalkit.portrait("real", 0), evalkit.portrait("fake", 1)])
    (tmp_path / "two.png").write_bytes(mediakit.picture(two, "PNG"))
    (tmp_path / "two.mp4").write_bytes(mediakit.encode([two] * 4))
    scorer = Scorer.open(bundle, device="cpu")
    for name in ("two.png", "two.mp4"):
        verdict = examine(scorer, tmp_path / name, InProcessDecoder(), frames=32)
        assert len(verdict.tracks) == 2
        assert uncapped_item_ratio(verdict, scorer.bundle.spec) == pytest.approx(
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
    evalkit.tiny_bundle(
        directory, calibration=dict.fromkeys(("face", "track", "item"), calibration)
    )
    return directory


def test_a_run_goes_on_where_it_stopped(
    bundle: Path, media: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    lines = (done[0] / RECORDS).read_bytes().splitlines(keepends=True)
    # The run was killed while it wrote the sixth record.
    (out / RECORDS).write_bytes(b"".join(lines[:5]) + lines[5][:40])
    scored: list[int] = []
    predictions, metrics = measure(
        bundle,
        [f"csv,title=made:{media}"],
        out,
        RunOptions(draws=DRAWS),
        progress=lambda what, done, _: scored.append(done) if what == "scoring" else None,
    )
    assert scored == list(range(5, 16))
    assert (out / RECORDS).read_bytes().splitlines(keepends=True)[:5] == lines[:5]
    assert len(read_records(out / RECORDS)) == 15
    first, second = dict(done[1]), dict(metrics)
    assert first.pop("created")
    assert second.pop("created")
    assert first == second
    pd.testing.assert_frame_equal(pd.read_parquet(done[0] / PREDICTIONS), stored(predictions, out))


def stored(predictions: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return ``predictions`` as they are read from the file that ``run`` writes."""
    predictions.to_parquet(folder / PREDICTIONS)
    return pd.read_parquet(folder / PREDICTIONS)


@pytest.mark.slow
def test_another_bundle_or_number_of_frames_scores_anew(
    bundle: Path, media: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    small = tmp_path / "small"
    for label in ("real", "fake"):
        (small / label).mkdir(parents=True)
        shutil.copy(media / label / "0.png", small / label)
    out = tmp_path / "out"

    def scored(directory: Path, frames: int | None) -> int:
        steps: list[int] = []
        measure(
            directory,
            [f"folders:{small}"],
            out,
            RunOptions(frames=frames, draws=5),
            progress=lambda what, done, _: steps.append(done) if what == "scoring" else None,
        )
        return len(steps) - 1

    assert [scored(bundle, 32), scored(bundle, 32), scored(bundle, None)] == [2, 0, 2]
    evalkit.tiny_bundle(tmp_path / "other", version="2")
    assert scored(tmp_path / "other", 32) == 2


def test_media_that_could_not_be_read_are_tried_again(bundle: Path, tmp_path: Path) -> None:
    for label in ("real", "fake"):
        (tmp_path / "d" / label).mkdir(parents=True)
        picture = mediakit.picture(evalkit.portrait(label, 0), "PNG")
        (tmp_path / "d" / label / "a.png").write_bytes(picture)
    out = tmp_path / "out"
    measure(bundle, [f"folders:{tmp_path / 'd'}"], out, RunOptions(draws=5))
    records = [json.loads(line) for line in (out / RECORDS).read_text().splitlines()]
    records[0]["item"]["reason"] = "unreadable"
    records[0]["item"]["rank"] = None
    (out / RECORDS).write_text("".join(json.dumps(r) + "\n" for r in records))
    _, metrics = measure(bundle, [f"folders:{tmp_path / 'd'}"], out, RunOptions(draws=5))
    assert [e["scored"] for e in metrics["coverage"] if e["scope"] == "all"] == [1, 1]


def test_values_of_other_versions_are_warned_of(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for label in ("real", "fake"):
        (tmp_path / "d" / label).mkdir(parents=True)
        picture = mediakit.picture(evalkit.portrait(label, 0), "PNG")
        (tmp_path / "d" / label / "a.png").write_bytes(picture)
    out = tmp_path / "out"
    for _ in range(2):
        measure(bundle, [f"folders:{tmp_path / 'd'}"], out, RunOptions(draws=5))
    assert not caplog.records
    first, second = (json.loads(line) for line in (out / RECORDS).read_text().splitlines())
    first["versions"]["numpy"] = "1.0"
    for former, differ in (
        (first, f"numpy 1.0 instead of {second['versions']['numpy']}"),
        ({k: v for k, v in first.items() if k != "versions"}, "versions that are not recorded"),
    ):
        (out / RECORDS).write_text("".join(json.dumps(r) + "\n" for r in (former, second)))
        caplog.clear()
        measure(bundle, [f"folders:{tmp_path / 'd'}"], out, RunOptions(draws=5))
        (warning,) = caplog.messages
        assert warning.startswith(f"1 of the media were scored by an earlier run with {differ};")


@pytest.mark.slow
def test_worker_processes_give_the_same_results(
    bundle: Path, media: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    options = RunOptions(draws=5, workers=2)
    two, _ = measure(bundle, [f"csv,title=made:{media}"], tmp_path, options)
    one = pd.read_parquet(done[0] / PREDICTIONS)
    pd.testing.assert_frame_equal(one, stored(two, tmp_path), rtol=1e-4)


@pytest.mark.slow
def test_workers_of_a_cluster_give_the_same_results(
    bundle: Path,
    media: Path,
    done: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with daskkit.cluster(workers=2) as scheduler:
        options = RunOptions(draws=DRAWS, scheduler=scheduler)
        several, metrics = measure(bundle, [f"csv,title=made:{media}"], tmp_path / "out", options)
        mixed = cluster.versions() | {"numpy": "1.0"}
        monkeypatch.setattr(cluster, "versions", lambda: mixed)
        with pytest.raises(ClusterError, match=r"numpy .* and this machine 1\.0"):
            measure(bundle, [f"csv,title=made:{media}"], tmp_path / "again", options)
    one = pd.read_parquet(done[0] / PREDICTIONS)
    pd.testing.assert_frame_equal(one, stored(several, tmp_path / "out"), rtol=1e-4)
    assert metrics["levels"] == done[1]["levels"]


@pytest.mark.slow
def test_an_error_about_a_file_of_a_task_is_not_one_of_the_connection() -> None:
    with daskkit.cluster(workers=1) as scheduler, cluster.connected(scheduler) as workers:
        assert list(workers.map(len, ["two"])) == [3]
        with pytest.raises(FileNotFoundError, match="/nowhere"):
            list(workers.map(os.listdir, ["/nowhere"]))


def test_a_worker_of_another_bundle_does_not_close_one_in_use(
    bundle: Path, media: Path, tmp_path: Path
) -> None:
    """Tasks of two runs may be in hand in the threads of one process of a cluster."""
    evalkit.tiny_bundle(tmp_path / "other", gain=0.0)
    options = ScoringOptions(frames=2)
    one, other = (
        _Setting(folder, load_bundle(folder).sha256, options, tuple(cluster.versions().items()))
        for folder in (bundle, tmp_path / "other")
    )
    job = Job("key", media / "real" / "clip.mp4")
    with borrowed(one) as first:
        before = first(job)
        with borrowed(other) as second:
            assert second is not first
            assert first(job) == before
        with borrowed(one) as again:
            assert again is first
    with borrowed(other) as kept:
        assert kept is second
    assert first(job)["item"]["reason"] == "decoder_failed", "the former one is closed"
    second.close()


def test_a_cluster_that_cannot_be_reached_is_named(
    bundle: Path, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    options = RunOptions(draws=5, scheduler=f"tcp://127.0.0.1:{port}")
    with pytest.raises(ClusterError, match=f"No Dask scheduler responds at .*{port}"):
        run(bundle, [f"csv,title=made:{media}"], tmp_path, options)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / RECORDS).write_text('{"key":"a","item":{},"faces":[]}\n{"key":"b"}\n')
    with pytest.raises(RunError, match=r"records\.jsonl, line 2 is not a record"):
        read_records(tmp_path / RECORDS)
    assert read_records(tmp_path / "none.jsonl") == {}


def test_nothing_to_score_says_how_much_is_absent(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("media,label\na.mp4,real\nb.mp4,fake\n")
    with pytest.raises(
        RunError, match=r"nothing to score in this split\. 2 listed media are absent, for"
    ):
        run(bundle, [f"csv:{tmp_path}"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_to_score_says_that_splits_have_other_names(bundle: Path, tmp_path: Path) -> None:
    evalkit.touch(tmp_path, ["a.png", "b.png"])
    (tmp_path / "manifest.csv").write_text("media,label,split\na.png,real,dev\nb.png,fake,dev\n")
    with pytest.raises(RunError, match=r"2 media are of no split named .* --split all scores them"):
        run(bundle, [f"csv:{tmp_path}"], tmp_path / "out")


def test_two_sets_that_share_a_name_are_refused(bundle: Path, tmp_path: Path) -> None:
    for parent in "ab":
        evalkit.touch(tmp_path / parent / "set", ["real/1.mp4", "fake/2.mp4"])
    specs = [f"folders:{tmp_path / p / 'set'}" for p in "ab"]
    with pytest.raises(RunError, match="Two data sets named set have a medium of the same name"):
        run(bundle, specs, tmp_path / "out")


def test_a_medium_that_a_table_lists_twice_is_named(tmp_path: Path) -> None:
    evalkit.touch(tmp_path, ["a.png", "b.png"])
    (tmp_path / "manifest.csv").write_text("media,label\na.png,real\nb.png,fake\na.png,real\n")
    loaded = load_dataset(f"csv,title=made:{tmp_path}", "test")
    with pytest.raises(RunError, match=r"made lists a\.png twice\. List each medium once\."):
        labelled_rows([loaded])


def test_a_set_of_one_class_gives_a_report_without_auc(
    bundle: Path, media: Path, tmp_path: Path
) -> None:
    (tmp_path / "d" / "real").mkdir(parents=True)
    (tmp_path / "d" / "fake").mkdir()
    shutil.copy(media / "real" / "0.png", tmp_path / "d" / "real")
    metrics = run(bundle, [f"folders:{tmp_path / 'd'}"], tmp_path / "out")
    assert metrics["levels"]["item"][0]["auc"]["value"] is None
    assert "Only one class was scored" in (tmp_path / "out" / "report.html").read_text()
    assert {p.name for p in (tmp_path / "out" / "plots").iterdir()} == {"scores.svg", "scores.pdf"}


def test_media_without_any_face_give_a_report(bundle: Path, media: Path, tmp_path: Path) -> None:
    for label in ("real", "fake"):
        (tmp_path / "d" / label).mkdir(parents=True)
        shutil.copy(media / "fake" / "faceless.png", tmp_path / "d" / label)
    metrics = run(bundle, [f"folders:{tmp_path / 'd'}"], tmp_path / "out")
    assert "No medium was scored, so" in (tmp_path / "out" / "report.html").read_text()
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


def test_compare_finds_the_better_run(
    bundle: Path, media: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    evalkit.tiny_bundle(tmp_path / "inverted", gain=-0.15)
    run(tmp_path / "inverted", [f"csv,title=made:{media}"], tmp_path / "b", RunOptions(draws=5))
    # A method that is always wrong has a bar too, of zero length.
    assert "methods.svg" in {p.name for p in (tmp_path / "b" / "plots").iterdir()}
    result = compare(done[0], tmp_path / "b", draws=DRAWS)
    assert result["item"]["auc_a"] == 1.0
    assert result["item"]["auc_b"] == 0.0
    assert result["item"]["scored_in_both"] == 12
    assert result["item"]["difference"]["value"] == 1.0
    assert result["item"]["difference"]["low"] == 1.0
    assert result["item"]["difference"]["indicative"] is True
    assert result["item"]["delong"]["p_value"] < 0.05
    json.dumps(result, allow_nan=False)  # an infinite z is no JSON
    assert result["frame"]["difference"]["groups"] == 6
    same = compare(done[0], done[0], draws=DRAWS)
    assert same["item"]["difference"]["value"] == 0.0
    assert same["item"]["delong"]["p_value"] == 1.0


def test_compare_takes_the_stricter_of_both_bundles_groups(
    done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    def indicative(min_groups: int | None) -> bool:
        other = tmp_path / str(min_groups)
        shutil.copytree(done[0], other)
        metrics = json.loads((other / "metrics.json").read_text())
        metrics["bundle"]["min_groups"] = min_groups
        (other / "metrics.json").write_text(json.dumps(metrics))
        result: bool = compare(other, other, draws=5)["item"]["difference"]["indicative"]
        return result

    # Each class has six groups. A run of an earlier version recorded no number: ten holds.
    assert [indicative(5), indicative(7), indicative(None)] == [False, True, True]


def test_compare_names_the_run_whose_weights_know_the_media(
    done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    known = tmp_path / "known"
    shutil.copytree(done[0], known)
    metrics = json.loads((known / "metrics.json").read_text())
    metrics["settings"]["datasets"][0]["in_sample"] = True
    (known / "metrics.json").write_text(json.dumps(metrics))
    assert compare(done[0], done[0], draws=5)["in_sample"] == []
    result = CliRunner().invoke(cli.app, ["compare", str(known), str(done[0]), "--draws", "5"])
    text = " ".join(result.output.split())
    assert "The weights of known were fitted on a data set that is measured here." in text


def test_compare_refuses_what_it_cannot_compare(
    done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="has no readable predictions"):
        compare(done[0], tmp_path)
    table = pd.read_parquet(done[0] / "predictions.parquet")
    for name, change, named in (
        ("label", table["label"].map({"real": "fake", "fake": "real"}), "label a medium diff"),
        ("rank", np.nan, "lack a class"),
    ):
        table.assign(**{name: change}).to_parquet(tmp_path / "predictions.parquet")
        with pytest.raises(RunError, match=named):
            compare(done[0], tmp_path)
    for other in (table[["media"]], table.assign(degradation="blur")):
        other.to_parquet(tmp_path / "predictions.parquet")
        with pytest.raises(RunError, match="was not written by deepfake-eval run"):
            compare(done[0], tmp_path)


def test_a_path_that_cannot_be_is_told_in_a_line(
    bundle: Path, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    taken = tmp_path / "taken"
    taken.write_text("a file")
    for dataset in (f"csv,title=made:{media}", f"celebdf:{taken}", f"df40:{taken}"):
        arguments = ["deepfake-eval", "run", "--bundle", str(bundle), "--dataset", dataset,
                     "--out", str(taken)]  # fmt: skip
        monkeypatch.setattr("sys.argv", arguments)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1
        assert "error: " in capsys.readouterr().err


def test_command_line(
    bundle: Path, media: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    arguments = ["run", "--bundle", str(bundle), "--dataset", f"csv,title=made:{media}"]
    result = CliRunner().invoke(cli.app, [*arguments, "--out", str(out), "--draws", "20"])
    assert result.exit_code == 0, result.output
    assert "item AUC 1.000" in result.output
    assert "6 groups; indicative, too few groups in a class" in result.output
    assert "1 listed media are absent" in result.output
    compared = ["compare", str(out), str(out), "--draws", "20"]
    result = CliRunner().invoke(cli.app, compared)
    assert "item: No difference is shown" in result.stdout
    result = CliRunner().invoke(cli.app, [*compared, "--json"])
    assert json.loads(result.stdout)["item"]["difference"]["value"] == 0.0
    result = CliRunner().invoke(cli.app, ["datasets"])
    for name in ("ffpp", "celebdf", "kodf", "deepfakebench"):
        assert name in result.stdout
    assert "[FFIW10K-v1-release/]" in result.stdout
    result = CliRunner().invoke(cli.app, ["datasets", f"csv:{media}"])
    assert "found in" in result.stdout
    assert "1 listed but absent, such as absent.mp4" in result.stdout
    result = CliRunner().invoke(cli.app, ["datasets", "nothing"])
    assert isinstance(result.exception, DatasetError)
    assert "There is no data set 'nothing'. Known: ffpp," in result.exception.message


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--dataset", "ffpp:/nowhere"], "/nowhere does not exist"),
        (["--dataset", "[red]x"], "'[red]x' is not of the form"),
        (["--dataset", "ffpp:.", "--bundle", "/nowhere"], "bundle.json: missing"),
    ],
)
def test_a_domain_error_becomes_one_line_and_exit_code_1(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    named: str,
) -> None:
    line = ["deepfake-eval", "run", "--out", str(tmp_path / "o"), "--bundle", str(bundle)]
    monkeypatch.setattr("sys.argv", [*line, *arguments])
    monkeypatch.setattr(cli.console, "_width", 300)
    monkeypatch.setattr(cli.console, "_file", None)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert named in error


def test_errors_come_from_the_domain(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        run(tmp_path, ["folders:."], tmp_path / "o")
    with pytest.raises(DatasetError):
        run(bundle, ["folders:."], tmp_path / "o", RunOptions(split="dev"))


def test_records_are_of_the_bytes_that_were_scored(tmp_path: Path) -> None:
    medium = tmp_path / "a.png"
    assert file_stamps(medium) == []
    medium.write_bytes(b"one")
    first = file_stamps(medium)
    medium.write_bytes(b"other")
    assert file_stamps(medium) != first
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"x")
    before = file_stamps(folder)
    (folder / "2.png").write_bytes(b"x")
    assert len(file_stamps(folder)) == len(before) + 1


def test_a_number_of_one_data_set_is_nobodys_in_another() -> None:
    def source(dataset: str, group: str) -> LoadedDataset:
        row = Row(f"{dataset}/1.mp4", "real", "original", dataset, "test", group)
        return LoadedDataset("folders", {}, Rows(Path(), (row,)))

    mixed = labelled_rows([source("a", "1"), source("b", "1")])
    assert [row.group for row, _ in mixed] == ["a/1", "b/1"]
    alone = labelled_rows([source("a", "1")])
    assert [row.group for row, _ in alone] == ["1"]
    celebrities = labelled_rows([source("Celeb-DF-v1", "id1"), source("Celeb-DF-v2", "id1")])
    assert {row.group for row, _ in celebrities} == {"id1"}


def test_people_of_df40_are_those_of_the_data_sets_it_was_made_from(tmp_path: Path) -> None:
    """Its real class is theirs: one person must not be resampled as two."""
    for name in (
        "df40/simswap/ff/000_003/0.png",
        "df40/simswap/cdf/id0_id1_0000/0.png",
        "ffpp/original_sequences/youtube/c23/videos/000.mp4",
        "ffpp/original_sequences/youtube/c23/videos/003.mp4",
        "ffpp/manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
        "cdf/Celeb-real/id0_0000.mp4",
        "cdf/YouTube-real/00170.mp4",
        "cdf/Celeb-synthesis/id0_id1_0000.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for part in ("train", "val", "test"):
        pairs = '[["000", "003"]]' if part == "test" else "[]"
        (tmp_path / "ffpp" / f"{part}.json").write_text(pairs)
    (tmp_path / "cdf" / "List_of_testing_videos.txt").write_text(
        "1 Celeb-real/id0_0000.mp4\n1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"
    )
    arguments = ("df40", "ffpp", "celebdf,group=target")
    folders = (tmp_path / name for name in ("df40", "ffpp", "cdf"))
    loaded = [load_dataset(f"{a}:{f}", "test") for a, f in zip(arguments, folders, strict=True)]
    groups: dict[str, set[str]] = {}
    for row, _ in labelled_rows(loaded):
        groups.setdefault(row.dataset, set()).add(row.group)
    assert groups == {
        "DF40-ff": {"FaceForensics++/000_003"},
        "FaceForensics++": {"FaceForensics++/000_003"},
        "DF40-cdf": {"id0"},
        "Celeb-DF": {"id0", "youtube-00170"},
    }
