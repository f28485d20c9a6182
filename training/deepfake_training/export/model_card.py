"""The model card (Mitchell et al. 2019, arXiv:1810.03993), written from measured figures only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepfake_training.config import CardConfig, Config
from deepfake_training.export.outcomes import Outcomes, shown

_NEVER_SEEN = "Methods and sources never seen"


def model_card(
    config: Config,
    fields: dict[str, Any],
    reliability: dict[str, Any],
    metrics: dict[str, Any],
    *,
    methods: Path | None = None,
    outcomes: Outcomes | None = None,
) -> str:
    """Return the text of the card of a bundle with the manifest ``fields``.

    ``metrics`` are the figures of ``deepfake_eval.analysis.summary.summarise`` on the held-out
    media. ``methods`` is the table of the cross-validation that scored them (which need not exist),
    or None if the exported run scored its own held-out folds. ``outcomes`` are the named kinds
    and the methods apart, if any.
    """
    training = fields["training"]
    lines = [
        f"# Model card: {fields['name']} {fields['version']}",
        "",
        f"Terms: **{fields['terms']}**.{_research(fields['terms'])}",
        "",
        "## What it does",
        "",
        f"{_network(config)} Its input is {_squares(config)}. It gives one logit per face: the "
        "higher, the more probably the face was swapped, reenacted or synthesised. It says nothing "
        "about consent, about the author, or about anything outside the face. A score is not "
        "proof.",
        "",
        "Faces are averaged over time into one value per person (track). An item's likelihood "
        "ratio is the mean of those of its tracks, so one suspect among n people needs evidence n "
        "times as strong. Each level has its own calibration.",
        "",
        "## Fitted on",
        "",
        _partition(config, crossed=methods is not None),
        "",
        *_manifests(training.get("manifests", [])),
        *_sources(config.card, training["train"]),
        *_terms(config.card, training["train"]),
        *_counts(training["train"], training["held_out"]),
    ]
    lines += ["", "## Decision thresholds, measured on held-out material", ""]
    lines += [
        "| level | likely_manipulated at log10 LR | false positives (95% up to) | found | "
        "no_manipulation_found below | manipulated below it |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    thresholds = {level: t for level, t in fields["thresholds"].items() if t}
    for level, t in thresholds.items():
        lines.append(
            f"| {level} | {t['likely_manipulated']:+.2f} | {t['false_positive_rate']:.1%} "
            f"({t['false_positive_rate_upper']:.1%}) | {t['true_positive_rate']:.1%} "
            f"| {t['no_manipulation_found']:+.2f} | {t['miss_rate']:.1%} |"
        )
    lines += [
        "",
        "The thresholds were chosen on the same held-out material on which they are measured here. "
        "The false positive rate is therefore the requested one; rely on the bound in brackets.",
        "",
        *_leaning(thresholds),
        *_kinds(fields.get("kinds", ()), outcomes),
        "## Pictures and videos, by manipulation method",
        "",
        "Measured through the serving path, with the thresholds above. AUC is against the "
        "untouched media of the same source where they exist, otherwise against all real media.",
        "",
        *_item_table(metrics),
        "",
        "## Real pictures and videos, by source",
        "",
        *_real_table(metrics),
    ]
    if outcomes and (apart := outcomes.apart_lines()):
        lines += [
            "",
            "## Retouching, apart",
            "",
            "Faces that were retouched, restored or made up. They have a small weight in the fit "
            "and no influence on thresholds or on the figures above.",
            "",
            *apart,
        ]
    if methods and methods.exists():
        lines += [
            "",
            f"## {_NEVER_SEEN}",
            "",
            "AUC by medium of runs that saw neither the method nor anything from its source, "
            "beside runs that learnt the method from fakes of other people.",
            "",
            methods.read_text(encoding="utf-8").rstrip(),
        ]
    for level, title in (("level_track", "Videos, by track"), ("level_face", "Single faces")):
        lines += ["", f"## {title}, by source", "", *_source_table(reliability[level])]
    lines += ["", "## Single faces, by face width", "", *_width_table(reliability["level_face"])]
    lines += [
        "",
        "## Limits",
        "",
        "- Methods, tools and people that are not in the training data are detected less often. "
        f"{_unseen(methods)}",
        f"- Figures marked * rest on fewer than {fields['conditions']['min_groups']} groups and "
        "are indicative.",
        "- The mean over time dilutes a manipulation of a few seconds in a long video. A moment of "
        f"at least {config.bundle.aggregation.min_track_faces} examined faces that look "
        "manipulated only prevents the verdict `no_manipulation_found`.",
        "- People are tracked by the position of their faces, not by identity: one person becomes "
        "several tracks across scene cuts, and two people in the same place without a cut become "
        "one.",
        "- Errors on faces in profile, covered, heavily made-up or filtered are not measured "
        "separately.",
        f"- Faces narrower than {config.bundle.crop.min_face_px} px are not judged.",
        "",
    ]
    return "\n".join(lines)


def _unseen(methods: Path | None) -> str:
    """Return which figures are for methods that were learnt from."""
    figures = "figures were measured on people who were not learnt from, but on methods that were."
    if methods and methods.exists():
        return f"Apart from the table “{_NEVER_SEEN}”, all {figures}"
    return f"All {figures}"


def _squares(config: Config) -> str:
    size, scales = (
        config.bundle.input.width,
        [config.bundle.crop.scale, *config.bundle.crop.further_scales],
    )
    if len(scales) == 1:
        return f"a square crop of {size} px, cut at {scales[0]} times the face box"
    sides = " and ".join(str(scale) for scale in scales)
    return f"square crops of {size} px, cut at {sides} times the face box"


def _leaning(thresholds: dict[str, Any]) -> list[str]:
    """Return the table of the edges by which an inconclusive value leans; empty without edges."""
    rows = [
        f"| {level} | {edges['towards_manipulated']:+.2f} "
        f"| {edges['false_positive_rate']:.1%} ({edges['false_positive_rate_upper']:.1%}) "
        f"| {edges['true_positive_rate']:.1%} | {edges['towards_untouched']:+.2f} "
        f"| {edges['miss_rate']:.1%} | {edges['true_negative_rate']:.1%} |"
        for level, t in thresholds.items()
        if (edges := t.get("leaning"))
    ]
    if not rows:
        return []
    return [
        "An inconclusive value leans one way where it is beyond an edge. This ranks what to look "
        "at first, and proves nothing.",
        "",
        "| level | leans towards manipulated from log10 LR | real media there or above (95% up "
        "to) | manipulated there or above | towards untouched below | manipulated below it | real "
        "media below it |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *rows,
        "",
    ]


def _kinds(kinds: Sequence[str], outcomes: Outcomes | None) -> list[str]:
    if not outcomes or not (table := outcomes.kind_lines(list(kinds))):
        return []
    return [
        "## Kinds of manipulation",
        "",
        "Held-out manipulated media that are called manipulated or lean towards it, by the kind "
        "with the largest share. The kind has no influence on the verdict.",
        "",
        *table,
    ]


def _source_table(level: dict[str, Any]) -> list[str]:
    rows = [
        "| source | method | n | groups | called manipulated | AUC |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for e in level["by_source"]:
        r = e["false_positive_rate"] if e["label"] == "real" else e["true_positive_rate"]
        rows.append(
            f"| {e['dataset']} | {e['method']} ({e['label']}) | {r['samples']} | {r['groups']} "
            f"| {shown(r)} | {shown(e.get('auc'))} |"
        )
    return rows


def _width_table(level: dict[str, Any]) -> list[str]:
    rows = [
        "| face width, px | false positives | found | AUC |",
        "| --- | ---: | ---: | ---: |",
    ]
    for e in level["by_face_width"]:
        low, high = e["face_px"]
        span = f"{low:.0f} and more" if high is None else f"{low:.0f} to {high:.0f}"
        rows.append(
            f"| {span} | {shown(e['false_positive_rate'])} "
            f"| {shown(e['true_positive_rate'])} | {shown(e.get('auc'))} |"
        )
    return rows


def _research(terms: str) -> str:
    if terms != "research-only":
        return ""
    return (
        " The weights were fitted on data licensed for non-commercial research. To deploy, train "
        "on data to which you hold the rights: "
        "`deepfake-train run --config CONFIG --manifest MANIFEST.csv --out DIR`."
    )


def _sources(card: CardConfig, train: dict[str, Any]) -> list[str]:
    """Return the table of the sources that were learnt from; empty if the config describes none."""
    rows = [
        f"| {source.description} | {source.terms} |"
        for source in card.sources
        if any(name.startswith(source.datasets) for name in train)
    ]
    return ["| source | terms |", "| --- | --- |", *rows, ""] if rows else []


def _manifests(manifests: list[dict[str, Any]]) -> list[str]:
    """Return a line about each manifest; empty for none."""
    rows = [f"| {_cell(m['name'])} | {m['rows']} | `{m['sha256']}` |" for m in manifests]
    return ["| manifest | rows | SHA-256 |", "| --- | ---: | --- |", *rows, ""] if rows else []


def _terms(card: CardConfig, train: dict[str, Any]) -> list[str]:
    """Return the table of the terms that the manifests give, and the data sets without any."""
    rows = [
        f"| {name} | {_cell(terms)} | {media} |"
        for name, counts in sorted(train.items())
        for terms, media in counts.get("terms", {}).items()
    ]
    described = tuple(name for source in card.sources for name in source.datasets)
    without = [
        name
        for name, counts in sorted(train.items())
        if not counts.get("terms") and not (described and name.startswith(described))
    ]
    lines = []
    if rows:
        lines += ["| source (label) | terms in the manifest | media |", "| --- | --- | ---: |"]
        lines += [*rows, ""]
    if without:
        lines += [f"Without terms in the manifest or the config: {', '.join(without)}.", ""]
    return lines


def _counts(train: dict[str, Any], held: dict[str, Any]) -> list[str]:
    """Return the table of crops, media and groups by source, with those that the run held out, if
    it held any out."""
    columns = ["source (label)", "crops", "media", "groups"]
    columns += ["held out: media", "groups"] if held else []
    lines = [f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 1)]
    for name in sorted({*train, *held}):
        a, b = train.get(name, {}), held.get(name, {})
        cells = [a.get(count, 0) for count in ("crops", "media", "groups")]
        cells += [b.get(count, 0) for count in ("media", "groups")] if held else []
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return lines


def _cell(text: str) -> str:
    """Return ``text`` for one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _network(config: Config) -> str:
    """Return the sentences that name the network and what of it was fitted."""
    name, blocks = f"`{config.backbone.name}`", config.backbone.blocks
    several = bool(config.bundle.crop.further_scales or config.probe.kinds)
    layer, reads = ("Linear layers", "read") if several else ("A linear layer", "reads")
    tokens = (
        f"the class tokens of blocks {', '.join(map(str, blocks))} (after RINE, Koutlis and "
        "Papadopoulos 2024, arXiv:2402.19091)"
    )
    if config.backbone.tune == "head":
        parts = "parts" if several else "part"
        return (
            f"The network is a frozen {name}. {layer}, the only {parts} fitted here, {reads} "
            f"{tokens}."
        )
    reading = f" {layer} at its end {reads} {tokens}." if blocks else ""
    if config.backbone.tune == "norm":
        fitted = "Only its normalisation layers and its last layer were fitted here."
    else:
        fitted = "All of its weights were fitted here."
    return f"The network is {name}.{reading} {fitted}"


