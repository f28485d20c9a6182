"""Errors of ``deepfake-train`` as the command line shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deepfake_training import cli
from tests.support.training import HEAD, SMOKE

pytestmark = pytest.mark.torch


@pytest.fixture
def error_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return the last line on stderr of a command that fails."""
    monkeypatch.setattr(cli.console, "_width", 500)
    monkeypatch.setattr(cli.console, "_file", None)

    def run(*words: object) -> str:
        monkeypatch.setattr("sys.argv", ["deepfake-train", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert caught.value.code == 1
        return capsys.readouterr().err.strip().splitlines()[-1]

    return run


def test_brackets_in_messages_are_text(error_of: Callable[..., str], tmp_path: Path) -> None:
    manifest = tmp_path / "list[/bold].csv"
    error = error_of("prepare", "--config", SMOKE, "--manifest", manifest, "--crops", tmp_path)
    assert error == f"error: {manifest}: There is no such manifest. Pass FILE or FILE:ROOT."


def test_a_file_that_cannot_be_used_is_told_in_a_line(
    error_of: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "m.csv").write_text("media,label,method,dataset,group,fold\na,real,m,d,g,0\n")
    (tmp_path / "file").touch()
    crops = tmp_path / "file" / "crops"
    words = ("prepare", "--config", SMOKE, "--manifest", tmp_path / "m.csv", "--crops", crops)
    assert error_of(*words).startswith(f"error: {crops}")


def test_a_run_that_a_part_of_the_media_cannot_be_fitted_on_is_refused_before_faces_are_cut(
    error_of: Callable[..., str], tmp_path: Path
) -> None:
    """All methods occur, but one of the runs of the cross-validation holds out the only swap."""
    lines = [
        line
        for fold, method in enumerate(("reswap", "talker"))
        for line in (
            f"r{fold}.mp4,real,original,d,{fold},{fold}",
            f"f{fold}.mp4,fake,{method},d,{fold},{fold}",
        )
    ]
    manifest, config = tmp_path / "m.csv", tmp_path / "head.toml"
    manifest.write_text("\n".join(["media,label,method,dataset,group,fold", *lines]))
    config.write_text(HEAD)
    words = ("--config", config, "--manifest", manifest, "--out", tmp_path / "bundle")
    error = error_of("run", *words, "--work", tmp_path / "runs")
    assert error.startswith("error: No fake of the kind swap is left to train on.")
    assert not (tmp_path / "runs").exists()
