"""Test that the model card takes what the weights were fitted on from the manifests."""

from __future__ import annotations

from typing import Any

from deepfake_training.config import BundleConfig, CardConfig, CardSource, Config
from deepfake_training.export.model_card import model_card

DIGEST = "ab" * 32


def card(train: dict[str, Any], *sources: CardSource, **training: Any) -> str:
    config = Config(
        bundle=BundleConfig(name="n", version="1", terms="for tests"),
        card=CardConfig(sources=sources),
    )
    fields = {
        "name": "n",
        "version": "1",
        "terms": "for tests",
        "thresholds": {},
        "training": {"train": train, "held_out": {}, **training},
    }
    reliability = {"level_face": {"by_source": [], "by_face_width": []}, "level_track": {}}
    reliability["level_track"] = {"by_source": []}
    metrics = {"operating_point": [], "levels": {"item": []}, "coverage": []}
    return model_card(config, fields, reliability, metrics)


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
    assert "| film (real) | 7 | 3 | 2 | 0 | 0 |" in text
    assert "| talk (real) | CC BY \\| 2020 (web) | 2 |" in text
    assert "| talk (real) | none given | 1 |" in text
    assert "| tool (fake) | MIT | 3 |" in text
    assert "Without terms in the manifest or the config: film (real)." in text


def test_the_config_adds_prose_for_sources_that_were_fitted_on() -> None:
    film = CardSource(datasets=("film",), description="faces from films", terms="none given")
    unused = CardSource(datasets=("other",), description="not used", terms="x")
    text = card({"film (real)": counts()}, film, unused)
    assert "| faces from films | none given |" in text
    assert "not used" not in text
    assert "Without terms" not in text


def test_crops_of_an_earlier_version_have_neither_manifests_nor_terms() -> None:
    text = card({"film (real)": counts()})
    assert "| manifest |" not in text
    assert "terms in the manifest |" not in text
