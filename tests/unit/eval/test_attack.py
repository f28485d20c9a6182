"""Test ``deepfake-eval attack`` with the real detector and a classifier of colours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deepfake_eval import cli
from deepfake_eval.errors import RunError
from deepfake_eval.evaluate import labelled_rows, load_dataset
from deepfake_eval.inference.queries import Answers, altered, attack, observed
from deepfake_eval.inference.targets import Picture, Target, score_picture, targets
from deepfake_eval.stress.attack import QueryAttackOptions, parse_answers, parse_bounds, run_attack
from deepfake_models.decode.decoder import InProcessDecoder
from deepfake_models.results import Leaning, Verdict, VerdictCode, coarse
from deepfake_models.scorer import Scorer
from tests.support import evalkit, mediakit


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("attacked")
    for label in ("real", "fake"):
        (root / label).mkdir()
        for number in range(2):
            data = mediakit.picture(evalkit.portrait(label, number), "PNG")
            (root / label / f"{number}.png").write_bytes(data)
    return root


@pytest.fixture(scope="module")
def scorer(bundle: Path) -> Scorer:
    return Scorer.open(bundle, device="cpu")


@pytest.fixture(scope="module")
def target(media: Path, scorer: Scorer) -> Target:
    rows = labelled_rows([load_dataset(f"folders:{media}", "test")])
    fakes = [pair for pair in rows if pair[0].label == "fake"]
    return next(targets(scorer, InProcessDecoder(), fakes, 1))


def test_no_channel_of_a_pixel_changes_by_more_than_the_bound(target: Target) -> None:
    field = np.random.default_rng(0).normal(scale=3.0, size=(28, 28, 3))
    change = altered(target, field, 5).astype(int) - target.picture
    assert np.abs(change).max() == 5
    assert np.array_equal(altered(target, np.zeros_like(field), 5), target.picture)


def test_fields_that_the_answers_lead_to_lower_the_value(target: Target, scorer: Scorer) -> None:
    seen: list[float] = []

    def score(picture: Picture) -> Verdict:
        verdict = score_picture(scorer, picture)
        seen.append(verdict.log_likelihood_ratio or 0.0)
        return verdict

    attack(target, score, 3, answers=Answers.FULL, queries=60, seed=0)
    assert np.mean(seen[-10:]) < np.mean(seen[:10])


def test_a_changed_verdict_ends_the_attack(target: Target, scorer: Scorer) -> None:
    done = attack(
        target, lambda p: score_picture(scorer, p), 60, answers=Answers.FULL, queries=60, seed=0
    )
    assert done.queries is not None
    assert done.verdict is not VerdictCode.LIKELY_MANIPULATED


@pytest.mark.parametrize(
    ("answers", "values"),
    [
        (Answers.FULL, [1.4321, 0.6]),
        (Answers.ROUNDED, [2.0, 1.0]),
        (Answers.VERDICTS, [2.0, 1.0]),
    ],
)
def test_an_attacker_sees_no_more_than_the_service_answers(
    answers: Answers, values: list[float]
) -> None:
    flagged = Verdict(
        VerdictCode.LIKELY_MANIPULATED, 0.9, 1.43211, leaning=Leaning.TOWARDS_MANIPULATED
    )
    open_ = Verdict(VerdictCode.INCONCLUSIVE, 0.8, 0.6, leaning=Leaning.TOWARDS_MANIPULATED)
    assert [observed(v, answers) for v in (flagged, open_)] == values
    assert np.isnan(observed(Verdict(VerdictCode.UNABLE_TO_EVALUATE), answers))


def test_a_coarse_value_is_a_whole_number() -> None:
    assert [coarse(v) for v in (None, -2.39, 0.4999, 0.7933)] == [None, -2.0, 0.0, 1.0]


def test_the_command_reports_both_directions_and_resumes(
    media: Path, bundle: Path, tmp_path: Path
) -> None:
    arguments = [
        "attack", "--dataset", f"folders:{media}", "--bundle", str(bundle), "--out", str(tmp_path),
        "--limit", "1", "--bounds", "60", "--queries", "40", "--draws", "10",
    ]  # fmt: skip
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "attack.json").read_text())
    assert [r["label"] for r in result["results"]] == ["fake", "real"]
    assert all(r["pictures"] == 1 for r in result["results"])
    assert result["results"][0]["changed"][-1]["value"] == 1.0
    assert result["results"][0]["queries"]["value"] == result["attempts"][0]["queries"]
    # One picture of each class says nothing about how many queries others take.
    assert [r["queries"]["low"] for r in result["results"]] == [None, None]
    before = (tmp_path / "attempts.jsonl").read_bytes()
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    assert (tmp_path / "attempts.jsonl").read_bytes() == before


def test_corrected_labels_are_those_of_the_table(media: Path, bundle: Path, tmp_path: Path) -> None:
    """A group only describes an attempt. A label turns it round, so it is made again."""
    table, out = tmp_path / "manifest.csv", tmp_path / "out"
    shutil.copy(media / "fake" / "0.png", tmp_path / "0.png")
    options = QueryAttackOptions(limit=1, bounds=(60,), queries=20, draws=10)

    def attempts(group: str) -> list[dict[str, object]]:
        table.write_text(f"media,label,group\n0.png,fake,{group}\n")
        return run_attack(bundle, [f"csv,title=t:{tmp_path}"], out, options)["attempts"]

    (first,), (second,) = attempts("a"), attempts("b")
    assert second == {**first, "group": "b"}
    path = out / "attempts.jsonl"
    (line,) = path.read_text().splitlines()
    path.write_text(json.dumps({**json.loads(line), "label": "real", "queries": 7}) + "\n")
    assert attempts("b") == [second]


def test_what_is_named_twice_is_counted_once() -> None:
    assert parse_bounds("8, 5,8") == [8, 5]
    assert parse_answers("full,rounded,full") == [Answers.FULL, Answers.ROUNDED]


@pytest.mark.parametrize(("option", "value"), [("--bounds", "0,5"), ("--answers", "vague")])
def test_an_unknown_bound_or_answer_is_named(
    option: str, value: str, media: Path, tmp_path: Path
) -> None:
    arguments = ["attack", "--dataset", f"folders:{media}", "--out", str(tmp_path), option, value]
    done = CliRunner().invoke(cli.app, arguments)
    assert isinstance(done.exception, RunError)
    assert value in done.exception.message


@pytest.mark.parametrize("option", [["--workers", "2"], ["--scheduler", "tcp://127.0.0.1:1"]])
def test_processes_that_would_not_help_are_refused(option: list[str], tmp_path: Path) -> None:
    arguments = ["attack", "--dataset", f"folders:{tmp_path}", "--out", str(tmp_path), *option]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 2
    assert "one process" in done.output


def test_nothing_to_attack_is_an_error(media: Path, tmp_path: Path) -> None:
    evalkit.tiny_bundle(tmp_path / "blind", gain=0.0)
    for medium in (media / "real").iterdir():
        (tmp_path / "m" / "real").mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / "fake").mkdir(exist_ok=True)
        (tmp_path / "m" / "fake" / medium.name).write_bytes(medium.read_bytes())
    with pytest.raises(RunError, match="no picture on which the bundle is right"):
        run_attack(
            tmp_path / "blind",
            [f"folders:{tmp_path / 'm'}"],
            tmp_path / "out",
            QueryAttackOptions(),
        )
