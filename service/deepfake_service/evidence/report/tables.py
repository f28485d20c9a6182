"""The tables for experts of a ``verdict.json`` document in one language."""

from __future__ import annotations

import re

from deepfake_service.evidence.bundle.documents import Condition, Custody, Rate
from deepfake_service.evidence.report.reading import Reading
from deepfake_service.evidence.report.summary import interval, resembled
from deepfake_service.platform.texts.characters import quoted
from deepfake_service.platform.texts.formatting import (
    attributed,
    leaning_figures,
    percent,
    signed,
    tenths,
)

MAX_STATED_OCCURRENCES = 100
MAX_FIRST_CUSTODY, MAX_LAST_CUSTODY = 40, 40
_REQUESTER = re.compile(r"(?P<name>.*) \((?P<kind>person|system), (?P<role>\w+)\)")

Rows = list[list[str]]
"""Cells by row; of a table of facts, a label and a value."""


def tables_of(r: Reading) -> dict[str, object]:
    """Return the tables of a document, and how much ``..._more`` they leave out."""
    d, w = r.document, r.words
    face, item = d.method.thresholds.face.likely_manipulated, r.thresholds.likely_manipulated
    places = len(d.occurrences) - MAX_STATED_OCCURRENCES
    return {
        "item": _item(r),
        "finding": _finding(r),
        "method": _method(r),
        "signs": _signs(r),
        "occurrences": _occurrences(r),
        "occurrences_more": w("more_stated", count=places) if places > 0 else None,
        "conditions": _conditions(r),
        "rates_note": w("rates_note", face=signed(face), item=signed(item, r.decimals)),
    }


def _requester(r: Reading, requester: str) -> str:
    """Translate the kind and role in ``NAME (KIND, ROLE)``, as editions record it."""
    match = _REQUESTER.fullmatch(requester)
    if match is None:
        return requester
    kind, role = r.words.of("kinds", match["kind"]), r.words.of("roles", match["role"])
    return f"{match['name']} ({kind}, {role})"


def _item(r: Reading) -> Rows:
    w, d, item, media = r.words, r.document, r.document.item, r.media
    rows = [[w("job"), f"{d.job.id} · {w('case')} {d.case.id}"]]
    rows += [
        [w("requester"), _requester(r, d.job.requester)],
        [w("sha256"), item.sha256],
        [w("size"), w("bytes", count=f"{item.size:,}")],
        [w("mime"), item.mime or w("none")],
    ]
    if media:
        rows.append([w("dimensions"), f"{media.width} × {media.height}"])
        if not r.is_still:
            rows.append([w("duration"), w("seconds", seconds=tenths(media.duration_s))])
            rows.append([w("frame_count"), str(media.frames)])
    rows += [
        [w("credentials"), _credentials(r)],
        [w("perceptual"), _perceptual(r)],
        [w("submitted"), r.time(d.job.submitted_at)],
        [w("finished"), r.time(d.job.examined_at)],
    ]
    if d.sandbox:
        layers = ", ".join(d.sandbox.missing)
        found = w("sandbox_incomplete", layers=layers) if layers else w("sandbox_complete")
        rows.append([w("sandbox"), found])
    if d.predecessor:
        rows.append([w("predecessor"), d.predecessor])
    return rows


def _signs(r: Reading) -> Rows:
    """Return what each kind of trace came to, with its own error rates; most were not examined."""
    w, false, true = r.words, r.false_positive_rate, r.true_positive_rate
    rates = w("not_measured")
    if false and true and None not in (false.value, true.value):
        rates = w("signs_rates", fpr=interval(false), tpr=interval(true))
    others = ["signs_metadata", "signs_whole", "signs_body", *["signs_speech"] * (not r.is_still)]
    return [
        [w("signs_faces"), w.of("verdicts", r.result.verdict), rates],
        [w("credentials"), _credentials(r), w("signs_claim")],
        *([w(name), w("signs_unexamined"), "–"] for name in others),
    ]


def _credentials(r: Reading) -> str:
    w, credentials = r.words, r.document.item.content_credentials
    parts = [w.of("credential_states", credentials.state)]
    if credentials.reason:
        parts.append(w.stored(credentials.reason))
    claims = [credentials.issuer, credentials.generator]
    claims += [a.source_type or a.action for a in credentials.actions]
    return " · ".join([*parts, *(quoted(claim) for claim in claims if claim)])


def _perceptual(r: Reading) -> str:
    w, hashes = r.words, r.document.item.perceptual
    if not hashes.frames:
        return w.stored(hashes.reason) if hashes.reason else w("none")
    if r.is_still:
        return w("perceptual_picture")
    return w("perceptual_line", count=hashes.frames, interval=tenths(hashes.interval_s))


def _occurrences(r: Reading) -> list[Rows]:
    w = r.words

    return [
        [
            [w(label), attributed(name, text, o.claimed, w)]
            for name, label, text in (
                ("source_url", "occurrences", o.source_url),
                ("platform", "platform", o.platform),
                ("account", "account", o.account),
                ("captured_at", "captured", o.captured_at and r.time(o.captured_at)),
                ("collector_name", "collector", o.collector_name),
                ("tool", "tool", o.tool and w.of("tools", o.tool)),
            )
            if text
        ]
        + ([[w("screenshot"), w("kept")]] if o.screenshot else [])
        for o in r.document.occurrences[:MAX_STATED_OCCURRENCES]
        if o.source_url or o.platform or o.account or o.captured_at
    ]


