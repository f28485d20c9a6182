"""Test that the model card takes what the weights were fitted on from the manifests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from typer.testing import CliRunner

from deepfake_eval.cli.app import app
from deepfake_training.config import BackboneConfig, BundleConfig, CardConfig, CardSource, Config
from deepfake_training.export.model_card import Outcomes, long_tables, model_card

DIGEST = "ab" * 32
METRICS: dict[str, Any] = {"operating_point": [], "levels": {"item": []}, "coverage": []}


def card(
    train: dict[str, Any],
    *sources: CardSource,
    outcomes: Outcomes | None = None,
    fields: dict[str, Any] | None = None,
    by_face_width: Sequence[dict[str, Any]] = (),
    crossed: tuple[int, int] | None = None,
    backbone: BackboneConfig | None = None,
    arithmetic: str = "float32",
    **training: Any,
) -> str:
    config = Config(
        bundle=BundleConfig(name="n", version="1", terms="for tests", arithmetic=arithmetic),
        backbone=backbone or BackboneConfig(),
        card=CardConfig(sources=sources),
    )
    content = {
        "name": "n",
        "version": "1",
        "terms": "for tests",
        "unseen": "people",
        "thresholds": {},
        "conditions": {"min_groups": 10},
        "training": {"train": train, "held_out": {}, **training},
        **(fields or {}),
    }
    reliability = {"level_face": {"by_face_width": list(by_face_width)}}
    return model_card(config, content, reliability, crossed=crossed, outcomes=outcomes)


def counts(**terms: int) -> dict[str, Any]:
    return {"crops": 7, "media": 3, "groups": 2, **({"terms": terms} if terms else {})}


def test_the_card_lists_manifests_data_sets_counts_and_terms() -> None:
    train = {
        "film (real)": counts(),
        "talk (real)": {**counts(), "terms": {"CC BY | 2020\n(web)": 2, "none given": 1}},
        "tool (fake)": counts(MIT=3),
    }
    manifests = [{"name": "a.csv", "rows": 12, "sha256": DIGEST}]
    text = card(train, manifests=manifests)
    assert f"| a.csv | 12 | `{DIGEST}` |" in text
    assert "| fitted on | 3 | 9 |\n" in text
    assert "held out |" not in text
    assert "`terms.csv`" in text
    tables = long_tables({"train": train, "held_out": {}}, METRICS)
    assert tables["data.csv"].iloc[0].tolist() == ["film (real)", 7, 3, 2, 0, 0]
    assert tables["terms.csv"].to_numpy().tolist() == [
        ["talk (real)", "CC BY | 2020\n(web)", 2],
        ["talk (real)", "none given", 1],
        ["tool (fake)", "MIT", 3],
    ]
    assert "Without terms in the manifest or the config: film (real)." in text


def test_a_run_that_held_folds_out_is_listed_with_them() -> None:
    train, held_out = {"film (real)": counts()}, {"tool (fake)": counts()}
    text = card(train, held_out=held_out)
    assert "| fitted on | 1 | 3 |\n| held out | 1 | 3 |" in text
    rows = long_tables({"train": train, "held_out": held_out}, METRICS)["data.csv"]
    assert rows.to_numpy().tolist() == [
        ["film (real)", 7, 3, 2, 0, 0], ["tool (fake)", 0, 0, 0, 3, 2],
    ]  # fmt: skip


def test_the_config_adds_prose_for_sources_that_were_fitted_on() -> None:
    film = CardSource(datasets=("film",), description="faces from films", terms="none given")
    unused = CardSource(datasets=("other",), description="not used", terms="x")
    text = card({"film (real)": counts()}, film, unused)
    assert "| faces from films | none given |" in text
    assert "not used" not in text
    assert "Without terms" not in text


def test_the_limits_say_what_was_not_examined_and_what_is_not_known() -> None:
    limits = card({}).split("## Limits\n\n")[1]
    assert "a real face does not clear a picture" in limits
    assert "No sexual imagery was or may be used" in limits
    command = re.search(r"`deepfake-eval (run --bundle BUNDLE [^`]*)`", limits)
    assert command
    told = CliRunner().invoke(app, [*command[1].split(), "--help"])
    assert told.exit_code == 0, told.output


def test_the_limits_say_what_the_figures_were_measured_on() -> None:
    measured = "detected less often. Figures were measured on"
    known = card({})
    assert f"{measured} people who were not learnt from, but on methods that were." in known
    unknown = card({}, fields={"unseen": "sources"})
    assert f"{measured} sources and people that were not learnt from;" in unknown
    elsewhere = card({}, fields={"unseen": "unknown"})
    told = "whether the network learnt from their people or sources is not known here."
    assert f"{measured} the media above, and {told}" in elsewhere


@pytest.mark.parametrize(
    ("backbone", "sentences"),
    [
        ({}, "All of its weights were fitted here."),
        ({"tune": "norm"}, "Only its normalisation layers and its last layer were fitted here."),
        (
            {"tune": "head", "blocks": (4, 5)},
            "Linear layers, the only parts fitted here, read the class tokens of blocks 4, 5 ",
        ),
    ],
)
def test_the_card_says_what_of_the_network_was_fitted(
    backbone: dict[str, Any], sentences: str
) -> None:
    text = card({}, backbone=BackboneConfig(**backbone)).split("## What it does\n\n")[1]
    assert text.startswith("The network is ")
    assert sentences in text
    assert ". Its input is a square crop of 224 px, cut at 1.3 times the face box. " in text


def test_the_card_says_what_the_runs_of_all_folds_share() -> None:
    backbone = BackboneConfig(name="vit_tiny_patch16_224", blocks=(1,), tune="head")
    shared = "measured on crops of all folds, without their labels"
    for arithmetic in ("int8", "float32"):
        text = card({}, backbone=backbone, arithmetic=arithmetic, crossed=(3, 0))
        assert (shared in text) is (arithmetic == "int8")
        assert "out of fold: 3 runs" in text


def test_a_star_marks_what_the_measurement_calls_indicative() -> None:
    """An AUC of few manipulated groups rests on few, however many real ones it has."""
    figure = {"value": 0.9, "low": None, "high": None, "samples": 40, "groups": 40}
    entry = {
        "face_px": [96.0, None],
        "false_positive_rate": {**figure, "indicative": False},
        "true_positive_rate": {**figure, "groups": 7, "indicative": True},
        "auc": {**figure, "indicative": True},
    }
    text = card({}, by_face_width=[entry], fields={"conditions": {"min_groups": 12}})
    assert "| 96 and more | 0.90 | 0.90* | 0.90* |" in text
    assert "rest on fewer than 12 groups" in text


LEANING = {
    "towards_manipulated": 0.21,
    "towards_untouched": -0.33,
    "false_positive_rate": 0.05,
    "false_positive_rate_upper": 0.081,
    "true_positive_rate": 0.94,
    "miss_rate": 0.2,
    "true_negative_rate": 0.87,
}
LEVEL = {
    "likely_manipulated": 1.1,
    "no_manipulation_found": -0.5,
    "false_positive_rate": 0.01,
    "false_positive_rate_upper": 0.02,
    "true_positive_rate": 0.9,
    "miss_rate": 0.1,
    "leaning": LEANING,
}


def test_the_card_has_a_table_of_the_edges_of_leaning() -> None:
    without = {k: v for k, v in LEVEL.items() if k != "leaning"}
    text = card({}, fields={"thresholds": {"item": LEVEL, "face": without, "picture": None}})
    assert "| item | +0.21 | 5.0% (8.1%) | 94.0% | -0.33 | 20.0% | 87.0% |" in text
    assert "| face | +1.10 |" in text
    assert text.count("| face |") == 1
    assert "leans towards" not in card({}, fields={"thresholds": {"face": without}})


def test_the_card_has_the_named_kinds_and_the_methods_apart() -> None:
    named = [("swap", "swap"), ("swap", "synthesis"), ("synthesis", "synthesis")] * 2
    apart = [("retouch", "a", 1.0), ("retouch", "b", 0.0), ("make-up", "a", 0.0)]
    fields = {"kinds": ("swap", "reenactment", "synthesis")}
    text = card({}, fields=fields, outcomes=Outcomes.counted(named, apart, fields["kinds"]))
    assert "| actual kind | named swap | named reenactment | named synthesis |" in text
    assert "| swap | 2 | 0 | 2 |" in text
    assert "| synthesis | 0 | 0 | 2 |" in text
    assert "| reenactment |" not in text
    assert "Right for 67% of 6 media." in text
    section = text.split("## Retouching, apart")[1]
    assert "| retouch | 2 | 2 | 0.50* [0.01, 0.99] |" in section
    assert "| make-up | 1 | 1 | 0.00* [0.00, 1.00] |" in section
    empty = card({}, fields=fields, outcomes=Outcomes.counted([], [], fields["kinds"]))
    assert "Kinds of manipulation" not in empty
    assert "Retouching, apart" not in empty


def test_the_teaching_set_of_a_learnt_network_is_told_apart() -> None:
    train, taught = {"film (real)": counts()}, {"tool (fake)": counts(MIT=3)}
    backbone = BackboneConfig(tune="head", blocks=(6,), learnt="norms")
    text = card(train, taught=taught, backbone=backbone)
    assert "| learnt by the network | 1 | 3 |" in text
    assert "| fitted on | 1 | 3 |" in text
    assert "on a teaching set of 3 media" in text
    tables = long_tables({"train": train, "held_out": {}, "taught": taught}, METRICS)
    assert tables["data.csv"].set_index("source")["taught_media"].to_dict() == {
        "film (real)": 0,
        "tool (fake)": 3,
    }
    assert tables["terms.csv"]["source"].to_list() == ["tool (fake)"]
