"""Test what a bench is made of: generated media, rounds and ratios, the floor, the naive loop."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer

from deepfake_eval.bench import service
from deepfake_eval.bench.media import CODECS, RATE, Clip, jpeg
from deepfake_eval.bench.pictures import PictureBench
from deepfake_eval.bench.report import tables
from deepfake_eval.bench.run import DEFAULT, SECTIONS, BenchOptions, bench
from deepfake_eval.bench.scoring import (
    Samples,
    alternate,
    ratio,
)
from deepfake_eval.bench.service import Service, ServiceFailed
from deepfake_eval.bench.videos import (
    BaselineMissing,
    NaiveLoop,
    VideoBench,
    VideoCase,
    same_network,
)
from deepfake_eval.cli import app as cli
from deepfake_eval.errors import EvalError
from deepfake_models.bundle.bundle import load_bundle
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import Frame
from deepfake_models.scorer import Scorer
from tests.support.small_bundles import small_bundle, small_bundle_dir


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "v.mp4"
    Clip("H.264", 320, 240, 4.0).write(path)
    return path


def test_a_short_generated_video_has_no_frame_too_many(tmp_path: Path) -> None:
    Clip("H.264", 160, 128, 0.4).write(tmp_path / "v.mp4")
    with (tmp_path / "v.mp4").open("rb") as file, InProcessDecoder().open(file) as media:
        assert len(media.times) == 10


@pytest.mark.parametrize("codec", list(CODECS))
def test_a_generated_video_repeats_its_frames_at_a_constant_rate(
    codec: str, tmp_path: Path
) -> None:
    path = tmp_path / f"v.{CODECS[codec][1]}"
    Clip(codec, 160, 128, 6.0).write(path)
    with path.open("rb") as file, InProcessDecoder().open(file) as media:
        assert len(media.times) == 6 * RATE
        assert media.times[-1] == pytest.approx(6 - 1 / RATE, abs=0.01)
        first, again = media.frames([10, 110])
        assert isinstance(first, Frame)
        assert isinstance(again, Frame)
        assert (first.pixels == again.pixels).all()


def test_a_generated_picture_shows_as_many_faces_as_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "p.jpg"
    path.write_bytes(jpeg(900, 700, 6))
    with path.open("rb") as file:
        assert len(Scorer.open(small_bundle_dir()).score(file).faces) == 6


def test_contenders_take_turns_in_alternating_order() -> None:
    order: list[str] = []

    def contender(name: str) -> float:
        order.append(name)
        return float(len(order))

    taken = alternate({"a": lambda: contender("a"), "b": lambda: contender("b")}, rounds=3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert taken["a"].values == (1.0, 4.0, 5.0)


def test_ratios_are_taken_round_by_round() -> None:
    # One slow moment, which hit both: the ratio of the medians would be 1.5.
    compared = ratio(Samples((2.0, 20.0, 3.0)), Samples((1.0, 10.0, 2.0)))
    assert compared.values == (2.0, 2.0, 1.5)
    assert compared.to_json()["median"] == 2.0


def test_the_naive_loop_gets_the_network_of_the_shipped_bundle() -> None:
    spec = load_bundle(None).spec
    arguments = same_network(spec)
    assert arguments[:2] == ["--network", "vit_base_patch16_clip_quickgelu_224"]
    assert arguments[-3:] == ["--scales", "1.3", "0.8"]


def test_a_bundle_without_a_named_network_has_no_naive_loop() -> None:
    with pytest.raises(BaselineMissing, match="does not name its network"):
        same_network(small_bundle().spec.model_copy(update={"training": {}}))


def test_an_interpreter_without_the_packages_is_named_as_the_reason(tmp_path: Path) -> None:
    with pytest.raises(BaselineMissing, match="No such file"):
        NaiveLoop(tmp_path / "python", [])


@pytest.mark.torch
def test_the_naive_loop_reads_every_frame_and_scores_the_wanted_ones(video: Path) -> None:
    network = ["--network", "vit_tiny_patch16_224", "--blocks", "2", "--scales", "1.3", "0.8"]
    with NaiveLoop(Path(sys.executable), network) as loop:
        answer = loop.score(video, 3)
    assert answer["frames_read"] == 4 * RATE
    assert answer["faces"] == 3
    assert answer["seconds"] >= sum(answer["stages"].values())


def one(seconds: float) -> dict[str, object]:
    return Samples((0.5, seconds, 2.0)).to_json()


def test_what_was_measured_before_an_error_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise EvalError("no such codec")

    monkeypatch.setattr(VideoBench, "run", fail)
    measured = {"picture": "p", "single": [], "levels": [], "memory_mb": 1.0, "start_s": 1.0}
    monkeypatch.setattr(PictureBench, "run", lambda *_: measured)
    options = BenchOptions(quick=True, sections=("pictures", "videos"))
    with pytest.raises(EvalError, match="no such codec"):
        bench(small_bundle_dir(), tmp_path / "out", options, lambda _: None)
    results = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert results["pictures"]["start_s"] == 1.0
    assert "videos" not in results
    assert (tmp_path / "out" / "bench.md").exists()


def test_a_service_that_never_becomes_ready_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It listens nowhere, says that it does, and does not end."""
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "Serving on http://127.0.0.1:9"\nexec sleep 600\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(service, "START_S", 3.0)
    with (
        pytest.raises(ServiceFailed, match=r"did not become ready.* Serving on"),
        Service.running(tmp_path / "service", small_bundle_dir()),
    ):
        pass


def test_what_was_not_measured_is_named_with_its_reason() -> None:
    case = VideoCase(DEFAULT.videos[0].clip, 16)
    results = {
        "machine": {
            "date": "d", "processor": "p", "cores": 2, "memory_mb": 9, "system": "s",
            "python": "3", "packages": {},
        },
        "model": {"bundle": "b", "version": "1", "sha256": "0" * 64},
        "load_before": 0.0, "load_after": 0.0, "rounds": 3, "seconds": 1.0, "quick": False,
        "videos": {
            "cases": [
                {"name": case.name, "seconds": {"this scorer": one(1.0)}, "ratios": {}},
            ],
            "not_measured": {"naive loop, same network": "There is no torch."},
        },
    }  # fmt: skip
    text = tables(results)
    assert "- Not measured: naive loop, same network. There is no torch." in text
    assert "| 720p H.264, 30 s, 1 face, 16 frames | 1.00 (0.50–2.00) |" in text


def test_the_help_of_the_command_names_every_section() -> None:
    bench = typer.main.get_group(cli.app).commands["bench"]
    (only,) = (vars(p) for p in bench.params if p.name == "only")
    listed = only["help"].partition(":")[2].partition(".")[0]
    assert tuple(name.strip() for name in listed.split(",")) == SECTIONS
