"""What ``deepfake verify`` says of files that it is given in vain."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deepfake_models.errors import BundleError
from deepfake_service.cli.app import app
from deepfake_service.errors import KeyUnreadable


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    path = tmp_path / "evidence.zip"
    path.write_bytes(b"PK")
    return path


def verified(evidence: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(app, ["verify", str(evidence), *map(str, words)])


@pytest.mark.parametrize("option", ["--public-key", "--timestamp-root"])
def test_a_key_that_is_absent_is_not_called_malformed(option: str, evidence: Path) -> None:
    error = verified(evidence, option, evidence.with_name("absent.pem")).exception
    assert isinstance(error, KeyUnreadable)
    assert error.message == (
        "absent.pem cannot be read: No such file or directory. Check the path and who may read the "
        "file."
    )


def test_a_folder_of_trusted_keys_that_is_absent_is_an_error(evidence: Path) -> None:
    done = verified(evidence, "--pinned", evidence.with_name("absent"))
    assert done.exit_code == 2
    assert "--pinned" in done.output


@pytest.mark.parametrize("words", [["--rescore"], ["--media", "clip.mp4"]])
def test_an_incomplete_model_is_named_by_its_folder(words: list[str], evidence: Path) -> None:
    error = verified(evidence, *words, "--bundle", evidence.parent).exception
    assert isinstance(error, BundleError)
    assert error.message.startswith(f"{evidence.parent}: bundle.json: missing")
