"""``deepfake score`` on real files, with the shipped bundle."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deepfake_models.bundle import default_bundle_dir, load_bundle
from deepfake_service.cli.app import app
from tests.support import mediakit

FIELDS = {
    "path", "sha256", "media", "verdict", "score", "log_likelihood_ratio", "reasons", "tracks",
    "frames", "model",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("files")
    clip = mediakit.encode(mediakit.panning(40, 320, 256))
    (root / "a-portrait.jpg").write_bytes(mediakit.picture(mediakit.astronaut(), "JPEG"))
    (root / "b-clip.mp4").write_bytes(clip)
    (root / "c-cut.mp4").write_bytes(clip[: len(clip) // 3])
    (root / "d-empty.mp4").write_bytes(b"")
    (root / "e-text.mp4").write_text("no video at all\n" * 100)
    (root / "f-sound.mp4").write_bytes(mediakit.sound_only())
    (root / ".hidden").write_bytes(b"")
    deeper = root / "g-folder"
    deeper.mkdir()
    (deeper / "one.png").write_bytes(mediakit.picture(mediakit.astronaut()[:1, :1], "PNG"))
    return root


def score(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["score", *map(str, arguments)])


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_folder_gives_a_line_a_file_in_order(folder: Path) -> None:
    result = score(folder, "--json")
    found = lines(result)
    assert result.exit_code == 1, result.output
    assert [Path(f["path"]).name for f in found] == [
        "a-portrait.jpg", "b-clip.mp4", "c-cut.mp4", "d-empty.mp4", "e-text.mp4", "f-sound.mp4",
        "one.png",
    ]  # fmt: skip
    assert all(set(f) == FIELDS for f in found)
    by_name = {Path(f["path"]).name: f for f in found}
    for name, code in {
        "c-cut.mp4": "undecodable",
        "d-empty.mp4": "undecodable",
        "e-text.mp4": "undecodable",
        "f-sound.mp4": "no_visual_stream",
    }.items():
        assert by_name[name]["verdict"] == "unable_to_evaluate"
        assert by_name[name]["score"] is None
        assert [r["code"] for r in by_name[name]["reasons"]] == [code]
        assert len(by_name[name]["sha256"]) == 64
    assert by_name["one.png"]["verdict"] == "not_applicable"
    model = load_bundle().model_json()
    assert all(f["model"] == model for f in found)


def test_a_video_is_scored_by_track(folder: Path) -> None:
    result = score(folder / "b-clip.mp4", "--json", "--faces")
    (found,) = lines(result)
    assert result.exit_code == 0
    assert found["media"] == {
        "kind": "video", "width": 320, "height": 256, "duration_s": 1.6, "frames": 40,
        "rotation": 0,
    }  # fmt: skip
    assert 0.0 <= found["score"] <= 1.0
    assert found["frames"]["sampled"] >= 32
    assert found["frames"]["failed"] == 0
    (track,) = found["tracks"]
    assert track["faces"] == len(found["faces"]) >= 30
    face = found["faces"][0]
    assert {"time_s", "track", "box", "confidence", "score", "quality", "reasons"} <= set(face)
    x0, y0, x1, y1 = face["box"]
    assert 0 <= x0 < x1 <= 320
    assert y0 < y1


def test_exactly_n_frames(folder: Path) -> None:
    (found,) = lines(score(folder / "b-clip.mp4", "--json", "--faces", "--frames", 5))
    assert found["frames"]["sampled"] == 5
    assert [f["time_s"] for f in found["faces"]] == pytest.approx(
        [0.0, 0.4, 0.8, 1.16, 1.56], abs=0.05
    )


def test_the_same_file_always_gets_the_same_answer(folder: Path) -> None:
    first, second = (score(folder / "b-clip.mp4", "--json", "--faces").stdout for _ in range(2))
    assert first == second


def test_the_table_is_for_people(folder: Path) -> None:
    result = score(folder / "a-portrait.jpg", folder / "e-text.mp4")
    assert result.exit_code == 1
    assert "unable to evaluate" in result.output
    assert "not proof" in result.output.replace("\n", " ")
    assert load_bundle().spec.terms in result.output


def test_a_path_that_is_not_there_or_no_file_still_gets_its_line(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    result = score(tmp_path / "absent.mp4", fifo, "--json")
    assert result.exit_code == 1
    absent, pipe = lines(result)
    assert [r["code"] for r in absent["reasons"]] == ["unreadable"]
    assert [r["code"] for r in pipe["reasons"]] == ["unreadable"]
    assert absent["sha256"] is pipe["sha256"] is None


def test_names_cannot_drive_the_terminal(tmp_path: Path) -> None:
    evil = tmp_path / "\x1b[31m[bold]red\u202egpj.jpg"
    evil.write_bytes(b"")
    result = score(evil)
    assert "\x1b" not in result.output
    assert "\u202e" not in result.output
    assert "[bold]" in re.sub(r"[│\s]", "", result.output)


def test_a_name_too_long_gets_its_line() -> None:
    result = score("x" * 5000, "--json")
    assert result.exit_code == 1
    assert [r["code"] for r in lines(result)[0]["reasons"]] == ["unreadable"]


def test_a_folder_tells_of_links_to_nothing_and_follows_none_to_folders(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b-link").symlink_to(tmp_path / "absent")
    (tmp_path / "c-loop").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "d-pipe")
    found = lines(score(tmp_path, "--json"))
    assert [(Path(f["path"]).name, f["reasons"][0]["code"]) for f in found] == [
        ("a.txt", "undecodable"), ("b-link", "unreadable")
    ]  # fmt: skip


CLOSED = """
import os, sys
from pathlib import Path
from deepfake_service import scoring
if os.geteuid() == 0:
    os.setuid(65534)
