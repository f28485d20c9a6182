"""What page one of a report says of a ``verdict.json`` document; the console shows it too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deepfake_models.bundle.results import Leaning, Moment, ReasonCode, Track, VerdictCode
from deepfake_models.decision.fitness import Kind, Unfit, unfit_level
from deepfake_service.evidence.bundle.custody import found_by, told_finding
from deepfake_service.evidence.bundle.documents import PersonRates, Rate, VerdictDocument
from deepfake_service.evidence.bundle.signs import sign_lines
from deepfake_service.evidence.report.plots import value_note
from deepfake_service.evidence.report.reading import MAX_PEOPLE, Reading, value_of
from deepfake_service.platform import findings
from deepfake_service.platform.texts import formatting as fmt
from deepfake_service.platform.texts.characters import quoted
from deepfake_service.platform.texts.i18n import Words

WEAK = "#fef3c7"
COLOURS = {"0": WEAK, "1": WEAK, "2": "#fde2d4", "3": "#fbcdb5", "4": "#f8b898"}
"""Of an automatic verdict of manipulation, by its strength."""
NEUTRAL, FOUND, CLEARED = "#e2e8f0", "#fde2d4", "#dcfce7"
"""Of other automatic verdicts, and of what people found. Only people clear a file, in green."""
_GENERATED = "algorithmicmedia"
"""Part of the IPTC digital source types of media that an algorithm made, as a whole or in part."""
_RESEMBLED = 0.25
"""A kind with a smaller share is not named: one of four kinds has that by chance."""
CLASS_ACTIVATION = "class_activation"
"""The ``method.map`` of a model whose maps hold each cell's share of the logit."""
_OVERLAY_NOTES = {
    None: "overlay_missing",
    CLASS_ACTIVATION: "overlay_note",
    "direct_effect": "overlay_note_effects",
}
"""Key of the text on the overlays by ``method.map``; other methods get the most cautious one."""
_OPEN = (VerdictCode.INCONCLUSIVE, VerdictCode.NO_MANIPULATION_FOUND)
_FINDS_LITTLE = 0.25
"""Share of manipulated faces that are found, below which finding nothing means little."""
MAX_MOMENTS = 12
_FEW_GROUPS = 10
"""Groups below which a model is not fit for use."""


def _span(start_s: float, end_s: float, words: Words) -> str:
    """Return a span of time, or the moment if it starts and ends in the same tenth of a second."""
    start, end = fmt.tenths(start_s), fmt.tenths(end_s)
    return words("seconds", seconds=start if start == end else f"{start}–{end}")


def not_for_use(reasons: Iterable[Unfit], words: Words) -> list[str]:
    """Return a heading and the reasons not to use a model; empty if there are no ``reasons``."""
    lines = [
        words(
            f"unfit_{reason.code}_{reason.kind}",
            tpr=fmt.percent(reason.true_positive_rate),
            fpr=fmt.percent(reason.false_positive_rate_upper),
            groups=reason.groups,
            needed=reason.min_groups,
        )
        for reason in reasons
    ]
    return [words("unfit"), *lines] if lines else []


def resembled(kinds: Mapping[str, float], words: Words) -> str:
    """Return the names of the kinds that a face resembles most, without their shares: they compare
    the kinds with each other, and would be quoted as how certain the manipulation is."""
    ranked = sorted(kinds.items(), key=lambda kind: -kind[1])
    return ", ".join(words.of("manipulations", k) for k, share in ranked if share >= _RESEMBLED)


def question_key(kind: str | None) -> str:
    """Return the text that asks about media of a kind, or about a file that could not be read."""
    return {"image": "question_picture", None: "question_file"}.get(kind, "question_video")


def reasons_of_people(document: VerdictDocument) -> dict[str, list[str]]:
    """Return the codes of the reasons for each person's verdict, by the person's number."""
    return {
        str(track.track + 1): [
            reason.code
            for reason in track.reasons
            if reason.code is not ReasonCode.BETWEEN_THRESHOLDS  # the value itself says so
        ]
        for track in document.result.tracks
    }