def _partition(config: Config, *, crossed: bool) -> str:
    if not crossed:
        folds = ", ".join(map(str, config.validation_folds))
        text = (
            f"All folds except {folds} of a grouped partition: no person, film or identity pair is "
            "on both sides."
        )
        if config.fit.validate_every < config.fit.steps:
            text += (
                " The checkpoint was chosen on the same held-out folds on which it is measured, so "
                "the figures are optimistic."
            )
        return text
    parts = len(config.cross_validation.folds)
    return (
        f"Everything below. Every figure is out of fold: {parts} runs of the same recipe each held "
        "out a part of the people, films and identity pairs, and each medium was scored by the run "
        f"that saw none of its group, at its last step.{_shared(config)} The weights in this "
        "bundle are those of a further run on all data, which itself was measured on nothing."
    )


def _shared(config: Config) -> str:
    """Return what the runs of all folds have in common although it was measured on crops of all."""
    if config.bundle.arithmetic != "int8":
        return ""
    return (
        " All runs share the network in 8-bit arithmetic, whose smoothing factors, outlier "
        "channels and ranges were measured on crops of all folds, without their labels."
    )


def _item_table(metrics: dict[str, Any]) -> list[str]:
    rates = {
        (e["dataset"], e["name"]): e["true_positive_rate"]
        for e in metrics["operating_point"]
        if e["label"] == "fake" and e["scope"] != "all"
    }
    rows = [
        "| source | method | n | groups | AUC | called manipulated |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for e in metrics["levels"]["item"]:
        if e["scope"] != "method":
            continue
        rate = rates[e["dataset"], e["name"]]
        rows.append(
            f"| {e['dataset']} | {e['name']} | {rate['samples']} | {rate['groups']} "
            f"| {shown({**e['auc'], 'indicative': e['indicative']})} | {shown(rate)} |"
        )
    return rows


def _real_table(metrics: dict[str, Any]) -> list[str]:
    rows = [
        "| source | scored | groups | called manipulated | cleared | decided |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    coverage = {
        (e["scope"], e["label"], e.get("dataset"), e["name"]): e for e in metrics["coverage"]
    }
    for e in metrics["operating_point"]:
        if e["label"] != "real":
            continue
        rate = e["false_positive_rate"]
        key = (e["scope"], e["label"], e.get("dataset"), e["name"])
        decided = coverage[key]["decided_rate"]
        rows.append(
            f"| {e.get('dataset', 'all')} | {rate['samples']} | {rate['groups']} "
            f"| {shown(rate)} | {shown(e['cleared_rate'])} | {shown(decided)} |"
        )
    return rows