for path in scoring.walk(map(Path, sys.argv[1:])):
    print(path, scoring.score_path(None, path, None).verdict.reasons[0].detail)
"""


def test_a_closed_folder_gets_its_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for above in list(tmp_path.parents)[:2]:  # pytest's own folders are its user's alone
        above.chmod(0o755)
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "one.jpg").write_bytes(b"x")
    closed.chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", CLOSED, str(tmp_path), str(closed / "one.jpg")],
        capture_output=True,
        text=True,
        check=False,
    )
    closed.chmod(0o700)
    assert done.stdout.splitlines() == [
        f"{closed} cannot be read: Permission denied",
        f"{closed / 'one.jpg'} cannot be read: Permission denied",
    ], done.stderr


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    result = score(tmp_path, "--json")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr == f"{tmp_path} contains no files\n"


def run_into(
    output: str, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    with Path(output).open("w") as file:
        return subprocess.run(
            [sys.executable, "-m", "deepfake_service", *map(str, arguments)],
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_output_that_cannot_be_written_is_said_in_a_line(folder: Path, more: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = run_into("/dev/full", "score", folder / "d-empty.mp4", *more)
    assert done.returncode == 1
    assert done.stderr == "error: No space left on device\n"


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_output_that_is_ascii(folder: Path, tmp_path: Path, more: list[str]) -> None:
    path = tmp_path / "picture-\N{LATIN SMALL LETTER U WITH DIAERESIS}.jpg"
    path.write_bytes((folder / "a-portrait.jpg").read_bytes())
    into = tmp_path / "out"
    done = run_into(str(into), "score", path, *more, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    text = into.read_bytes().decode("ascii")
    assert text
    if more:
        assert json.loads(text)["path"] == str(path)


def test_the_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.strip() == version("deepfake-service")


@pytest.mark.parametrize(
    "arguments", [[], ["x.jpg", "--frames", "0"], ["x.jpg", "--faces"], ["x.jpg", "--wrong"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert score(*arguments).exit_code == 2


def test_an_altered_bundle_is_refused_by_name(tmp_path: Path, folder: Path) -> None:
    for path in default_bundle_dir().iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "rnet.onnx").open("r+b") as file:
        file.seek(100)
        file.write(b"\0\1\2\3")
    done = subprocess.run(
        [sys.executable, "-m", "deepfake_service", "score", str(folder), "--bundle", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}: rnet.onnx:")
    assert "Traceback" not in done.stderr
