"""Test ``deepfake-eval attack`` with the real detector and a classifier of colours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deepfake_eval.attack import (
    FIELD,
    Target,
    attack_picture,
    choose_targets,
    nes,
    run_attack,
)
from deepfake_eval.cli import app as cli
from deepfake_eval.datasets import load
from deepfake_eval.errors import RunError
from deepfake_eval.options import AttackOptions
from deepfake_models.bundle.results import VerdictCode
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.scorer import Scorer
from tests.support import evaluation, footage


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("attacked")
    for label in ("real", "fake"):
        (root / label).mkdir()
        for number in range(2):
            data = footage.picture(evaluation.portrait(label, number), "PNG")
            (root / label / f"{number}.png").write_bytes(data)
    return root


@pytest.fixture(scope="module")
def scorer(bundle: Path) -> Scorer:
    return Scorer.open(bundle, decoder=InProcessDecoder(), device="cpu")


@pytest.fixture(scope="module")
def target(media: Path, scorer: Scorer) -> Target:
    rows = [(row, media) for row in load("folders", media).rows if row.label == "fake"]
    return next(choose_targets(scorer, InProcessDecoder(), rows, 1))


def test_no_channel_of_a_pixel_changes_by_more_than_the_bound(target: Target) -> None:
    field = np.random.default_rng(0).normal(scale=3.0, size=FIELD)
    change = target.change(field, 5).astype(int) - target.picture
    assert np.abs(change).max() == 5
    assert np.array_equal(target.change(np.zeros(FIELD), 5), target.picture)


@pytest.mark.parametrize("towards", [-1.0, 1.0])
def test_fields_that_the_answers_lead_to_move_the_value(towards: float) -> None:
    hidden = np.random.default_rng(1).normal(size=FIELD)
    seen: list[float] = []

    def query(field: np.ndarray) -> float | None:
        seen.append(float((field * hidden).mean()))
        return seen[-1] if len(seen) < 200 else None

    nes(query, towards, np.random.default_rng(0))
    assert towards * np.mean(seen[-10:]) > towards * np.mean(seen[:10])
    assert len(seen) <= 201


def test_a_changed_verdict_ends_the_attack(target: Target, scorer: Scorer) -> None:
    done = attack_picture(scorer, target, AttackOptions(bound=60, queries=60))
    assert 0 < done["queries"] <= 60
    assert done["verdict"] is not VerdictCode.LIKELY_MANIPULATED


def test_a_picture_is_given_up_after_its_queries(target: Target, scorer: Scorer) -> None:
    done = attack_picture(scorer, target, AttackOptions(bound=1, queries=3))
    assert done["queries"] is None
    assert done["verdict"] is VerdictCode.LIKELY_MANIPULATED


def test_the_command_reports_both_directions(media: Path, bundle: Path, tmp_path: Path) -> None:
    arguments = [
        "attack", "--dataset", f"folders:{media}", "--bundle", str(bundle), "--out", str(tmp_path),
        "--limit", "1", "--bound", "60", "--queries", "40",
    ]  # fmt: skip
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "attack.json").read_text())
    assert [r["label"] for r in result["results"]] == ["fake", "real"]
    assert all(r["pictures"] == 1 for r in result["results"])
    assert result["results"][0]["changed"]["value"] == 1.0
    assert "1 fake pictures: 100% changed (" in done.output


def test_nothing_to_attack_is_an_error(media: Path, tmp_path: Path) -> None:
    evaluation.tiny_bundle(tmp_path / "blind", gain=0.0)
    for medium in (media / "real").iterdir():
        (tmp_path / "m" / "real").mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / "fake").mkdir(exist_ok=True)
        (tmp_path / "m" / "fake" / medium.name).write_bytes(medium.read_bytes())
    with pytest.raises(RunError, match="right about no picture"):
        run_attack(
            tmp_path / "blind", [f"folders:{tmp_path / 'm'}"], tmp_path / "out", AttackOptions()
        )
