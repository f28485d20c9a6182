"""Run every command of the pages for researchers, on files with the names that the pages use."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deepfake_eval.cli import app as cli
from deepfake_eval.datasets import DATASETS
from tests.support import evaluation, footage

DOCS = Path(__file__).parents[3] / "docs"
WITHOUT_DRAWS = ("reliability", "datasets")


def commands(page: str) -> list[list[str]]:
    """Return the commands in the shell blocks of a page."""
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.fixture
def folder(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working directory with ``media``, ``bundle`` and ``other``."""
    for label in ("real", "fake"):
        media = tmp_path / "media" / label
        media.mkdir(parents=True)
        for number in range(2):
            picture = footage.picture(evaluation.portrait(label, number), "PNG")
            (media / f"{number}.png").write_bytes(picture)
    shutil.copytree(bundle, tmp_path / "bundle")
    evaluation.tiny_bundle(tmp_path / "other", version="2")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(cli, "default_bundle_dir", lambda: tmp_path / "bundle")
    return tmp_path


def invoke(name: str, *arguments: str) -> str:
    assert name == "deepfake-eval"
    # Fewer resamples than by default: the figures of four pictures are of no interest here.
    few_draws = [] if arguments[0] in WITHOUT_DRAWS else ["--draws", "10"]
    result = CliRunner().invoke(cli.app, [*arguments, *few_draws])
    assert result.exit_code == 0, f"{arguments}: {result.output} {result.exception}"
    return result.output


@pytest.mark.slow
def test_the_commands_of_the_page_on_evaluation(folder: Path) -> None:
    page = (DOCS / "evaluation.md").read_text()
    written = commands("evaluation.md")
    assert len(written) == 7
    for command in written:
        invoke(*command)
    assert all(f"`{name}`" in page for name in DATASETS)
    named = re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", page, flags=re.MULTILINE)
    assert len(named) == 6
    assert all((folder / "results" / name).is_file() for name in named)


@pytest.mark.usefixtures("drawn")
@pytest.mark.slow
def test_the_tutorial_leads_to_a_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "tutorial.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (folder / "own_detector.py").write_text(code)
    monkeypatch.delitem(sys.modules, "own_detector", raising=False)
    for command in commands("tutorial.md"):
        output = invoke(*command)
        if command[1] == "compare":
            assert "No difference is shown, because a class has too few groups: AUC" in output
            assert "DeLong's test, as each medium is its own group: p = 0." in output
    for name in re.findall(r"^\| `(tables/figures\.\w+|tables/rates\.csv)`", page, re.MULTILINE):
        assert (folder / "results" / name).stat().st_size > 0, name
    assert list((folder / "results" / "plots").glob("*.pdf"))
    assert r"\begin{tabular}" in (folder / "table" / "table.tex").read_text()
    assert "Own detector" in (folder / "results-table" / "report.html").read_text()
