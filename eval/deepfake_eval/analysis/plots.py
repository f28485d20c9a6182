"""Draw the plots of a run as self-contained SVG, legible on light and dark pages."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepfake_eval.analysis.metrics import calibration_bins, roc
from deepfake_eval.inference.corruptions import DEGRADATIONS

INK = "#010203"
"""Placeholder for the text colour of the page: replaced by ``currentColor`` in the SVG."""

REAL, FAKE, THIRD = "#1f77b4", "#d1495b", "#8a8f98"
"""Blue and red also differ in lightness, so that colour-blind readers can tell them apart."""


def write_plots(drawn: Mapping[str, Figure], folder: Path) -> dict[str, str]:
    """Write each figure as SVG, for pages, and as PDF, for papers; return the SVG text by name.

    Plots of an earlier run in ``folder`` are deleted, and no other files there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("roc", "scores", "reliability", *DEGRADATIONS):
        for suffix in ("svg", "pdf"):
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    texts = {name: svg(figure, name) for name, figure in drawn.items()}
    for name, text in texts.items():
        (folder / f"{name}.svg").write_text(text, encoding="utf-8")
        drawn[name].set_layout_engine("none")  # what was laid out for one file is for the other
        pdf(drawn[name], folder / f"{name}.pdf")
    return texts


def figures(predictions: pd.DataFrame, metrics: Mapping[str, Any]) -> dict[str, Figure]:
    """Return the plots ``roc``, ``scores`` and ``reliability``.

    One is left out if it needs both classes and one is missing, and ``reliability`` if the scores
    are not calibrated.
    """
    scored = predictions[predictions["rank"].notna()]
    levels = {
        level: part
        for level, part in scored.groupby("level")
        if level in ("item", "frame") and part["label"].nunique() == 2
    }
    drawn: dict[str, Figure] = {}
    if levels:
        left_out = predictions[predictions["rank"].isna()]["level"].value_counts()
        drawn["roc"] = draw_panels(lambda axes: _roc(axes, levels, left_out))
        prior = metrics["bundle"]["prior"]
        calibrated = {level: part for level, part in levels.items() if part["score"].notna().all()}
        if calibrated:
            drawn["reliability"] = draw_panels(lambda axes: _reliability(axes, calibrated, prior))
    items = predictions[predictions["level"] == "item"]
    if items["rank"].notna().any():
        drawn["scores"] = draw_panels(lambda axes: _scores(axes, items, metrics))
    return drawn


def robustness_figures(result: dict[str, Any]) -> dict[str, Figure]:
    """Return a plot for each degradation: AUC, and below it the rates at the bundle's threshold."""
    return {
        curve["name"]: draw_panels(
            lambda above, below, curve=curve: _curves(above, below, curve, result["baseline"]),
            height=5.4,
            panels_down=2,
        )
        for curve in result["degradations"]
    }


