"""``deepfake score`` on files: its lines, its table, its errors and its exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deepfake_models.bundle.bundle import load_bundle
from deepfake_service.cli.app import app
from tests.support import footage
from tests.support.small_bundles import small_bundle, small_bundle_dir

FIELDS = {
    "path", "sha256", "media", "verdict", "score", "log_likelihood_ratio", "reasons", "tracks",
    "frames", "model", "examined",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("files")
    clip = footage.encode(footage.panning(40, 320, 256))
    (root / "a-portrait.jpg").write_bytes(footage.picture(footage.astronaut(), "JPEG"))
    (root / "b-clip.mp4").write_bytes(clip)
    (root / "c-cut.mp4").write_bytes(clip[: len(clip) // 3])
    (root / "d-empty.mp4").write_bytes(b"")
    (root / "e-text.mp4").write_text("no video at all\n" * 100)
    (root / "f-sound.mp4").write_bytes(footage.sound_only())
    (root / ".hidden").write_bytes(b"")
    deeper = root / "g-folder"
    deeper.mkdir()
    (deeper / "one.png").write_bytes(footage.picture(footage.astronaut()[:1, :1], "PNG"))
    return root


def score(*arguments: object) -> Result:
    """Run ``deepfake score`` with the small bundle."""
    bundle = str(small_bundle_dir())
    return CliRunner().invoke(app, ["score", "--bundle", bundle, *map(str, arguments)])


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.shipped_model
def test_the_shipped_bundle_is_the_default(folder: Path) -> None:
    result = CliRunner().invoke(app, ["score", str(folder / "a-portrait.jpg"), "--json"])
    (line,) = lines(result)
    assert result.exit_code == 0, result.output
    assert FIELDS <= set(line) <= FIELDS | {"leaning", "kinds"}
    assert line["model"] == load_bundle().model_json()
    assert 0.0 <= line["score"] <= 1.0


def test_a_folder_gives_one_line_for_each_file_in_order(folder: Path) -> None:
    result = score(folder, "--json")
    results = lines(result)
    assert result.exit_code == 1, result.output
    assert [Path(r["path"]).name for r in results] == [
        "a-portrait.jpg", "b-clip.mp4", "c-cut.mp4", "d-empty.mp4", "e-text.mp4", "f-sound.mp4",
        "one.png",
    ]  # fmt: skip
    assert all(set(r) == FIELDS for r in results)
    by_name = {Path(r["path"]).name: r for r in results}
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
    model = small_bundle().model_json()
    assert all(r["model"] == model for r in results)


@pytest.fixture(scope="module")
def scored_clip(folder: Path) -> Result:
    return score(folder / "b-clip.mp4", "--json", "--faces")


def test_a_video_is_scored_by_track(scored_clip: Result) -> None:
    (line,) = lines(scored_clip)
    assert scored_clip.exit_code == 0
    assert line["media"] == {
        "kind": "video", "width": 320, "height": 256, "duration_s": 1.6, "frames": 40,
        "rotation": 0,
    }  # fmt: skip
    assert 0.0 <= line["score"] <= 1.0
    assert line["frames"]["sampled"] >= 32
    assert line["frames"]["failed"] == 0
    (track,) = line["tracks"]
    assert track["faces"] == len(line["faces"]) >= 30
    face = line["faces"][0]
    assert {"time_s", "track", "box", "confidence", "score", "quality", "reasons"} <= set(face)
    x0, y0, x1, y1 = face["box"]
    assert 0 <= x0 < x1 <= 320
    assert y0 < y1


def test_exactly_n_frames(folder: Path) -> None:
    (line,) = lines(score(folder / "b-clip.mp4", "--json", "--faces", "--frames", 5))
    assert line["frames"]["sampled"] == 5
    assert [face["time_s"] for face in line["faces"]] == pytest.approx(
        [0.0, 0.4, 0.8, 1.16, 1.56], abs=0.05
    )


def test_the_same_file_always_gets_the_same_answer(folder: Path, scored_clip: Result) -> None:
    assert score(folder / "b-clip.mp4", "--json", "--faces").stdout == scored_clip.stdout


def test_the_table_is_for_people(folder: Path) -> None:
    result = score(folder / "a-portrait.jpg", folder / "e-text.mp4")
    assert result.exit_code == 1
    assert "unable to evaluate" in result.output
    assert "not proof" in result.output.replace("\n", " ")
    assert small_bundle().spec.terms in result.output


def test_a_missing_path_and_a_pipe_get_a_line_each(tmp_path: Path) -> None:
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
    for output in (result.output, score(evil, "--json").output):
        assert "\x1b" not in output
        assert "\u202e" not in output
    assert "[bold]" in re.sub(r"[│\s]", "", result.output)


def test_a_name_that_is_too_long_gets_a_line() -> None:
    result = score("x" * 5000, "--json")
    assert result.exit_code == 1
    assert [r["code"] for r in lines(result)[0]["reasons"]] == ["unreadable"]


def test_links_below_a_folder_are_reported_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b-link").symlink_to(tmp_path / "a.txt")
    (tmp_path / "c-loop").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "d-pipe")
    scored = score(tmp_path, tmp_path / "d-pipe", "--json")
    assert [(Path(r["path"]).name, r["reasons"][0]["code"]) for r in lines(scored)] == [
        ("a.txt", "undecodable"), ("d-pipe", "unreadable")
    ]  # fmt: skip
    assert scored.stderr.splitlines() == [
        f"{tmp_path / name} is a symbolic link and is skipped" for name in ("b-link", "c-loop")
    ]


CLOSED = """
import os, sys
from pathlib import Path
from deepfake_service.cli import score
if os.geteuid() == 0:
    os.setuid(65534)