def _finding(r: Reading) -> Rows:
    w, result = r.words, r.result
    rows = [[w("verdict"), w.of("verdicts", result.verdict)]]
    ratio, step = result.log_likelihood_ratio, r.strength
    if ratio is None:
        rows.append([w("llr"), w("llr_none")])
    elif r.is_part:
        rows.append([w("llr"), signed(ratio, r.decimals)])
    elif step is None:
        rows.append([w("llr"), w("llr_ranks", value=signed(ratio, r.decimals))])
    else:
        prior = f"{r.document.method.prior:g}"
        rows += [
            [w("llr"), signed(ratio, r.decimals)],
            [w("verbal"), w.of("scale", step)],
            [w("score"), w("score_line", score=f"{result.score:.4f}", prior=prior)],
        ]
    if result.leaning:
        rows.append([w("leaning"), w.of("leanings", result.leaning)])
    if result.kinds:
        rows.append([w("manipulation"), resembled(result.kinds, w)])
    for reason in result.reasons:
        # The detail, with its figures, is in English alone.
        english = w.language == "en"
        text = reason.detail if english else w.of("reason_texts", reason.code)
        rows.append([w("reasons"), text])
    return rows


def _conditions(r: Reading) -> Rows:
    w = r.words
    listed = {track.track for track in r.people}
    return [
        [
            str(p.track + 1),
            f"{p.face_px:.0f} px, {p.sharpness:.1f}",
            _bin(r, p.bin) if p.bin else w("not_measured"),
            _rate(r, p.false_positive_rate, refused=p.track in r.refused),
            _rate(r, p.true_positive_rate, refused=p.track in r.refused),
        ]
        for p in r.document.error_rates.people
        if p.track in listed
    ]


def _bin(r: Reading, condition: Condition) -> str:
    w, (low, high) = r.words, condition.face_px
    if high is None:
        width = w("bin_px_open", low=f"{low:g}")
    else:
        width = w("bin_px", low=f"{low:g}", high=f"{high:g}")
    if condition.sharpness is None:
        return f"{width} {w('bin_by_width')}"
    blurred, sharp = condition.sharpness
    edges = f"≥ {blurred:g}" if sharp is None else f"{blurred:g}–{sharp:g}"
    return f"{width}, {edges}"


def _rate(r: Reading, rate: Rate | None, *, refused: bool) -> str:
    if not rate or rate.value is None:
        return r.words("not_measured")
    if refused:
        return r.words("rate_unused", groups=f"{rate.groups:,}")
    return ("*" if rate.indicative else "") + r.words(
        "rate",
        value=percent(rate.value),
        low=percent(rate.low),
        high=percent(rate.high),
        samples=f"{rate.samples:,}",
        groups=f"{rate.groups:,}",
    )


def _method(r: Reading) -> Rows:
    w, m, rates = r.words, r.document.method, r.document.error_rates
    scored = max(sum(t.log_likelihood_ratio is not None for t in r.result.tracks), 1)
    calibration, model, edges = rates.calibration, m.model, r.thresholds.leaning
    scales = [m.crop.scale, *m.crop.further_scales]
    leaning = [[w("leaning"), w("leaning_edges", **leaning_figures(edges))]] if edges else []
    return [
        [w("model"), w("model_line", name=model.name, version=model.version)],
        [w("model_sha256"), model.sha256],
        *([[w("origin"), quoted(model.origin)]] if model.origin else []),
        [w("terms"), w.of("terms_of_use", model.terms)],
        [w("detector"), w("detector_line", thresholds=" / ".join(
            f"{t:g}" for t in m.detector.thresholds))],
        [w("crop"), w("crop_line", scale=" / ".join(map(str, scales)), size=m.crop.size,
                      resample=m.crop.resample)],
        [w("rule"), w("rule_picture", people=scored) if r.is_still else
                    w("rule_video", people=scored,
                      min_faces=m.aggregation.min_track_faces)],
        [w("thresholds"), w("thresholds_line",
                            high=signed(rates.likely_manipulated_from, r.decimals),
                            low=signed(rates.no_manipulation_found_below, r.decimals),
                            samples=f"{calibration.samples:,}",
                            groups=f"{calibration.groups:,}")],
        *leaning,
        [w("versions"), ", ".join(f"{k} {v}" for k, v in sorted(m.software.items()))],
    ]  # fmt: skip


def custody_of(r: Reading, custody: Custody) -> dict[str, object]:
    """Return the table of a chain of custody: how the item came in, and what happened last."""
    w, entries, accounts = r.words, custody.entries, custody.accounts
    if len(entries) > MAX_FIRST_CUSTODY + MAX_LAST_CUSTODY:
        entries = entries[:MAX_FIRST_CUSTODY] + entries[-MAX_LAST_CUSTODY:]
    omitted = custody.omitted.count if custody.omitted else 0
    more = len(custody.entries) + omitted - len(entries)
    return {
        "custody": [
            [
                str(entry.number),
                r.time(entry.at),
                accounts[entry.account].name if entry.account in accounts else w("service"),
                w.of("actions", entry.action)
                + (f" ({w.of('details', entry.detail)})" if entry.detail else ""),
            ]
            for entry in entries
        ],
        "custody_more": w("custody_more", count=more) if more > 0 else None,
    }
