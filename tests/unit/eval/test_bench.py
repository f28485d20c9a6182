"""Test what a bench is made of: generated media, rounds and ratios, the naive loop, its tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deepfake_eval import bench as module
from deepfake_eval.bench import (
    RATE,
    SCRIPT,
    BaselineMissing,
    Case,
    bench,
    measure,
    same_network,
    score,
)
from deepfake_eval.cli import app as cli
from deepfake_eval.errors import EvalError
from deepfake_models.bundle.bundle import load_bundle
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import Frame
from deepfake_models.scorer import Scorer
from tests.support.small_bundles import small_bundle, small_bundle_dir


@pytest.mark.parametrize("seconds", [0.4, 6.0])
def test_a_generated_video_repeats_its_frames_at_a_constant_rate(
    seconds: float, tmp_path: Path
) -> None:
    path = tmp_path / "v.mp4"
    Case(144, seconds=seconds).write(path)
    with path.open("rb") as file, InProcessDecoder().open(file) as media:
        assert len(media.times) == seconds * RATE
        assert media.times[-1] == pytest.approx(seconds - 1 / RATE, abs=0.01)
        if seconds > 5:
            first, again = media.frames([10, 110])
            assert isinstance(first, Frame)
            assert isinstance(again, Frame)
            assert (first.pixels == again.pixels).all()


def test_a_generated_picture_shows_as_many_faces_as_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "p.jpg"
    Case(700, faces=6).write(path)
    with path.open("rb") as file:
        assert len(Scorer.open(small_bundle_dir()).score(file).faces) == 6


def test_a_file_without_a_face_measures_nothing(tmp_path: Path) -> None:
    path = tmp_path / "p.jpg"
    Case(18).write(path)
    with pytest.raises(EvalError, match="No face was found in a generated file"):
        score(Scorer.open(small_bundle_dir()), path, 1)


def test_contenders_take_turns_and_ratios_are_taken_round_by_round() -> None:
    # After a warm-up. One slow moment hits both: the ratio of the medians would be 0.67.
    times = {
        "this scorer": iter((9.0, 2.0, 20.0, 3.0)),
        "without the sandbox": iter((9.0, 1.0, 10.0, 2.0)),
    }
    order: list[str] = []

    def taken(name: str) -> float:
        order.append(name[:4])
        return next(times[name])

    row = measure(Case(720), {name: lambda name=name: taken(name) for name in times}, rounds=3)
    assert order[2:] == ["this", "with", "with", "this", "this", "with"]
    ratio = row["ratios"]["this scorer / without the sandbox"]
    assert ratio["values"] == [2.0, 2.0, 1.5]
    assert ratio["median"] == 2.0


def test_the_naive_loop_gets_the_network_of_the_shipped_bundle() -> None:
    spec = load_bundle(None).spec
    arguments = same_network(spec)
    assert arguments[:2] == ["--network", "vit_base_patch16_clip_quickgelu_224"]
    assert arguments[-3:] == ["--scales", "1.3", "0.8"]


def test_a_bundle_without_a_named_network_has_no_naive_loop() -> None:
    with pytest.raises(BaselineMissing, match="does not name its network"):
        same_network(small_bundle().spec.model_copy(update={"training": {}}))


@pytest.mark.torch
def test_the_naive_loop_reads_every_frame_and_scores_the_wanted_ones(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    Case(240, seconds=4.0).write(video)
    network = ["--network", "vit_tiny_patch16_224", "--blocks", "2", "--scales", "1.3", "0.8"]
    # Beside it two blocks of the first stage and one of the second, which has twice the channels.
    network += ["--beside", "swin_tiny_patch4_window7_224", "--beside-blocks", "3"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT, *network, "--frames", "3", video],
        capture_output=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["frames_read"] == 4 * RATE
    assert answer["faces"] == 3
    assert answer["seconds"] > 0


def test_a_quick_bench_measures_every_medium_and_writes_tables(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli.app,
        ["bench", "--quick", "--out", str(tmp_path), "--bundle", str(small_bundle_dir()),
         "--baseline-python", str(tmp_path / "absent")],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    results: dict[str, Any] = json.loads((tmp_path / "bench.json").read_text())
    video, *pictures = results["media"]
    assert min(video["seconds"][n]["median"] for n in ("this scorer", "without the sandbox")) > 0
    assert "No such file" in results["not_measured"]["naive loop, same network"]
    assert [row["name"] for row in pictures] == ["240p, 1 face", "360p, 4 faces"]
    assert results["machine"]["cores"] >= 1
    text = (tmp_path / "bench.md").read_text()
    assert "its figures mean nothing" in text
    assert "- Not measured: naive loop, same network. " in text
    assert "\n| 240p, 1 s, 2 frames, 1 face | " in text
    assert text in done.output


def test_what_was_measured_before_an_error_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = (Case(240), Case(18, seconds=1))  # too small for a face
    monkeypatch.setattr(module, "QUICK", cases)
    with pytest.raises(EvalError, match="No face was found"):
        bench(
            small_bundle_dir(),
            tmp_path / "out",
            lambda _: None,
            baseline_python=tmp_path / "absent",
            quick=True,
        )
    results = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert len(results["media"]) == 1
    assert (tmp_path / "out" / "bench.md").exists()