for path in score.walk(map(Path, sys.argv[1:])):
    print(path, score.score_path(None, path, None).verdict.reasons[0].detail)
"""


def _has_other_users() -> bool:
    """Return whether root can become another user: not in a namespace that maps root alone."""
    ids = Path("/proc/self/uid_map")
    return os.geteuid() != 0 or not ids.exists() or int(ids.read_text().split()[2]) > 1


@pytest.mark.skipif(not _has_other_users(), reason="root is the only user in this namespace")
def test_a_folder_without_permission_gets_a_line() -> None:
    # Not in tmp_path, since pytest lets no other user into the folders above it.
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        closed = root / "closed"
        closed.mkdir()
        (closed / "one.jpg").write_bytes(b"x")
        closed.chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", CLOSED, str(root), str(closed / "one.jpg")],
            capture_output=True,
            text=True,
            check=False,
        )
        closed.chmod(0o700)
    assert done.stdout.splitlines() == [
        f"{closed} cannot be read: Permission denied",
        f"{closed / 'one.jpg'} cannot be read: Permission denied",
    ], done.stderr


def test_an_empty_folder_is_reported(tmp_path: Path) -> None:
    result = score(tmp_path, "--json")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr == f"{tmp_path} contains no files\n"


def run_into(
    output: Path, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``deepfake score`` as a process whose standard output is the file ``output``."""
    bundle = str(small_bundle_dir())
    with output.open("w") as file:
        return subprocess.run(
            [sys.executable, "-m", "deepfake_service", "score", "--bundle", bundle]
            + [str(argument) for argument in arguments],
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_output_that_cannot_be_written_is_reported_in_a_line(folder: Path, more: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = run_into(Path("/dev/full"), folder / "d-empty.mp4", *more)
    assert done.returncode == 1
    assert done.stderr == "error: No space left on device\n"


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_output_in_ascii(folder: Path, tmp_path: Path, more: list[str]) -> None:
    path = tmp_path / "picture-\N{LATIN SMALL LETTER U WITH DIAERESIS}.jpg"
    path.write_bytes((folder / "a-portrait.jpg").read_bytes())
    output = tmp_path / "out"
    done = run_into(output, path, *more, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    text = output.read_bytes().decode("ascii")
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
    shutil.copytree(small_bundle_dir(), tmp_path, dirs_exist_ok=True)
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
