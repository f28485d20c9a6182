"""The table of ``deepfake score`` with a model that has edges of leaning."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deepfake_models.bundle.bundle import Bundle, BundleSpec
from deepfake_models.bundle.results import Face, MediaFacts, Verdict
from deepfake_models.decision.decide import judge_picture
from deepfake_models.decision.level import Criteria
from deepfake_service.cli.score import ScoredPath, _print_footer, _table
from tests.support import judging

PICTURE = MediaFacts("image", 640, 480, None, 1, 0)


def spec(**picture: Any) -> BundleSpec:
    edges = {
        "towards_manipulated": 0.6, "towards_untouched": 0.3, "false_positive_rate": 0.041,
        "false_positive_rate_upper": 0.062, "true_positive_rate": 0.703, "miss_rate": 0.184,
        "true_negative_rate": 0.655,
    }  # fmt: skip
    level = {**judging.bundle_fields()["thresholds"]["face"], "leaning": edges}
    levels = dict.fromkeys(("face", "track", "item"), level)
    if picture:
        levels["picture"] = {**level, **picture}
    return judging.spec(thresholds=levels, kinds=("swap", "reenactment"))


def shown(verdict: Verdict) -> str:
    out = io.StringIO()
    console = Console(file=out, width=200)
    console.print(_table([ScoredPath(Path("a.png"), "0" * 64, verdict)]))
    return out.getvalue()


def verdict(log10_ratio: float, bundle: BundleSpec) -> Verdict:
    scored = judging.face(0.0, log10_ratio * math.log(10.0))
    return judge_picture(PICTURE, [_of_kind(scored)], Criteria.of(bundle))


def _of_kind(face: Face) -> Face:
    return Face(
        time_s=0.0, box=face.box, confidence=0.99, quality=face.quality, logit=face.logit,
        kind_logits=(1.0, 0.0),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ratio", "lines", "absent"),
    [
        (2.0, ["likely manipulated", "resembles: face swap"], "leans"),
        (
            0.7,
            ["inconclusive", "leans towards manipulated", "resembles: face swap"],
            "untouched",
        ),
        (0.45, ["inconclusive"], "leans"),
        (0.2, ["inconclusive", "leans towards untouched"], "swap"),
        (-1.0, ["no manipulation found"], "leans"),
    ],
)
def test_the_table_says_which_way_and_which_kind(
    ratio: float, lines: list[str], absent: str
) -> None:
    text = shown(verdict(ratio, spec()))
    assert all(line in text for line in lines)
    assert absent not in text


def test_the_footer_has_the_rates_of_leaning_and_of_whole_pictures() -> None:
    def footer(bundle: BundleSpec) -> str:
        out = io.StringIO()
        console = Console(file=out, width=2000)
        _print_footer(Bundle(Path(), bundle, "0" * 64, {}), {"image"}, console)
        return out.getvalue()

    text = footer(spec(true_positive_rate=0.456))
    assert "On held-out pictures that got a value" in text
    assert "45.6%" in text
    assert "4.1% (at most 6.2%) and of manipulated ones 70.3% lean towards manipulated" in text
    assert "proves nothing" in text
    assert "lean" not in footer(judging.spec())
    assert "On held-out single faces" in footer(judging.spec())
    for unseen, whose in (
        ("people", "from people that the model had never seen"),
        ("sources", "from people and sources that the model had never seen"),
        ("unknown", "from people and sources that the model may have seen"),
    ):
        assert f"got a value, {whose}, this" in footer(spec().model_copy(update={"unseen": unseen}))
