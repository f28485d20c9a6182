"""The model card, filled from measured figures alone (Mitchell et al. 2019, arXiv:1810.03993)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepfake_training.config import Config
from deepfake_training.evaluate.crossvalidate import METHODS

_SOURCES = (
    (("FaceForensics++",), "FaceForensics++ (c23)",
     "FaceForensics++ terms of use: non-commercial research, no redistribution"),
    (("real/film",), "faces of film, talk shows and interviews (the real half of MesoNet's set)",
     "none stated"),
    (("real/portrait", "photoshop/portrait"),
     'Kaggle "real and fake face": portraits and Photoshop composites', "the page's own"),
    (("real/ffhq",), "FFHQ", "CC BY-NC-SA 4.0"),
    (("real/celebrity", "real/kpop"),
     "press and web photographs of celebrities and K-pop artists", "none stated"),
    (("real/politicians", "synthetic/flux-lora"),
     "photographs of politicians; FLUX.1-dev pictures with a LoRA a person",
     "MIT (their repositories)"),
    (("synthetic/portrait-generator",), "portraits by a generator of the StyleGAN family",
     "none stated"),
    (("pairs/", "reenactment/"),
     "swaps and reenactments published by their methods' repositories and pages", "each its own"),
)  # fmt: skip
"""Of the collection that the shipped weights are fitted on: data sets by how their names begin,
what they are, and their terms. Of others, a manifest says nothing."""


def model_card(
    config: Config,
    fields: dict[str, Any],
    reliability: dict[str, Any],
    metrics: dict[str, Any],
    *,
    cross_validation: Path | None = None,
) -> str:
    """Write the card of a bundle with the manifest ``fields``.

    ``metrics`` is what ``deepfake_eval.analysis.summary.summarise`` says of the held-out media, and
    ``cross_validation`` the folder of the runs that they were scored by, if there were several.
    """
    training = fields["training"]
    lines = [
        f"# Model card: {fields['name']} {fields['version']}",
        "",
        f"Terms: **{fields['terms']}**.{_research(fields['terms'])}",
        "",
        "## What it does",
        "",
        f"{_networks(config, training)} on a {config.bundle.input.width} px square crop, "
        f"{config.bundle.crop.scale} times the face box, gives one logit a face: higher = more "
        "probably manipulated (swapped, reenacted or synthesised). It says nothing on consent, on "
        "who made it, or on anything outside the face. A score is not proof.",
        "",
        "Faces are averaged over time into one value a person (track); an item's likelihood ratio "
        "is the mean of its tracks', so one suspect among n people needs evidence n times as "
        "strong. Each level has its calibration.",
        "",
        "## Fitted on",
        "",
        _partition(config, training, crossed=cross_validation is not None),
        "",
        *_sources(training["train"]),
        "| source (label) | crops | media | groups | held out: media | groups |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    train, held = training["train"], training["held_out"]
    for name in sorted({*train, *held}):
        a, b = train.get(name, {}), held.get(name, {})
        lines.append(
            f"| {name} | {a.get('crops', 0)} | {a.get('media', 0)} | {a.get('groups', 0)} "
            f"| {b.get('media', 0)} | {b.get('groups', 0)} |"
        )
    lines += ["", "## Decision thresholds, measured on held-out material", ""]
    lines += [
        "| level | likely_manipulated at log10 LR | false positives (95% up to) | found | "
        "no_manipulation_found below | manipulated below it |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for level, t in fields["thresholds"].items():
        lines.append(
            f"| {level} | {t['likely_manipulated']:+.2f} | {t['false_positive_rate']:.1%} "
            f"({t['false_positive_rate_upper']:.1%}) | {t['true_positive_rate']:.1%} "
            f"| {t['no_manipulation_found']:+.2f} | {t['miss_rate']:.1%} |"
        )
    lines += [
        "",
        "The thresholds were placed on the same held-out material on which they are measured here, "
        "so the first column is what was asked for; the bound in brackets is what to rely on.",
        "",
        "## Pictures and videos, by manipulation method",
        "",
        "Through the serving path, with the thresholds above. AUC is against the untouched media "
        "of the same source where there are any, else against all real media.",
        "",
        *_item_table(metrics),
        "",
        "## Real pictures and videos, by source",
        "",
        *_real_table(metrics),
    ]
    if cross_validation and (table := cross_validation / METHODS).exists():
        lines += [
            "",
            "## Methods and sources never seen",
            "",
            "AUC by medium of runs that learnt nothing of the method, nor of its whole source, "
            f"beside runs that learnt from other people's fakes of it.{_shorter(config)}",
            "",
            table.read_text(encoding="utf-8").rstrip(),
        ]
    for level, title in (("level_track", "Videos, by track"), ("level_face", "Single faces")):
        lines += ["", f"## {title}, by source", "", *_source_table(reliability[level])]
    lines += ["", "## Single faces, by face width", "", *_width_table(reliability["level_face"])]
    lines += [
        "",
        "## Limits",
        "",
        "- Methods, tools and people that were not in the fit are found less often than those that "
        "were: the figures above are for unseen people of *seen* methods.",
        "- Figures marked * rest on fewer than ten groups and are indicative.",
        "- Manipulation of a few seconds in a long video is diluted by the mean over time. Moments "
        f"of {config.bundle.aggregation.min_track_faces} examined faces and more that look "
        "manipulated keep the item from `no_manipulation_found`, no more.",
        "- People are followed by where their faces are, not by who they are: one person is "
        "several tracks over scene cuts, and two people who take the same place without a cut are "
        "one.",
        "- Profile, covered, heavily made-up or filtered faces are scarce in the fit.",
        f"- Faces narrower than {config.bundle.crop.min_face_px} px are not judged.",
        "",
    ]
    return "\n".join(lines)


def _shorter(config: Config) -> str:
    left_out = config.cross_validation.leave_out_steps
    if left_out == config.fit.steps:
        return ""
    return f" The left-out column is of shorter runs ({left_out} steps, not {config.fit.steps})."


def _estimate(entry: dict[str, Any] | None) -> str:
    if entry is None or entry["value"] is None:
        return "–"
    star = "*" if entry.get("indicative", entry["groups"] < 10) else ""
    low, high = entry["low"], entry["high"]
    span = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return f"{entry['value']:.2f}{star}{span}"


def _source_table(level: dict[str, Any]) -> list[str]:
    rows = [
        "| source | method | n | groups | called manipulated | AUC |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for e in level["by_source"]:
        r = e["false_positive_rate"] if e["label"] == "real" else e["true_positive_rate"]
        rows.append(
            f"| {e['dataset']} | {e['method']} ({e['label']}) | {r['samples']} | {r['groups']} "
            f"| {_estimate(r)} | {_estimate(e.get('auc'))} |"
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
            f"| {span} | {_estimate(e['false_positive_rate'])} "
            f"| {_estimate(e['true_positive_rate'])} | {_estimate(e.get('auc'))} |"
        )
    return rows


def _research(terms: str) -> str:
    if terms != "research-only":
        return ""
    return (
        " The weights were fitted on data that is licensed for non-commercial research. A deployer "
        "trains on data it holds rights to: "
        "`deepfake-train run --config CONFIG --manifest MANIFEST.csv --out DIR`."
    )


def _sources(train: dict[str, Any]) -> list[str]:
    """What is known of the data sets that were learnt from, where something is."""
    rows = [
        f"| {what} | {terms} |"
        for begins, what, terms in _SOURCES
        if any(name.startswith(begins) for name in train)
    ]
    return ["| source | terms |", "| --- | --- |", *rows, ""] if rows else []


def _networks(config: Config, training: dict[str, Any]) -> str:
    count, name = len(training.get("members", ())), f"`{config.backbone.name}`"
    if blocks := config.backbone.blocks:
        name = (
            f"{name}, of which a linear layer reads the class tokens of blocks "
            f"{', '.join(map(str, blocks))} (after RINE, Koutlis and Papadopoulos 2024, "
            "arXiv:2402.19091),"
        )
    if config.backbone.tune == "head":
        name += " with nothing but that last layer fitted here,"
    elif config.backbone.tune == "norm":
        start = f" from block {first} on" if (first := config.backbone.tune_from) > 1 else ""
        name += f" with its normalisation layers{start} and the last layer fitted here,"
    if count > 1:
        name = (
            f"The mean of the logits of {count} {name} (deep ensembles, Lakshminarayanan et al. "
            "2017, arXiv:1612.01474)"
        )
    return f"{name}, on the face and on its mirror image," if config.bundle.mirrored else name


def _partition(config: Config, training: dict[str, Any], *, crossed: bool) -> str:
    if not crossed:
        folds = ", ".join(map(str, config.validation_folds))
        fits = [m["fit"] for m in training.get("members", ())] or [config.fit.model_dump()]
        chosen = sum(f["validate_every"] < f["steps"] for f in fits)
        whose = "The checkpoint" if len(fits) == 1 else f"The checkpoint of {chosen} of the runs"
        hopeful = (
            f" {whose} was chosen on the held-out folds, on which it is measured too, so the "
            "figures are on the hopeful side."
        )
        return (
            f"Folds other than {folds} of a grouped partition; no person, film or identity pair is "
            f"on both sides.{hopeful if chosen else ''}"
        )
    parts = len(config.cross_validation.folds)
    if config.cross_validation.average:
        return (
            "Everything below. Every figure is out of fold: each medium was scored by weights that "
            f"learnt nothing of its group, at their last step. {parts} runs held out a part of the "
            "people, films and identity pairs each, and their weights were averaged with those of "
            "the run that held out the same part and some methods besides (uniform soups, Wortsman "
            "et al. 2022, arXiv:2203.05482). The weights in this bundle are the average of two "
            "such runs on everything, which itself was measured on nothing."
        )
    return (
        f"Everything below. Every figure is out of fold: {parts} runs of the same recipe each held "
        "out a part of the people, films and identity pairs, and each medium was scored by the run "
        "that saw none of its group, at its last step. The weights in this bundle are those of a "
        "further run on all of it, which itself was measured on nothing."
    )


def _item_table(metrics: dict[str, Any]) -> list[str]:
    found = {
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
        rate = found[e["dataset"], e["name"]]
        rows.append(
            f"| {e['dataset']} | {e['name']} | {rate['samples']} | {rate['groups']} "
            f"| {_estimate({**e['auc'], 'indicative': e['indicative']})} | {_estimate(rate)} |"
        )
    return rows


def _real_table(metrics: dict[str, Any]) -> list[str]:
    rows = [
        "| source | scored | groups | called manipulated | cleared | decided |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    covered = {
        (e["scope"], e["label"], e.get("dataset"), e["name"]): e for e in metrics["coverage"]
    }
    for e in metrics["operating_point"]:
        if e["label"] != "real":
            continue
        rate = e["false_positive_rate"]
        key = (e["scope"], e["label"], e.get("dataset"), e["name"])
        decided = covered[key]["decided_rate"]
        rows.append(
            f"| {e.get('dataset', 'all')} | {rate['samples']} | {rate['groups']} "
            f"| {_estimate(rate)} | {_estimate(e['cleared_rate'])} | {_estimate(decided)} |"
        )
    return rows