def svg(figure: Figure, name: str) -> str:
    """Return ``figure`` as SVG: glyphs as outlines, text in the page's colour, unique ids."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue().replace(INK, "currentColor")
    # One document contains several SVGs, and an id may occur only once in it.
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)


def pdf(figure: Figure, path: Path) -> None:
    """Write ``figure`` as a PDF file with embedded TrueType fonts, as publishers require."""
    with mpl.rc_context({"pdf.fonttype": 42}):
        figure.savefig(path, format="pdf", metadata={"CreationDate": None})


def draw_panels(plot: Callable[..., None], height: float = 4.2, panels_down: int = 1) -> Figure:
    """Return a figure with ``panels_down`` axes below each other, drawn by ``plot(*axes)``."""
    style: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "legend.frameon": False,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(6.4, height), layout="constrained")
        panels = figure.subplots(panels_down, 1, sharex=True, squeeze=False)[:, 0].tolist()
        for axes in panels:
            axes.grid(visible=True, color=THIRD, alpha=0.3, linewidth=0.6)
            axes.set_axisbelow(True)
        plot(*panels)
    return figure


def _roc(axes: Axes, levels: dict[Any, pd.DataFrame], left_out: pd.Series) -> None:
    for level, colour in (("item", FAKE), ("frame", REAL)):
        if level in levels:
            part = levels[level]
            fpr, tpr = roc((part["label"] == "fake").to_numpy(), part["rank"].to_numpy())
            count = f"n = {len(part)}, {left_out.get(level, 0)} not scored"
            axes.plot(fpr, tpr, color=colour, linewidth=1.8, label=f"{level} ({count})")
    axes.plot([0, 1], [0, 1], color=THIRD, linewidth=1, linestyle="--", label="chance")
    for limit in (0.01, 0.05):
        axes.axvline(limit, color=THIRD, linewidth=0.8, linestyle=":")
    axes.set(
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
        xlabel="false positive rate (dotted: 1% and 5%)",
        ylabel="true positive rate",
    )
    axes.legend(loc="lower right")


def _scores(axes: Axes, every: pd.DataFrame, metrics: Mapping[str, Any]) -> None:
    items = every[every["rank"].notna()]
    not_scored = every[every["rank"].isna()]["label"].value_counts()
    ratios = items["log_likelihood_ratio"].notna().all()
    column = "log_likelihood_ratio" if ratios else "rank"
    values = items[column].to_numpy()
    edges = np.linspace(values.min() - 0.05, values.max() + 0.05, 31).tolist()
    for label, colour in (("real", REAL), ("fake", FAKE)):
        part = items.loc[items["label"] == label, column].to_numpy()
        if len(part):
            axes.hist(
                part,
                edges,
                weights=np.full(len(part), 1 / len(part)),
                histtype="stepfilled",
                facecolor=(*mpl.colors.to_rgb(colour), 0.35),
                edgecolor=colour,
                linewidth=1.2,
                label=f"{label} (n = {len(part)}, {not_scored.get(label, 0)} not scored)",
            )
    kinds = {"image": "picture", "video": "video"}
    for kind, style in (("video", "--"), ("image", ":")):
        if (items["kind"] == kind).any():
            limits = metrics["bundle"]["thresholds"].get(kinds[kind], {})
            for name in ("no_manipulation_found", "likely_manipulated"):
                if name in limits:
                    axes.axvline(limits[name], color=INK, linewidth=1, linestyle=style)
    quantity = "log10 likelihood ratio" if ratios else "score"
    lines = "\n(lines: thresholds; dotted: for pictures)" * bool(metrics["bundle"]["thresholds"])
    axes.set(xlabel=f"{quantity} of an item{lines}", ylabel="share of the class")
    # Above the axes: a histogram may be anywhere inside.
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)


def _reliability(axes: Axes, levels: dict[Any, pd.DataFrame], prior: float) -> None:
    axes.plot([0, 1], [0, 1], color=THIRD, linewidth=1, linestyle="--", label="calibrated")
    for level, colour, marker in (("item", FAKE, "o"), ("frame", REAL, "s")):
        if level in levels:
            part = levels[level]
            bins = calibration_bins(part["label"] == "fake", part["score"], prior=prior)
            means, shares, weights = (np.array(v) for v in zip(*bins, strict=True))
            axes.plot(means, shares, color=colour, linewidth=1.2, label=level)
            axes.scatter(means, shares, 12 + 220 * weights, color=colour, marker=marker, alpha=0.7)
    axes.set(
        xlim=(-0.03, 1.03),
        ylim=(-0.03, 1.03),
        xlabel=f"mean score of a bin (marker area: its weight at a prior of {prior:g})",
        ylabel="share manipulated",
    )
    axes.legend(loc="upper left")


def _curves(above: Axes, below: Axes, curve: dict[str, Any], baseline: dict[str, Any]) -> None:
    levels = curve["levels"]
    # Markers differ in size, so that curves that coincide stay visible.
    for axes, key, colour, marker, size, label in (
        (above, "auc", FAKE, "o", 5, "AUC"),
        (below, "scored_rate", THIRD, "^", 5, "scored"),
        (below, "false_positive_rate", REAL, "o", 8, "FPR"),
        (below, "true_positive_rate", FAKE, "s", 4, "TPR"),
    ):
        known = [(k, e[key]) for k, e in enumerate(levels) if e[key]["value"] is not None]
        if not known:
            continue
        places, values = zip(*((k, v["value"]) for k, v in known), strict=True)
        axes.plot(places, values, color=colour, marker=marker, markersize=size, label=label)
        bounded = [(k, v["low"], v["high"]) for k, v in known if v["low"] is not None]
        if key in ("auc", "false_positive_rate") and bounded:
            bounds, low, high = zip(*bounded, strict=True)
            axes.fill_between(bounds, low, high, color=colour, alpha=0.18, linewidth=0)
    reference = baseline["auc"]["value"]
    if reference is not None:
        above.axhline(reference, color=INK, linewidth=1, linestyle="--", label="unchanged")
    above.axhline(0.5, color=THIRD, linewidth=1, linestyle=":", label="chance")
    reference = baseline["false_positive_rate"]["value"]
    if reference is not None:
        below.axhline(reference, color=REAL, linewidth=1, linestyle="--", label="FPR unchanged")
    above.set(ylabel="AUC of items", ylim=(min(0.45, above.get_ylim()[0]), 1.02))
    below.set(ylabel="rate at the bundle's threshold", ylim=(-0.03, 1.03))
    below.set_xticks(range(len(levels)), [f"{e['level']:g}" for e in levels])
    below.set_xlabel(f"{curve['title']}: {curve['unit']} (mild to harsh)")
    for axes in (above, below):
        # The legend is outside the axes: inside, some curve would always cross it.
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, 1.16), ncols=4, fontsize=8)
