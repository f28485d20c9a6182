"""Find measured data sets that a bundle's weights were fitted on.

A bundle records the data sets that it was fitted on by name and not by medium. Matching is
therefore by name: other media of the same data set are marked too, and a data set under an
unrelated name is not recognised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from deepfake_models.bundle.bundle import Bundle

PUBLISHED: Final[dict[str, str]] = {
    "ffpp": "ffpp", "faceforensics": "ffpp", "ff": "ffpp", "dfd": "dfd",
    "deepfakedetection": "dfd", "celebdf": "celebdf", "dfdc": "dfdc", "dfdcp": "dfdcp",
    "deeperforensics": "deeperforensics", "wilddeepfake": "wilddeepfake", "df40": "df40",
    "kodf": "kodf",
}  # fmt: skip
"""Adapters by the names of their data sets, as ``_beginnings`` gives them."""


def mark_training_sources(
    facts: Iterable[Mapping[str, Any]], bundle: Bundle
) -> list[dict[str, Any]]:
    """Return ``facts`` with ``in_sample`` and ``training_sources`` added to each data set.

    ``facts`` are those of ``LoadedDataset.facts``. ``training_sources`` has an entry for each
    training source of ``bundle`` that a measured name matches: ``dataset`` (the measured name) and
    ``source`` (the name in the bundle).
    """
    sources = training_sources(bundle)
    marked = []
    for entry in facts:
        matches = [
            {"dataset": name, "source": source}
            for name in entry["names"]
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


def in_sample_warnings(datasets: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a paragraph for each measured data set that the weights were fitted on."""
    warnings = []
    for entry in datasets:
        for match in entry.get("training_sources", ()):
            name = match["dataset"]
            if match["source"] != name:
                name += f" ({match['source']} in the bundle)"
            warnings.append(
                f"In-sample: {name} is a training source of this bundle. Figures on media that "
                "the weights were fitted on say nothing about other media. Compare with the "
                "figures in the bundle's model card, which are of people held out."
            )
    return warnings


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
