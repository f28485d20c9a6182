"""What page one of a report says of a ``verdict.json`` document; the console shows it too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from deepfake_models.bundle.results import Leaning, ReasonCode, VerdictCode
from deepfake_models.bundle.spec import Calibration, LevelThresholds
from deepfake_models.decision.fitness import Unfit, unfit_level
from deepfake_service.evidence.report.reading import MAX_PEOPLE, Reading
from deepfake_service.evidence.report.value_plot import value_note
from deepfake_service.platform.texts.formatting import (
    interval,
    leaning_figures,
    percent,
    ratio_text,
    signed,
    tenths,
    to_the_second,
    told_finding,
    verbal,
)
from deepfake_service.platform.texts.i18n import Words

COLOURS = {
    "likely_manipulated": "#fde2d4",
    "no_manipulation_found": "#dcfce7",
}
NEUTRAL = "#e2e8f0"
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


@dataclass(frozen=True, slots=True)
class Person:
    """A person in the media, as a row of a table."""

    number: str
    verdict: str
    llr: str
    seen: str
    faces: str
    moments: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What page one says of an examination, in the words of one language."""

    not_for_use: list[str]
    """Why the model decides nothing on material of this kind; empty if it does."""
    question: str
    answer: str
    strength: str | None
    leaning: str | None
    """Which way an inconclusive value leans, and how often such values are wrong."""
    kinds: str | None
    """Which kinds of manipulation the most suspect person resembles."""
    colour: str
    reasons: list[str]
    rates: list[str]
    examined: str
    not_examined: str
    limits: list[str]
    spread_note: str | None
    """Where the value lies among those of measured media."""
    people: list[Person]
    people_more: str | None
    """How many people the tables leave out; ``None`` if they list everybody."""
    people_note: str | None
    """How people are numbered in a video."""
    reviews: list[str]
    """The reviewers' decisions and reasons, and the finding that they amount to."""
    pictures_meaning: str
    """What the red of the overlays means, which depends on the model."""


def summary_of(reading: Reading) -> Summary:
    """Return the summary of a ``verdict.json`` document."""
    return _Writer(reading).summary()