def summary_of(r: Reading) -> dict[str, object]:
    """Return what page one says of a document, in the words of one language. What does not apply is
    ``None`` or an empty list."""
    w, method, tracks = r.words, r.document.method, r.result.tracks
    terms = w.of("terms_of_use", method.model.terms)
    more, colour = len(tracks) - MAX_PEOPLE, COLOURS[r.strength or "0"] if r.is_likely else NEUTRAL
    return {
        "not_for_use": _not_for_use(r),
        "concluded": _concluded(r),
        "question": w(question_key(r.kind)),
        "answer": _answer(r),
        "missed": _missed(r),
        "provenance": _provenance(r),
        "weak": colour == WEAK,
        "strength": _strength(r),
        "leaning": _leaning(r),
        "kinds": _kinds(r),
        "colour": colour,
        "reasons": [
            *_part(r),
            *_why_undecided(r),
            *(
                w.of("reason_texts", code)
                for code in dict.fromkeys(reason.code for reason in r.result.reasons)
            ),
        ],
        "rates": _rates(r),
        "examined": _examined(r),
        "not_examined": w("not_examined" if r.kind == "video" else "not_examined_picture"),
        "limits": [text.format(terms=terms) for text in w.list("limits")],
        "spread_note": value_note(r),
        "people": [_person(r, track) for track in r.people],
        "people_more": w("more", count=more) if more > 0 else None,
        "people_note": w("people_note") if tracks and not r.is_still else None,
        "reviews": _reviews(r),
        "overlay": r.is_likely and method.map is not None,
        "pictures_meaning": _pictures_meaning(r),
    }


def _pictures_meaning(r: Reading) -> str:
    """Return what the pictures of faces, their overlays and their values are."""
    of_map = r.document.method.map
    note = _OVERLAY_NOTES.get(of_map, "overlay_note_cells")
    keys = ["pictures_cut", note if r.is_likely or of_map is None else "overlay_none"]
    return " ".join(map(r.words, keys if r.is_still else [*keys, "pictures_values"]))


def _not_for_use(r: Reading) -> list[str]:
    kind: Kind = "picture" if r.is_still else "video"
    return not_for_use(unfit_level(kind, r.thresholds, r.calibration, _FEW_GROUPS), r.words)


def _concluded(r: Reading) -> dict[str, object] | None:
    """Return what people found, which leads; ``None`` if they have not decided."""
    w, finding = r.words, r.document.finding
    if finding not in findings.DECIDED:
        return None
    return {
        "label": w("concluded_label", count=len(found_by(finding, r.document.reviews))),
        "answer": w.of("concluded", finding),
        "lines": _review_lines(r),
        "colour": CLEARED if finding in findings.CLEARED else FOUND,
    }


def _answer(r: Reading) -> str:
    if not r.is_likely:
        return r.words.of("answers", r.result.verdict)
    return r.words.of("supports", "part" if r.is_part else r.strength or "0")


def _missed(r: Reading) -> str | None:
    """Return how often manipulated media get this verdict too, where it says that none was
    found."""
    if r.result.verdict is not VerdictCode.NO_MANIPULATION_FOUND or r.is_part:
        return None
    stated = r.document.error_rates.decision.stated_with_thresholds
    key = "missed_picture" if r.is_still else "missed_video"
    return r.words(key, count=max(1, round(100 * stated.miss_rate)))


def _provenance(r: Reading) -> str | None:
    """Return what the file's Content Credentials say of how it was made, if they do."""
    w, credentials = r.words, r.document.item.content_credentials
    sources = [action.source_type or "" for action in credentials.actions]
    generator = credentials.generator
    named = {
        "generator": quoted(generator) if generator else w("unnamed"),
        "state": w.of("credential_states", credentials.state),
    }
    if any(_GENERATED in source.lower() for source in sources):
        return w("credentials_generated", **named)
    return w("credentials_named", **named) if generator else None


