"""Find measured data sets that a bundle's weights were fitted on, and its out-of-fold figures.

A bundle records the data sets that it was fitted on by name and not by medium. Matching is
therefore by name: other media of the same data set are marked too, and a data set under an
unrelated name is not recognised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from deepfake_models.bundle.bundle import Bundle

PUBLISHED: Final[dict[str, str]] = {
    "ffpp": "ffpp", "faceforensics": "ffpp", "ff": "ffpp", "dfd": "dfd",
    "deepfakedetection": "dfd", "celebdf": "celebdf", "dfdc": "dfdc", "dfdcp": "dfdcp",
    "deeperforensics": "deeperforensics", "ffiw": "ffiw", "ffiw10k": "ffiw", "uadfv": "uadfv",
    "wilddeepfake": "wilddeepfake", "df40": "df40", "kodf": "kodf",
}  # fmt: skip
"""Adapters by the names of their data sets, as ``_beginnings`` gives them."""

LEVELS: Final[dict[str, str]] = {"video": "level_track", "image": "level_face"}
"""The level of ``reliability.json`` that is comparable with an item of each kind."""


def mark_training_sources(
    facts: Iterable[Mapping[str, Any]], bundle: Bundle, items: pd.DataFrame
) -> list[dict[str, Any]]:
    """Return ``facts`` with ``in_sample`` and ``training_sources`` added to each data set.

    ``facts`` are those of ``LoadedDataset.facts``. ``items`` are the predictions of level ``item``;
    their kinds and methods select the out-of-fold figures. ``training_sources`` has an entry for
    each training source of ``bundle`` that a measured name matches: ``dataset`` (the measured
    name), ``source`` (the name in the bundle) and ``out_of_fold`` (see ``out_of_fold``).
    """
    sources = training_sources(bundle)
    reliability = bundle.reliability() if sources else {}
    marked = []
    for entry in facts:
        matches = []
        for name in entry["names"]:
            measured = items[items["dataset"] == name]
            matches += [
                {
                    "dataset": name,
                    "source": source,
                    "out_of_fold": out_of_fold(
                        reliability, source, set(measured["kind"]), set(measured["method"])
                    ),
                }
                for source in sources
                if _keys(source) & (_keys(name) | _published(entry["adapter"]))
            ]
        marked.append({**entry, "in_sample": bool(matches), "training_sources": matches})
    return marked


def training_sources(bundle: Bundle) -> list[str]:
    """Return the names of the data sets that the bundle's weights were fitted on."""
    train = bundle.spec.training.get("train")
    names = train if isinstance(train, dict) else {}
    return sorted({re.sub(r" \((?:real|fake)\)$", "", str(name)) for name in names})


def out_of_fold(
    reliability: Mapping[str, Any], source: str, kinds: set[str], methods: set[str]
) -> list[dict[str, Any]]:
    """Return the figures that a bundle gives for a training source, one entry for each level.

    ``level`` is ``track`` for videos and ``face`` for pictures. ``by_method`` lists the bundle's
    own entries: those of reals, and of fakes by the measured ``methods``, or by all methods if none
    of these is listed. From these,
    ``true_positive_rate``, ``false_positive_rate`` and ``auc`` are pooled over methods; ``fake``
    and ``real`` are the samples. Pooling is exact, because fakes of all methods are ranked against
    the same reals.

    The list is empty if the bundle has no figures for the source, or if they were measured by
    ``deepfake-eval reliability``, on media which may be those that the weights were fitted on.
    """
    if "bundle" in reliability:
        return []
    figures = []
    for kind, level in LEVELS.items():
        listed = reliability.get(level, {}).get("by_source", []) if kind in kinds else []
        real, fake = (
            [e for e in listed if e["dataset"] == source and e["label"] == label]
            for label in ("real", "fake")
        )
        fake = [e for e in fake if e["method"] in methods] or fake
        if real or fake:
            figures.append({"level": level.removeprefix("level_"), **_pooled(fake + real)})
    return figures


def _pooled(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rates: dict[str, list[dict[str, Any]]] = {
        name: [e[name] for e in entries if name in e]
        for name in ("true_positive_rate", "false_positive_rate")
    }
    ranked = [
        (e["auc"]["value"], e["true_positive_rate"]["samples"])
        for e in entries
        if e.get("auc") and e["auc"]["value"] is not None
    ]
    return {
        "auc": _mean(ranked),
        **{name: _mean((r["value"], r["samples"]) for r in part) for name, part in rates.items()},
        "fake": sum(r["samples"] for r in rates["true_positive_rate"]),
        "real": sum(r["samples"] for r in rates["false_positive_rate"]),
        "by_method": list(entries),
    }


def _mean(weighted: Iterable[tuple[float | None, int]]) -> float | None:
    """Return the mean of values with weights, ``None`` if nothing was measured."""
    known = [(value, weight) for value, weight in weighted if value is not None and weight]
    total = sum(weight for _, weight in known)
    return round(sum(v * w for v, w in known) / total, 4) if total else None


def in_sample_warnings(datasets: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a paragraph for each measured data set that the weights were fitted on."""
    warnings = []
    for entry in datasets:
        for match in entry.get("training_sources", ()):
            name = match["dataset"]
            if match["source"] != name:
                name += f" ({match['source']} in the bundle)"
            figures = [_sentence(figure) for figure in match["out_of_fold"]]
            warnings.append(
                f"In-sample: {name} is a training source of this bundle. Figures on media that "
                "the weights were fitted on say nothing about other media. "
                + (" ".join(figures) or "The bundle gives no out-of-fold figure for it.")
            )
    return warnings


def _sentence(figure: Mapping[str, Any]) -> str:
    unit = {"track": "face tracks of videos", "face": "single faces"}[figure["level"]]
    parts = []
    if figure["auc"] is not None:
        parts.append(f"AUC {figure['auc']:.3f}")
    if figure["true_positive_rate"] is not None:
        parts.append(f"TPR {figure['true_positive_rate']:.1%} of {figure['fake']}")
    if figure["false_positive_rate"] is not None:
        parts.append(f"FPR {figure['false_positive_rate']:.1%} of {figure['real']}")
    if not parts:
        return "The bundle gives no out-of-fold figure for it."
    return f"Out of fold, by its own record ({unit}): {', '.join(parts)}."


def _published(adapter: str) -> set[str]:
    return {f"published:{adapter}"} if adapter in PUBLISHED.values() else set()


def _keys(name: str) -> set[str]:
    """Return the keys of a data set's name; two names match if they share a key.

    Case and punctuation do not count. ``real/ffhq`` has a key for the whole name, one for ``ffhq``,
    and ``ffpp-c40`` also one for the published data set that its beginning names.
    """
    last = name.rstrip("/").rpartition("/")[2]
    keys = {_plain(name), _plain(last)} - {""}
    return keys | {f"published:{PUBLISHED[b]}" for b in _beginnings(last) if b in PUBLISHED}


def _beginnings(name: str) -> list[str]:
    """Return the beginnings of ``name`` that end with a word: celeb, celebdf, celebdfv2."""
    words = [_plain(word) for word in re.split(r"[\W_]+", name) if word]
    return ["".join(words[: count + 1]) for count in range(len(words))]


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())
