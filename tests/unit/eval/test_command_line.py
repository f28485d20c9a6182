"""The commands of ``deepfake-eval``, and how errors are told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deepfake_eval.cli import app as cli
from deepfake_eval.errors import DatasetError
from deepfake_eval.evaluate.run import run
from deepfake_eval.options import RunOptions
from deepfake_models.errors import BundleError


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
    assert "Pictures and videos as judged: AUC 1.000" in result.output
    assert "of 6 groups; indicative, because a class has fewer than 10 groups" in result.output
    assert "1 listed media are absent" in result.output
    compared = ["compare", str(out), str(out), "--draws", "20"]
    result = CliRunner().invoke(cli.app, compared)
    assert "No difference is shown" in result.stdout
    result = CliRunner().invoke(cli.app, [*compared, "--json"])
    assert json.loads(result.stdout)["difference"]["value"] == 0.0
    result = CliRunner().invoke(cli.app, ["datasets"])
    for name in ("ffpp", "celebdf", "kodf", "deepfakebench"):
        assert name in result.stdout
    assert "[deepfake_in_the_wild/]" in result.stdout
    result = CliRunner().invoke(cli.app, ["datasets", f"csv:{media}"])
    assert "found in" in result.stdout
    assert "1 listed but absent, such as absent.mp4" in result.stdout
    result = CliRunner().invoke(cli.app, ["datasets", "nothing"])
    assert isinstance(result.exception, DatasetError)
    assert "There is no data set 'nothing'. Choose from " in result.exception.message


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--dataset", "ffpp:/nowhere"], "/nowhere does not exist"),
        (["--dataset", "[red]x"], "'[red]x' is not of the form"),
        (["--dataset", "ffpp:.", "--bundle", "/nowhere"], "There is no folder"),
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