def _strength(r: Reading) -> str | None:
    step, value = r.strength, r.result.log_likelihood_ratio
    if step is None or value is None:
        return None
    cap, times = fmt.ratio_text(10**r.calibration.limit), fmt.ratio_text(10**value)
    scale = r.words.of("scale", step)
    if times == cap:  # the value itself may lie beyond what the calibration supports
        return r.words("strength_most", verbal=scale, cap=cap)
    return r.words("strength", verbal=scale, times=times, cap=cap)


def _leaning(r: Reading) -> str | None:
    leaning, edges = r.result.leaning, r.thresholds.leaning
    if not leaning or not edges or r.result.verdict is not VerdictCode.INCONCLUSIVE or r.is_part:
        return None
    return r.words(f"leaning_{leaning}", **fmt.leaning_figures(edges))


def _kinds(r: Reading) -> str | None:
    kinds = r.result.kinds
    return r.words("kinds_line", kinds=resembled(kinds, r.words)) if kinds else None


def _verdict_of(r: Reading, track: Track) -> str:
    w, leaning, details = r.words, track.leaning, []
    is_open = track.verdict is VerdictCode.INCONCLUSIVE
    if is_open and leaning and leaning is not Leaning.NEITHER:
        details.append(w.of("leanings", leaning))
    if track.kinds:
        details.append(w("resembles", kinds=resembled(track.kinds, w)))
    text = w.of("verdicts", track.verdict)
    return f"{text} ({', '.join(details)})" if details else text


def _rates(r: Reading) -> list[str]:
    w, decision = r.words, r.document.error_rates.decision
    fpr, tpr = r.false_positive_rate, r.true_positive_rate
    if not fpr or not tpr:
        return [w("rates_unknown")]
    key = "rates_sources" if decision.unseen == "sources" else "rates"
    figures = _figures("fpr", fpr) | _figures("tpr", tpr)
    lines = [w(key, items=w(_measured_on(r)), **figures)]
    if decision.unseen == "unknown":
        lines.append(w("rates_trained_elsewhere"))
    if fpr.indicative or tpr.indicative:
        lines.append(w("rates_indicative"))
    return [*lines, *_rates_of_condition(r)]


def _figures(name: str, rate: Rate) -> dict[str, str]:
    return {
        name: fmt.percent(rate.value),
        f"{name}_low": fmt.percent(rate.low),
        f"{name}_high": fmt.percent(rate.high),
        f"{name}_samples": f"{rate.samples:,}",
        f"{name}_groups": f"{rate.groups:,}",
    }


def _measured_on(r: Reading) -> str:
    whole = r.document.error_rates.decision.of
    if r.is_still:
        return "items_still" if whole else "items_picture"
    return "items_whole" if whole else "items_video"


def interval(rate: Rate) -> str:
    """Format a measured rate with its 95% interval."""
    return f"{fmt.percent(rate.value)} [{fmt.percent(rate.low)}, {fmt.percent(rate.high)}]"


def _part(r: Reading) -> list[str]:
    """Return which part of a video was examined, if a person chose one, and that error rates do not
    apply to it."""
    w, job, media = r.words, r.document.job, r.media
    if job.within_s is None or media is None:
        return []
    sampled = r.result.frames.sampled
    key = "part_whole" if sampled < (job.frames or 0) else "part_spread"
    start, end = (fmt.tenths(min(at, media.duration_s or at)) for at in job.within_s)
    return [w("part", start=start, end=end, frames=w(key, frames=sampled))]


def _why_undecided(r: Reading) -> list[str]:
    """Return how many manipulated faces like this one the method finds at all, where it found none
    for certain; how many media, if faces like this one were not measured."""
    w, p = r.words, _most_suspect(r)
    if r.result.verdict not in _OPEN:
        return []
    if p and p.bin and (rate := p.true_positive_rate) and rate.value is not None:
        key = "why_sharp" if p.bin.sharpness else "why_size"
        why = w(key, px=f"{p.face_px:.0f}", tpr=interval(rate))
    else:
        rate = r.true_positive_rate
        if not rate or rate.value is None:
            return []
        why = w("why_general", items=w(_measured_on(r)), tpr=interval(rate))
    notes = ["why_little"] * (rate.value < _FINDS_LITTLE)
    notes += ["rates_indicative"] * bool(rate.indicative)
    return [" ".join([why, *map(w, notes)])]


