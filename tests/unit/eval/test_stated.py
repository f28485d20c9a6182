"""Test the three lines that a card, a report and the README begin with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from deepfake_eval.analysis.stated import three_lines
from deepfake_models.bundle.bundle import load_bundle

ROOT = Path(__file__).parents[3]


def levels(found: float, alarms: float, groups: int) -> dict[str, Any]:
    def of(value: float, groups: int) -> dict[str, Any]:
        return {"value": value, "high": value + 0.02, "groups": groups}

    overall = {"true_positive_rate": of(found, groups), "false_positive_rate": of(alarms, 9)}
    return {level: {"overall": overall} for level in ("level_item", "level_picture")}


def test_the_lines_keep_known_sources_apart_from_unknown_ones() -> None:
    known = levels(0.6, 0.01, 40)
    first, second, third = three_lines({**levels(0.3, 0.05, 7), "known_sources": known})
    assert first.startswith(
        "Known sources, unknown people: 60% of manipulated and 1.0% of real vid"
    )
    assert "30% of manipulated and 5.0% of real pictures (95% up to 7.0%)" in second
    assert second.startswith("Unknown sources and people, as new material is: 30%")
    assert third.startswith("The second line rests on 7 groups of manipulated and 9 of real videos")


def test_what_was_not_measured_on_unknown_sources_is_said() -> None:
    lines = three_lines(levels(0.6, 0.01, 40))
    assert lines[1] == "Unknown sources: not measured for this model."
    videos = {"level_item": levels(0.6, 0.01, 40)["level_item"], "level_picture": {"overall": {}}}
    assert "videos (95% up to 3.0%) are called manipulated." in three_lines(videos)[0]
    assert three_lines({}) == three_lines({"level_item": {"overall": {}}}) == []


def test_a_network_trained_elsewhere_may_have_learnt_from_what_was_measured() -> None:
    first, second, _ = three_lines(levels(0.6, 0.01, 40), "unknown")
    may = "Sources and people that the network may have learnt from: "
    assert first.startswith(f"{may}60% of manipulated and 1.0% of real videos")
    assert second.startswith("Unknown sources and people, as new material is: not known,")


def test_the_readme_has_the_lines_of_the_shipped_model() -> None:
    lines = three_lines(load_bundle().reliability())
    readme = " ".join((ROOT / "README.md").read_text().split())
    missing = [f"- {line}" for line in lines if line not in readme]
    assert not missing, "Write to README.md:\n" + "\n".join(missing)
    korean = (ROOT / "README.ko.md").read_text()
    numbers = set(re.findall(r"\d[\d.]*%", " ".join(lines)))
    assert numbers <= set(re.findall(r"\d[\d.]*%", korean))
