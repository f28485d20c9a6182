"""What page one of a report says of a ``verdict.json`` document; the console shows it too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deepfake_models.bundle.results import Leaning, ReasonCode, VerdictCode
from deepfake_models.bundle.spec import Calibration, LevelThresholds
from deepfake_models.decision.fitness import Unfit, unfit_level
from deepfake_service.evidence.report.plots import value_note
from deepfake_service.platform.texts.characters import quoted, readable, with_texts
from deepfake_service.platform.texts.formatting import (
    DECIDED,
    REJECTED,
    interval,
    leaning_figures,
    percent,
    ratio_text,
    signed,
    strength_of,
    tenths,
    to_the_second,
    told_finding,
)
from deepfake_service.platform.texts.i18n import Words

NO_CUSTODY: Mapping[str, Any] = {"accounts": {}, "entries": []}
MAX_PEOPLE = 60
"""People listed, those with the highest values; ``verdict.json`` has all."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A document with what all parts of its report ask of it."""

    document: dict[str, Any]
    """With texts of unknown origin, as names, in a form that can be shown."""
    custody: Mapping[str, Any]
    """Its chain of custody, likewise."""
    words: Words
    result: dict[str, Any]
    media: dict[str, Any] | None
    is_still: bool
    is_video: bool
    """Whether times within the file mean anything."""
    thresholds: dict[str, Any]
    """Those that decided on the item."""
    people: list[dict[str, Any]]
    """The tracks that tables list, in order of appearance."""
    refused: frozenset[int]
    """The tracks that were not decided on, because too few people like them were measured. The
    rates measured on faces like theirs are no part of the verdict, and are not stated."""


def read(
    document: dict[str, Any], words: Words, custody: Mapping[str, Any] = NO_CUSTODY
) -> Reading:
    """Return what the parts of a report in the language of ``words`` ask of a document."""
    document, custody = with_texts([document, custody], readable)
    result, media = document["result"], document["result"]["media"]
    is_still = bool(media) and media["kind"] == "image"
    return Reading(
        document,
        custody,
        words,
        result,
        media,
        is_still,
        bool(media) and not is_still,
        thresholds_of(document),
        _listed(result["tracks"]),
        frozenset(
            track["track"]
            for track in result["tracks"]
            if any(r["code"] == ReasonCode.UNMEASURED_CONDITION for r in track["reasons"])
        ),
    )