def _most_suspect(r: Reading) -> PersonRates | None:
    """Return the rates by condition of the person with the highest value, of the people who count
    for the verdict and have such rates."""
    values = {t.track: value_of(t) for t in r.result.tracks if t.track not in r.refused}
    people = [p for p in r.document.error_rates.people if p.bin and p.track in values]
    return max(people, key=lambda p: values[p.track], default=None)


def _rates_of_condition(r: Reading) -> list[str]:
    """Return the rates measured on faces like those of the person with the highest value."""
    w, p = r.words, _most_suspect(r)
    if p is None:
        return []
    fpr, tpr = p.false_positive_rate, p.true_positive_rate
    if not fpr or not tpr or None in (fpr.value, tpr.value):
        return [w("rates_bin_unknown", person=p.track + 1)]
    line = w(
        "rates_bin_sharp" if p.bin and p.bin.sharpness else "rates_bin",
        person=p.track + 1,
        fpr=interval(fpr),
        tpr=interval(tpr),
    )
    few = fpr.indicative or tpr.indicative
    return [f"{line} {w('rates_indicative')}" if few else line]


def _examined(r: Reading) -> str:
    w, media, counts = r.words, r.media, r.result.frames
    if not media:
        return w("examined_nothing")
    if r.is_still:
        return w("examined_picture", width=media.width, height=media.height)
    examined = w(
        "examined_video",
        decoded=counts.sampled - counts.failed,
        frames=media.frames,
        duration=fmt.tenths(media.duration_s),
        with_face=counts.with_face,
        gap=fmt.tenths(counts.longest_gap_s),
    )
    if len({face.time_s for face in r.document.exact.faces}) > counts.with_face:
        examined = f"{examined} {w('examined_repeated')}"
    failed = counts.failed
    return f"{examined} {w('examined_failed', failed=failed)}" if failed else examined


def _person(r: Reading, track: Track) -> dict[str, str]:
    return {
        "number": str(track.track + 1),
        "verdict": _verdict_of(r, track),
        "llr": fmt.signed(track.log_likelihood_ratio),
        "seen": _span(track.first_s, track.last_s, r.words),
        "faces": f"{track.faces} ({track.judged})",
        "moments": _moments(r, track.moments),
    }


def _moments(r: Reading, moments: Sequence[Moment]) -> str:
    if not moments:
        return r.words("moments_none")
    spans = [_span(m.start_s, m.end_s, r.words) for m in moments[:MAX_MOMENTS]]
    if len(moments) > MAX_MOMENTS:
        spans.append(r.words("more_stated", count=len(moments) - MAX_MOMENTS))
    return ", ".join(spans)


def _reviews(r: Reading) -> list[str]:
    """Return the reviews where they do not lead, and what they come to."""
    w, finding, reviews = r.words, r.document.finding, r.document.reviews
    if finding in findings.DECIDED:
        return []
    if not reviews:
        return [w("review_none")]
    lines = _review_lines(r)
    if finding:
        finding = told_finding(finding, reviews)
        lines.append(w("finding", finding=w.of("findings", finding)))
    return lines


def _review_lines(r: Reading) -> list[str]:
    w, lines = r.words, []
    for review in r.document.reviews:
        told = {
            "date": fmt.to_the_second(review.at, w.language),
            "name": review.name,
            "role": w.of("roles", review.role),
            "decision": w.of("findings", review.decision),
        }
        lines.append(w("review_line", **told))
        if review.pictures_withheld:
            lines.append(w("review_without_pictures"))
        lines += [f"{w('review_sign')}: {line}" for line in sign_lines(review.signs, w)]
        if review.reason != "":
            reason = quoted(review.reason) if review.reason else w("review_reason_left_out")
            lines.append(f"{w('review_reason')}: {reason}")
    return lines