class _Writer:
    def __init__(self, reading: Reading) -> None:
        self._r = reading
        self._d, self._w = reading.document, reading.words
        self._result, self._media = reading.result, reading.media
        levels = self._d["method"]["calibration"]
        self._calibration: dict[str, Any] = levels["face" if reading.is_still else "item"]

    def summary(self) -> Summary:
        d, w, verdict, tracks = self._d, self._w, self._result["verdict"], self._result["tracks"]
        terms = w.of("terms_of_use", d["method"]["model"]["terms"])
        kind = self._media["kind"] if self._media else None
        more = len(tracks) - MAX_PEOPLE
        meaning = _PICTURES_NOTES.get(d["method"]["map"], "pictures_note_cells")
        return Summary(
            not_for_use=self._not_for_use(),
            question=w(question_key(kind)),
            answer=w.of("answers", verdict),
            strength=self._strength(),
            leaning=self._leaning(),
            kinds=self._kinds(),
            colour=COLOURS.get(verdict, NEUTRAL),
            reasons=[
                w.of("reason_texts", code)
                for code in dict.fromkeys(r["code"] for r in self._result["reasons"])
            ],
            rates=self._rates(),
            examined=self._examined(),
            not_examined=w("not_examined" if kind == "video" else "not_examined_picture"),
            limits=[text.format(terms=terms) for text in w.list("limits")],
            spread_note=value_note(d, w),
            people=[self._person(track) for track in self._r.people],
            people_more=w("more", count=more) if more > 0 else None,
            people_note=w("people_note") if tracks and not self._r.is_still else None,
            reviews=self._reviews(),
            pictures_meaning=w(meaning),
        )

    def _not_for_use(self) -> list[str]:
        reasons = unfit_level(
            "picture" if self._r.is_still else "video",
            LevelThresholds.model_validate(self._r.thresholds),
            Calibration.model_validate(self._calibration),
            _FEW_GROUPS,
        )
        return not_for_use(reasons, self._w)

    def _strength(self) -> str | None:
        ratio = self._result["log_likelihood_ratio"]
        if ratio is None:
            return None
        side = "strength_for" if ratio >= 0 else "strength_against"
        cap = ratio_text(10 ** self._calibration["limit"])
        times = ratio_text(10 ** abs(ratio))
        scale = self._w.of("scale", verbal(ratio))
        if times == cap:  # the value itself may lie beyond what the calibration supports
            return self._w(f"{side}_most", verbal=scale, cap=cap)
        return self._w(side, verbal=scale, times=times, cap=cap)

    def _leaning(self) -> str | None:
        leaning, edges = self._result.get("leaning"), self._r.thresholds.get("leaning")
        if not leaning or not edges or self._result["verdict"] != VerdictCode.INCONCLUSIVE:
            return None
        return self._w(f"leaning_{leaning}", **leaning_figures(edges))

    def _kinds(self) -> str | None:
        kinds = self._result.get("kinds")
        if not kinds:
            return None
        ranked = sorted(kinds.items(), key=lambda kind: -kind[1])
        return self._w("kinds_line", kinds=", ".join(self._share(*kind) for kind in ranked))

    def _share(self, kind: str, share: float) -> str:
        return f"{self._w.of('manipulations', kind)} {share:.0%}"

    def _verdict_of(self, track: dict[str, Any]) -> str:
        """Return a person's verdict, which way it leans, and the kind that it resembles most."""
        w, verdict = self._w, track["verdict"]
        details = []
        leaning = track.get("leaning")
        if verdict == VerdictCode.INCONCLUSIVE and leaning not in (None, Leaning.NEITHER):
            details.append(w.of("leanings", leaning))
        kinds = track.get("kinds")
        if kinds:
            details.append(self._share(*max(kinds.items(), key=lambda kind: kind[1])))
        text = w.of("verdicts", verdict)
        return f"{text} ({', '.join(details)})" if details else text

    def _rates(self) -> list[str]:
        w, decision = self._w, self._d["error_rates"]["decision"]
        fpr, tpr = decision["false_positive_rate"], decision["true_positive_rate"]
        if not fpr or not tpr:
            return [w("rates_unknown")]
        lines = [
            w(
                "rates",
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
        """Return the key of the noun for what the error rates were measured on."""
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

    def _person(self, track: dict[str, Any]) -> Person:
        return Person(
            number=str(track["track"] + 1),
            verdict=self._verdict_of(track),
            llr=signed(track["log_likelihood_ratio"]),
            seen=_span(track["first_s"], track["last_s"], self._w),
            faces=f"{track['faces']} ({track['judged']})",
            moments=self._moments(track["moments"]),
        )

    def _moments(self, moments: list[dict[str, Any]]) -> str:
        if not moments:
            return self._w("moments_none")
        spans = [_span(m["start_s"], m["end_s"], self._w) for m in moments[:MAX_MOMENTS]]
        if len(moments) > MAX_MOMENTS:
            spans.append(self._w("more_stated", count=len(moments) - MAX_MOMENTS))
        return ", ".join(spans)

    def _reviews(self) -> list[str]:
        w = self._w
        if not self._d["reviews"]:
            return [w("review_none")]
        lines = []
        for r in self._d["reviews"]:
            decision, role = w.of("findings", r["decision"]), w.of("roles", r["role"])
            date = to_the_second(r["at"], w.language)
            lines.append(w("review_line", date=date, name=r["name"], role=role, decision=decision))
            if r["reason"]:
                lines.append(f"{w('review_reason')}: {r['reason']}")
        if self._d["finding"]:
            finding = told_finding(self._d["finding"], self._d["reviews"])
            lines.append(w("finding", finding=w.of("findings", finding)))
        return lines
