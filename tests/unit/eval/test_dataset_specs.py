"""Names, options and command lines of data sets, and people who are linked through others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deepfake_eval.datasets import base, load, parse
from deepfake_eval.datasets.base import group_by_people
from deepfake_eval.errors import DatasetError
from deepfake_eval.evaluate.run import load_dataset
from tests.support import evaluation


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("nope", ".", "test"), "There is no data set 'nope'\\. Choose from .*ffpp"),
        (("ffpp", ".", "dev"), "split must be one of train, val, test, all"),
    ],
)
def test_unknown_names_are_refused(arguments: tuple[str, str, str], named: str) -> None:
    name, root, split = arguments
    with pytest.raises(DatasetError, match=named):
        load(name, Path(root), split=split)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(
        DatasetError, match=r"has no option 'speed'\. Choose from compression, methods"
    ):
        load("ffpp", Path(), speed="9")


def test_arguments_of_the_command_line() -> None:
    assert parse("ffpp:/data/ff") == ("ffpp", {}, Path("/data/ff"))
    assert parse("ffpp,compression=c40,methods=A+B:C:\\x") == (
        "ffpp",
        {"compression": "c40", "methods": "A+B"},
        Path("C:\\x"),
    )
    for wrong in ("ffpp", ":x", "ffpp:", "ffpp,c40:x", "ffpp,a=1,a=2:x"):
        with pytest.raises(DatasetError, match="not of the form"):
            parse(wrong)


def test_people_are_linked_through_others(monkeypatch: pytest.MonkeyPatch) -> None:
    people = [["a"], ["a", "b"], ["b", "c"], ["d"]]
    groups, notes = group_by_people(people, "D")
    assert groups == ["a", "a", "b", "d"]
    assert "swaps link the people of 3 of 4 media" in notes[0]
    monkeypatch.setattr(base, "LARGEST_COMPONENT", 0.75)
    assert group_by_people(people, "D") == (["a+2", "a+2", "a+2", "d"], [])


def test_the_manifest_that_the_documentation_shows_reads_its_layout(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    shown = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    (text,) = [each for each in shown if "entry-points" not in each]
    own = tmp_path / "clips.toml"
    own.write_text(text)
    evaluation.touch(
        tmp_path,
        ["clips/a/real/1.mp4", "clips/a/fake/2.mp4", "clips/b/real/3.mp4", "clips/c/fake/4.mp4"],
    )
    dataset = load_dataset(f"{own}:{tmp_path}", "test")
    assert dataset.adapter == "clips.toml"  # no path: reports are passed on
    assert evaluation.by_media(dataset.rows) == {
        "clips/a/real/1.mp4": ("real", "original", "a"),
        "clips/a/fake/2.mp4": ("fake", "swap", "a"),
        "clips/b/real/3.mp4": ("real", "original", "b"),
        "clips/c/fake/4.mp4": ("fake", "swap", "c"),
    }


HEAD = "title='x'\nlayout='x'\ngrouping='x'\n"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("title = 'x'", r"own\.toml: layout: Field required"),
        (f"group = 'x'\n{HEAD}", r"own\.toml: group: Extra"),
        ("title =", "not a readable TOML"),
        (f"{HEAD}[[sources]]\nlabel='real'\npath='('", r"sources\.0\.path: .* regular expression"),
        (f"{HEAD}[[sources]]\nlabel='real'\ngroup=['{{x']", r"sources\.0\.group\.0: "),
    ],
)
def test_a_wrong_manifest_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(DatasetError, match=named):
        load(str(tmp_path / "own.toml"), tmp_path)
