"""Test that the report and its plots are self-contained, escaped and legible without data."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from deepfake_eval.analysis.plots import figures, svg, write_plots
from deepfake_eval.analysis.summary import Subject, summarise
from deepfake_eval.reporting.report import render
from deepfake_eval.reporting.tables import rate_rows
from deepfake_models.bundle.bundle import Bundle
from tests.support import evaluation, judging

HOSTILE = '<img src=x onerror="alert(1)">&$\\frac{1}{0}$\n한국어'
VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """Collects tags and checks that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return evaluation.tiny_bundle(tmp_path_factory.mktemp("bundle"), terms="<b>research-only</b>")


def table(seed: int = 0) -> pd.DataFrame:
    """Return predictions of two methods over thirty groups, some of them not scored."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for group in range(30):
        for method, mean in (("original", -1.0), ("Deepfakes", 1.5), (HOSTILE, 0.3)):
            labels = {
                "media": f"{method}/{group}", "label": "real" if method == "original" else "fake",
                "method": method, "dataset": HOSTILE, "split": "test", "group": str(group),
                "kind": "video" if group % 2 else "image", "attribute_sex": "MF"[group % 2],
            }  # fmt: skip
            value = rng.normal(mean)
            judged = rng.random() > 0.1
            scored = {
                "rank": value if judged else np.nan,
                "log_likelihood_ratio": value if judged else np.nan,
                "score": 1 / (1 + 10**-value) if judged else np.nan,
            }
            verdict = "likely_manipulated" if value > 1 else "no_manipulation_found"
            rows.append(
                {
                    "level": "item", **labels, **scored, "sampled": 8, "with_face": 8, "failed": 0,
                    "verdict": verdict if judged else "unable_to_evaluate",
                    "reason": None if judged else "undecodable",
                }
            )  # fmt: skip
            rows.append({"level": "frame", **labels, **scored, "time_s": 0.0})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def made(
    bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, str], dict[str, Any]]:
    predictions = table()
    metrics = summarise(predictions, Subject.of_bundle(bundle), settings=settings())
    plots = write_plots(figures(predictions, metrics), tmp_path_factory.mktemp("plots"))
    return render(metrics, plots), plots, metrics


def leaning_bundle(directory: Path) -> Bundle:
    """Return a bundle with edges of leaning."""
    edges = {
        "towards_manipulated": 0.5, "towards_untouched": 0.1, "false_positive_rate": 0.041,
        "false_positive_rate_upper": 0.062, "true_positive_rate": 0.703, "miss_rate": 0.184,
        "true_negative_rate": 0.655,
    }  # fmt: skip
    level = {**judging.bundle_fields()["thresholds"]["item"], "leaning": edges}
    levels = dict.fromkeys(("face", "track", "item"), level)
    return evaluation.tiny_bundle(directory, thresholds=levels)


def test_plots_of_an_earlier_run_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    for name in ("roc.svg", "jpeg.pdf", "mine.pdf"):
        (tmp_path / name).touch()
    assert write_plots({}, tmp_path) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["mine.pdf"]


def test_rates_of_leaning_are_reported_where_the_bundle_has_edges(
    tmp_path: Path, made: tuple[str, dict[str, str], dict[str, Any]]
) -> None:
    predictions = table()
    value = predictions["rank"]
    predictions["leaning"] = np.select(
        [value.isna(), value >= 0.5, value < 0.1],
        [None, "towards_manipulated", "towards_untouched"],
        "neither",
    )
    subject = Subject.of_bundle(leaning_bundle(tmp_path / "bundle"))
    metrics = summarise(predictions, subject, settings=settings())
    items = predictions[predictions["level"] == "item"]
    real, fake = (
        metrics["operating_point"][0],
        next(e for e in metrics["operating_point"] if e["label"] == "fake"),
    )
    scored = items[(items["label"] == "real") & items["rank"].notna()]
    assert real["towards_manipulated_rate"]["value"] == pytest.approx(
        (scored["rank"] >= 0.5).mean(), abs=1e-4
    )
    assert real["towards_untouched_rate"]["value"] == pytest.approx(
        (scored["rank"] < 0.1).mean(), abs=1e-4
    )
    # A fake that was not scored does not lean.
    fakes = items[items["label"] == "fake"]
    assert fake["towards_manipulated_rate"]["samples"] == len(fakes)
    assert fake["towards_manipulated_rate"]["value"] == pytest.approx(
        (fakes["rank"] >= 0.5).mean(), abs=1e-4
    )
    listed = {row["rate"] for row in rate_rows(metrics) if row["label"] == "fake"}
    assert {"towards_manipulated_rate", "towards_untouched_rate"} <= listed
    # Nor does a method of which nothing was scored: that is a rate of 0, and none to leave out.
    method = fakes["method"].iloc[0]
    chosen = (predictions["label"] == "fake") & (predictions["method"] == method)
    predictions.loc[chosen, ["rank", "score", "log_likelihood_ratio"]] = np.nan
    predictions.loc[chosen, "leaning"] = None
    unseen = summarise(predictions, subject, settings=settings())["operating_point"]
    of_method = [e for e in unseen if e["scope"] == "source" and e["name"] == method]
    assert [e["towards_manipulated_rate"]["value"] for e in of_method] == [0.0]
    page = render(metrics, {})
    assert "<td>leaning: towards manipulated</td><td>0.500 (picture), 0.500 (video)</td>" in page
    assert "<td>leaning: false positive rate upper</td><td>0.062 (picture), 0.062 (vid" in page
    assert '<th scope="col">towards untouched</th>' in page
    assert "towards manipulated" not in made[0]
    assert not any("towards_manipulated_rate" in e for e in made[2]["operating_point"])


def settings() -> dict[str, Any]:
    stated = {
        "adapter": "folders", "options": {"title": HOSTILE}, "names": [HOSTILE], "real": 30,
        "fake": 60, "groups": 30, "missing": 2, "notes": [HOSTILE],
    }  # fmt: skip
    return {"frames": None, "split": "test", "draws": 30, "datasets": [stated], "notes": []}


def test_the_report_is_well_formed_and_escapes_every_name(
    made: tuple[str, dict[str, str], dict[str, Any]],
) -> None:
    page = Page()
    page.feed(made[0])
    page.close()
    assert page.open == []
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "link", "iframe", "object", "b"}
    assert HOSTILE in page.text
    assert "<b>research-only</b>" in page.text
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_the_report_needs_nothing_from_outside(
    made: tuple[str, dict[str, str], dict[str, Any]],
) -> None:
    page = Page()
    page.feed(made[0])
    policy = dict(page.tags)["meta"]  # the last meta is the viewport
    assert policy["name"] == "viewport"
    assert "default-src 'none'" in made[0]
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith("#")
    assert not re.search(r"url\((?!#)|@import", made[0])


def test_ids_of_the_plots_do_not_collide_and_their_links_resolve(
    made: tuple[str, dict[str, str], dict[str, Any]],
) -> None:
    page = Page()
    page.feed(made[0])
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["xlink:href"] for _, a in page.tags if "xlink:href" in a]
    assert links
    assert {str(link)[1:] for link in links} <= set(ids)


def test_plots_are_xml_with_outlined_glyphs_in_the_page_s_colour(
    made: tuple[str, dict[str, str], dict[str, Any]],
) -> None:
    assert set(made[1]) == {"roc", "scores", "reliability"}
    for text in made[1].values():
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg")
        assert not root.findall(".//{http://www.w3.org/2000/svg}text")
        assert "currentColor" in text
        assert "#010203" not in text


def test_the_report_states_what_it_rests_on(
    made: tuple[str, dict[str, str], dict[str, Any]], bundle: Bundle
) -> None:
    html, _, metrics = made
    page = Page()
    page.feed(html)
    overall = metrics["levels"]["item"][0]
    assert bundle.sha256 in page.text
    assert f"{overall['auc']['value']:.3f}" in page.text
    assert f"of {overall['groups']} groups" in page.text
    for words in ("inconclusive", "not judged", "failed", "as the bundle samples"):
        assert words in page.text
    assert overall["indicative"] is False
    assert {e["attribute"] for e in metrics["false_positives"]} == {"sex"}
    assert "indicative" not in page.text


def test_per_method_figures_are_against_the_reals_of_the_data_set(
    made: tuple[str, dict[str, str], dict[str, Any]],
) -> None:
    methods = [e for e in made[2]["levels"]["item"] if e["scope"] == "method"]
    assert [e["name"] for e in methods] == [HOSTILE, "Deepfakes"]
    assert {e["against"] for e in methods} == {HOSTILE}
    assert methods[1]["auc"]["value"] > methods[0]["auc"]["value"]
    only = table()
    only.loc[only["label"] == "real", "dataset"] = "elsewhere"
    settled = summarise(only, Subject.of_bundle(made_bundle(made)), settings=settings())
    methods = [e for e in settled["levels"]["item"] if e["scope"] == "method"]
    assert {e["against"] for e in methods} == {"all real media"}


def made_bundle(made: tuple[str, dict[str, str], dict[str, Any]]) -> Any:
    """Return an object with those attributes of a bundle that ``summarise`` uses."""
    from tests.support import judging

    class Stated:
        spec = judging.spec()

        @staticmethod
        def model_json() -> dict[str, str]:
            return {"bundle": "b", "version": "1", "sha256": "0", "terms": "t"}

    return Stated


def test_the_same_run_gives_the_same_plots(
    made: tuple[str, dict[str, str], dict[str, Any]], bundle: Bundle
) -> None:
    metrics = summarise(table(), Subject.of_bundle(bundle), settings=settings())
    drawn = figures(table(), metrics)
    assert {name: svg(figure, name) for name, figure in drawn.items()} == made[1]


def test_the_bundle_says_how_many_groups_are_enough(tmp_path: Path) -> None:
    strict = evaluation.tiny_bundle(tmp_path, conditions={"min_groups": 31})
    metrics = summarise(table(), Subject.of_bundle(strict), settings=settings())
    assert metrics["levels"]["item"][0]["indicative"] is True
    assert all(e["decided_rate"]["indicative"] for e in metrics["coverage"])
    html = render(metrics, {})
    assert "a class has fewer than 31 groups" in html
    assert "† marks fewer than 31 groups in a class" in html