def thresholds_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the thresholds that decided on the item of a ``verdict.json`` document."""
    levels: dict[str, dict[str, Any]] = document["method"]["thresholds"]
    media = document["result"]["media"]
    if not media or media["kind"] != "image":
        return levels["item"]
    return levels.get("picture") or levels["face"]


def _listed(tracks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ranked = sorted(
        tracks,
        key=lambda t: -math.inf if t["log_likelihood_ratio"] is None else t["log_likelihood_ratio"],
        reverse=True,
    )
    return sorted(ranked[:MAX_PEOPLE], key=lambda t: t["track"])


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
_PICTURES_NOTES = {CLASS_ACTIVATION: "pictures_note", "direct_effect": "pictures_note_effects"}
"""Key of the text on the overlays by ``method.map``; other methods get the most cautious one."""
MAX_MOMENTS = 12
_FEW_GROUPS = 10
"""Groups below which a model is not fit for use."""


def _span(start_s: float, end_s: float, words: Words) -> str:
    """Return a span of time, or the moment if it starts and ends in the same tenth of a second."""
    start, end = tenths(start_s), tenths(end_s)
    return words("seconds", seconds=start if start == end else f"{start}–{end}")


def not_for_use(reasons: Iterable[Unfit], words: Words) -> list[str]:
    """Return a heading and the reasons not to use a model; empty if there are no ``reasons``."""
    lines = [
        words(
            f"unfit_{reason.code}_{reason.kind}",
            tpr=percent(reason.true_positive_rate),
            fpr=percent(reason.false_positive_rate_upper),
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


def reasons_of_people(document: dict[str, Any]) -> dict[str, list[str]]:
    """Return the codes of the reasons for each person's verdict, by the person's number."""
    return {
        str(track["track"] + 1): [
            reason["code"]
            for reason in track["reasons"]
            if reason["code"] != ReasonCode.BETWEEN_THRESHOLDS  # the value itself says so
        ]
        for track in document["result"]["tracks"]
    }


def summary_of(reading: Reading) -> dict[str, Any]:
    """Return what page one says of a ``verdict.json`` document, in the words of one language. What
    does not apply is ``None`` or an empty list."""
    return _Writer(reading).summary()


class _Writer:
    def __init__(self, reading: Reading) -> None:
        self._r = reading
        self._d, self._w = reading.document, reading.words
        self._result, self._media = reading.result, reading.media
        levels = self._d["method"]["calibration"]
        self._calibration: dict[str, Any] = levels["face" if reading.is_still else "item"]

    def summary(self) -> dict[str, Any]:
        d, w, tracks = self._d, self._w, self._result["tracks"]
        terms = w.of("terms_of_use", d["method"]["model"]["terms"])
        kind = self._media["kind"] if self._media else None
        more = len(tracks) - MAX_PEOPLE
        meaning = _PICTURES_NOTES.get(d["method"]["map"], "pictures_note_cells")
        return {
            "not_for_use": self._not_for_use(),
            "concluded": self._concluded(),
            "question": w(question_key(kind)),
            "answer": self._answer(),
            "missed": self._missed(),
            "provenance": self._provenance(),
            "weak": self._colour() == WEAK,
            "strength": self._strength(),
            "leaning": self._leaning(),
            "kinds": self._kinds(),
            "colour": self._colour(),
            "reasons": [
                w.of("reason_texts", code)
                for code in dict.fromkeys(r["code"] for r in self._result["reasons"])
            ],
            "rates": self._rates(),
            "examined": self._examined(),
            "not_examined": w("not_examined" if kind == "video" else "not_examined_picture"),
            "limits": [text.format(terms=terms) for text in w.list("limits")],
            "spread_note": value_note(d, w),
            "people": [self._person(track) for track in self._r.people],
            "people_more": w("more", count=more) if more > 0 else None,
            "people_note": w("people_note") if tracks and not self._r.is_still else None,
            "reviews": self._reviews(),
            "pictures_meaning": w(meaning),
        }

    def _not_for_use(self) -> list[str]:
        reasons = unfit_level(
            "picture" if self._r.is_still else "video",
            LevelThresholds.model_validate(self._r.thresholds),
            Calibration.model_validate(self._calibration),
            _FEW_GROUPS,
        )
        return not_for_use(reasons, self._w)

    def _concluded(self) -> dict[str, Any] | None:
        """Return what people found, which leads; ``None`` if they have not decided."""
        w, finding = self._w, self._d["finding"]
        if finding not in DECIDED:
            return None
        people = {review["account"] for review in self._d["reviews"]}
        return {
            "label": w("concluded_label", count=len(people)),
            "answer": w.of("concluded", finding),
            "lines": self._review_lines(),
            "colour": CLEARED if finding == REJECTED else FOUND,
        }

    def _answer(self) -> str:
        verdict = self._result["verdict"]
        if verdict != VerdictCode.LIKELY_MANIPULATED:
            return self._w.of("answers", verdict)
        return self._w.of("supports", strength_of(self._result) or "0")

    def _colour(self) -> str:
        if self._result["verdict"] != VerdictCode.LIKELY_MANIPULATED:
            return NEUTRAL
        return COLOURS[strength_of(self._result) or "0"]

    def _missed(self) -> str | None:
        """Return how often manipulated media get this verdict too, where it says that none was
        found."""
        if self._result["verdict"] != VerdictCode.NO_MANIPULATION_FOUND:
            return None
        stated = self._d["error_rates"]["decision"]["stated_with_thresholds"]
        key = "missed_picture" if self._r.is_still else "missed_video"
        return self._w(key, count=max(1, round(100 * stated["miss_rate"])))

    def _provenance(self) -> str | None:
        """Return what the file's Content Credentials say of how it was made, if they do."""
        w, credentials = self._w, self._d["item"]["content_credentials"]
        sources = [action["source_type"] or "" for action in credentials.get("actions") or []]
        generator = credentials.get("generator")
        named = {
            "generator": quoted(generator) if generator else w("unnamed"),
            "state": w.of("credential_states", credentials["state"]),
        }
        if any(_GENERATED in source.lower() for source in sources):
            return w("credentials_generated", **named)
        return w("credentials_named", **named) if generator else None

    def _strength(self) -> str | None:
        step = strength_of(self._result)
        if step is None:
            return None
        cap = ratio_text(10 ** self._calibration["limit"])
        times = ratio_text(10 ** self._result["log_likelihood_ratio"])
        scale = self._w.of("scale", step)
        if times == cap:  # the value itself may lie beyond what the calibration supports
            return self._w("strength_most", verbal=scale, cap=cap)
        return self._w("strength", verbal=scale, times=times, cap=cap)

    def _leaning(self) -> str | None:
        leaning, edges = self._result.get("leaning"), self._r.thresholds.get("leaning")
        if not leaning or not edges or self._result["verdict"] != VerdictCode.INCONCLUSIVE:
            return None
        return self._w(f"leaning_{leaning}", **leaning_figures(edges))

    def _kinds(self) -> str | None:
        kinds = self._result.get("kinds")
        return self._w("kinds_line", kinds=resembled(kinds, self._w)) if kinds else None

    def _verdict_of(self, track: dict[str, Any]) -> str:
        w, verdict = self._w, track["verdict"]
        details = []
        leaning = track.get("leaning")
        if verdict == VerdictCode.INCONCLUSIVE and leaning not in (None, Leaning.NEITHER):
            details.append(w.of("leanings", leaning))
        if track.get("kinds"):
            details.append(f"{w('manipulation')}: {resembled(track['kinds'], w)}")
        text = w.of("verdicts", verdict)
        return f"{text} ({', '.join(details)})" if details else text

    def _rates(self) -> list[str]:
        w, decision = self._w, self._d["error_rates"]["decision"]
        fpr, tpr = decision["false_positive_rate"], decision["true_positive_rate"]
        if not fpr or not tpr:
            return [w("rates_unknown")]
        lines = [
            w(
                "rates_sources" if decision["unseen"] == "sources" else "rates",
                items=w(self._measured_on()),
                fpr=percent(fpr["value"]), fpr_low=percent(fpr["low"]),
                fpr_high=percent(fpr["high"]), fpr_samples=f"{fpr['samples']:,}",
                fpr_groups=f"{fpr['groups']:,}",
                tpr=percent(tpr["value"]), tpr_low=percent(tpr["low"]),
                tpr_high=percent(tpr["high"]), tpr_samples=f"{tpr['samples']:,}",
                tpr_groups=f"{tpr['groups']:,}",
            )
        ]  # fmt: skip
        if fpr["indicative"] or tpr["indicative"]:
            lines.append(w("rates_indicative"))
        return [*lines, *self._rates_of_condition()]

    def _measured_on(self) -> str:
        whole = "of" in self._d["error_rates"]["decision"]
        if self._r.is_still:
            return "items_still" if whole else "items_picture"
        return "items_whole" if whole else "items_video"

    def _rates_of_condition(self) -> list[str]:
        """Return the rates measured on faces like those of the person with the highest value, of
        the people who count for the verdict."""
        w = self._w
        tracks = {
            t["track"]: t for t in self._result["tracks"] if t["track"] not in self._r.refused
        }
        people = [p for p in self._d["error_rates"]["people"] if p["bin"] and p["track"] in tracks]
        if not people:
            return []
        p = max(people, key=lambda p: tracks[p["track"]]["log_likelihood_ratio"])
        measured = (p["false_positive_rate"], p["true_positive_rate"])
        if any(rate["value"] is None for rate in measured):
            return [w("rates_bin_unknown", person=p["track"] + 1)]
        line = w(
            "rates_bin_sharp" if "sharpness" in p["bin"] else "rates_bin",
            person=p["track"] + 1,
            fpr=interval(p["false_positive_rate"]),
            tpr=interval(p["true_positive_rate"]),
        )
        few = any(rate["indicative"] for rate in measured)
        return [f"{line} {w('rates_indicative')}" if few else line]

    def _examined(self) -> str:
        w, media, counts = self._w, self._media, self._result["frames"]
        if not media:
            return w("examined_nothing")
        if self._r.is_still:
            return w("examined_picture", width=media["width"], height=media["height"])
        examined = w(
            "examined_video",
            decoded=counts["sampled"] - counts["failed"],
            frames=media["frames"],
            duration=tenths(media["duration_s"]),
            with_face=counts["with_face"],
            gap=tenths(counts["longest_gap_s"]),
        )
        failed = counts["failed"]
        return f"{examined} {w('examined_failed', failed=failed)}" if failed else examined

    def _person(self, track: dict[str, Any]) -> dict[str, str]:
        return {
            "number": str(track["track"] + 1),
            "verdict": self._verdict_of(track),
            "llr": signed(track["log_likelihood_ratio"]),
            "seen": _span(track["first_s"], track["last_s"], self._w),
            "faces": f"{track['faces']} ({track['judged']})",
            "moments": self._moments(track["moments"]),
        }

    def _moments(self, moments: list[dict[str, Any]]) -> str:
        if not moments:
            return self._w("moments_none")
        spans = [_span(m["start_s"], m["end_s"], self._w) for m in moments[:MAX_MOMENTS]]
        if len(moments) > MAX_MOMENTS:
            spans.append(self._w("more_stated", count=len(moments) - MAX_MOMENTS))
        return ", ".join(spans)

    def _reviews(self) -> list[str]:
        """Return the reviews where they do not lead, and what they come to."""
        w = self._w
        if self._d["finding"] in DECIDED:
            return []
        if not self._d["reviews"]:
            return [w("review_none")]
        lines = self._review_lines()
        if self._d["finding"]:
            finding = told_finding(self._d["finding"], self._d["reviews"])
            lines.append(w("finding", finding=w.of("findings", finding)))
        return lines

    def _review_lines(self) -> list[str]:
        w, lines = self._w, []
        for r in self._d["reviews"]:
            decision, role = w.of("findings", r["decision"]), w.of("roles", r["role"])
            date = to_the_second(r["at"], w.language)
            lines.append(w("review_line", date=date, name=r["name"], role=role, decision=decision))
            if r["reason"]:
                lines.append(f"{w('review_reason')}: {r['reason']}")
        return lines
