"""The summary of a ``verdict.json`` document in one language, for the report and the console."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from deepfake_models.bundle.results import Leaning, ReasonCode, VerdictCode
from deepfake_models.bundle.spec import Calibration, LevelThresholds
from deepfake_models.decision.fitness import Unfit, unfit_level
from deepfake_service.documents.formatting import (
    interval,
    layered,
    percent,
    ratio_text,
    signed,
    tenths,
    to_the_second,
    told_finding,
    verbal,
)
from deepfake_service.documents.i18n import Words
from deepfake_service.documents.organisation import Organisation
from deepfake_service.documents.timeline import timeline
from deepfake_service.documents.typesetting import readable
from deepfake_service.documents.value_plot import value_plot

COLOURS = {
    "likely_manipulated": "#fde2d4",
    "no_manipulation_found": "#dcfce7",
}
NEUTRAL = "#e2e8f0"
CLASS_ACTIVATION = "class_activation"
"""The ``method.map`` of a model whose maps hold each cell's share of the logit. It is assumed of
model bundles that do not name their method."""
_PICTURES_NOTES = {CLASS_ACTIVATION: "pictures_note", "direct_effect": "pictures_note_effects"}
"""Key of the text on the overlays by ``method.map``; other methods get the most cautious one."""
MAX_MOMENTS = 12
MAX_PEOPLE = 60
"""People listed, those with the highest values; ``verdict.json`` has all."""
_FEW_GROUPS = 10
"""Groups below which a rate is indicative, for measurements that do not say so themselves."""


def is_indicative(rate: dict[str, Any]) -> bool:
    """Return whether a rate rests on too few groups of people to say much.

    The measurement says so itself, by the ``min_groups`` of its model bundle; those made before it
    did are marked here.
    """
    marked = rate.get("indicative")
    return rate["groups"] < _FEW_GROUPS if marked is None else bool(marked)


def is_refused(track: dict[str, Any]) -> bool:
    """Return whether a person was not decided on, because too few people like them were measured.

    The rates measured on faces like theirs are then no part of the verdict, and are not stated.
    """
    return any(r["code"] == ReasonCode.UNMEASURED_CONDITION for r in track["reasons"])


def _span(start_s: float, end_s: float, words: Words) -> str:
    """Return a span of time, or the moment if it starts and ends in the same tenth of a second."""
    start, end = tenths(start_s), tenths(end_s)
    return words("seconds", seconds=start if start == end else f"{start}–{end}")


def listed_people(tracks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tracks that tables list, those with the highest values, in order of appearance."""
    ranked = sorted(
        tracks,
        key=lambda t: -math.inf if t["log_likelihood_ratio"] is None else t["log_likelihood_ratio"],
        reverse=True,
    )
    return sorted(ranked[:MAX_PEOPLE], key=lambda t: t["track"])


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


def thresholds_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the thresholds that decided on the item of a ``verdict.json`` document."""
    levels: dict[str, dict[str, Any]] = document["method"]["thresholds"]
    media = document["result"]["media"]
    if not media or media["kind"] != "image":
        return levels["item"]
    return levels.get("picture") or levels["face"]


def question_key(kind: str | None) -> str:
    """Return the text that asks about media of a kind, or about a file that could not be read."""
    return {"image": "question_picture", None: "question_file"}.get(kind, "question_video")


class SummaryPresenter:
    """What page one and the pictures show of a ``verdict.json`` document, in one language."""

    def __init__(self, document: dict[str, Any], words: Words) -> None:
        self._d = document
        self._w = words
        self._result = document["result"]
        self._media = self._result["media"]
        self._still = bool(self._media) and self._media["kind"] == "image"
        self.is_video = bool(self._media) and not self._still
        """Whether times within the file mean anything."""

    def heading(self) -> dict[str, Any]:
        """Return the report's title, subtitle, footer and issuer."""
        d, w = self._d, self._w
        organisation = d.get("organisation", {})
        name = readable(Organisation(**organisation).name(w.language) or d["issuer"])
        created = to_the_second(d["created_at"], w.language)
        return {
            "title": w("title"),
            "issuer": readable(d["issuer"]),
            "subtitle": w("subtitle", edition=d["edition"], date=created),
            "case": readable(d["case"]["reference"] or d["case"]["id"]),
            "item": f"SHA-256 {d['item']['sha256'][:16]}…",
            "footer": f"{name} · {d['job']['id']} · {d['edition']}",
            "issued": w("issuer", issuer=name),
            "reached_at": [
                [w(f"organisation_{key}"), readable(value)]
                for key in ("address", "contact", "phone", "email")
                if (value := organisation.get(key))
            ],
        }

    def page_one(self) -> dict[str, Any]:
        """Return the question, the answer and its reasons, the error rates and the limitations."""
        w, verdict = self._w, self._result["verdict"]
        codes = dict.fromkeys(r["code"] for r in self._result["reasons"])
        terms = readable(w.of("terms_of_use", self._d["method"]["model"]["terms"]))
        kind = self._media["kind"] if self._media else None
        return {
            "not_for_use": self._not_for_use(),
            "question": w(question_key(kind)),
            "answer": w.of("answers", verdict),
            "strength": self._strength(),
            "leaning": self._leaning(),
            "kinds": self._kinds(),
            "colour": COLOURS.get(verdict, NEUTRAL),
            "reasons": [w.of("reason_texts", code) for code in codes],
            "rates": self._rates(),
            "examined": self._examined(),
            "not_examined": w(
                "not_examined_picture" if kind in ("image", None) else "not_examined"
            ),
            "limits": [text.format(terms=terms) for text in w.list("limits")],
        }

    def _not_for_use(self) -> list[str]:
        """Return why the model decides nothing on material of this kind; empty if it does."""
        method = self._d["method"]
        reasons = unfit_level(
            "picture" if self._still else "video",
            LevelThresholds.model_validate(thresholds_of(self._d)),
            Calibration.model_validate(method["calibration"]["face" if self._still else "item"]),
            _FEW_GROUPS,
        )
        return not_for_use(reasons, self._w)

    def _strength(self) -> str | None:
        ratio = self._result["log_likelihood_ratio"]
        if ratio is None:
            return None
        limit = self._d["method"]["calibration"]["face" if self._still else "item"]["limit"]
        side = "strength_for" if ratio >= 0 else "strength_against"
        cap = ratio_text(10**limit)
        times = ratio_text(10 ** abs(ratio))
        scale = self._w.of("scale", verbal(ratio))
        if times == cap:  # the value itself may lie beyond what the calibration supports
            return self._w(f"{side}_most", verbal=scale, cap=cap)
        return self._w(side, verbal=scale, times=times, cap=cap)

    def _leaning(self) -> str | None:
        """Return which way an inconclusive value leans, and how often such values are wrong."""
        leaning, edges = self._result.get("leaning"), thresholds_of(self._d).get("leaning")
        if not leaning or not edges or self._result["verdict"] != VerdictCode.INCONCLUSIVE:
            return None
        return self._w(
            f"leaning_{leaning}",
            fpr=percent(edges["false_positive_rate"]),
            fpr_upper=percent(edges["false_positive_rate_upper"]),
            tpr=percent(edges["true_positive_rate"]),
            miss=percent(edges["miss_rate"]),
            tnr=percent(edges["true_negative_rate"]),
        )

    def _kinds(self) -> str | None:
        """Return which kinds of manipulation the most suspect person resembles."""
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
        if is_indicative(fpr) or is_indicative(tpr):
            lines.append(w("rates_indicative"))
        return [*lines, *self._rates_of_condition()]

    def _measured_on(self) -> str:
        """Return the key of the noun for what the error rates were measured on."""
        whole = "of" in self._d["error_rates"]["decision"]
        if self._still:
            return "items_still" if whole else "items_picture"
        return "items_whole" if whole else "items_video"

    def _rates_of_condition(self) -> list[str]:
        """Return the rates measured on faces like those of the person with the highest value, of
        the people who count for the verdict."""
        w = self._w
        tracks = {t["track"]: t for t in self._result["tracks"] if not is_refused(t)}
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
        few = any(is_indicative(rate) for rate in measured)
        return [f"{line} {w('rates_indicative')}" if few else line]

    def _examined(self) -> str:
        w, media, counts = self._w, self._media, self._result["frames"]
        if not media:
            return w("examined_nothing")
        if self._still:
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

    def pictures(self, files_: Mapping[str, bytes]) -> list[dict[str, str]]:
        """Return the pictures that are in ``files_``, by falling value, each with its overlay."""
        faces = self._d["exact"]["faces"]
        shown = [p for p in self._d["pictures"] if p["crop"] in files_]
        return [
            {
                "plain": layered(files_[p["crop"]]),
                "heat": layered(files_[p["crop"]], files_[p["heatmap"]]),
                "line": self._w(
                    "picture_line" if self.is_video else "still_line",
                    time=tenths(faces[p["face"]]["time_s"]),
                    person=faces[p["face"]]["track"] + 1,
                    llr=signed(p["log_likelihood_ratio"]),
                ),
                "alt": f"{self._w('person')} {faces[p['face']]['track'] + 1}",
            }
            for p in sorted(shown, key=lambda p: (-p["log_likelihood_ratio"], p["number"]))
        ]

    def pictures_note(self, files_: Mapping[str, bytes]) -> str | None:
        """Return why there are no pictures; ``None`` if ``files_`` has some."""
        if self._d["case"]["minor"]:
            return self._w("pictures_withheld")
        if not self._d["pictures"]:
            return self._w("pictures_none")
        if any(p["crop"] in files_ for p in self._d["pictures"]):
            return None
        return self._w("pictures_left_out", edition=self._d["edition"])

    def pictures_meaning(self) -> str:
        """Return what the red of the overlays means, which depends on the model."""
        method = self._d["method"].get("map", CLASS_ACTIVATION)
        return self._w(_PICTURES_NOTES.get(method, "pictures_note_cells"))

    def timeline(self) -> str:
        """Return the timeline as an SVG."""
        return timeline(self._result, self._d["exact"]["faces"], self._d["examined_s"], self._w)

    def spread(self, width: str = "720") -> str | None:
        """Return where the value lies among measured media as an SVG; ``None`` if the model bundle
        has no histogram of them."""
        return value_plot(self._d, thresholds_of(self._d), self._w, width=width)

    def people(self) -> list[dict[str, str]]:
        """Return a row for each person listed."""
        return [
            {
                "number": str(t["track"] + 1),
                "verdict": self._verdict_of(t),
                "llr": signed(t["log_likelihood_ratio"]),
                "seen": _span(t["first_s"], t["last_s"], self._w),
                "faces": f"{t['faces']} ({t['judged']})",
                "moments": self._moments(t["moments"]),
            }
            for t in listed_people(self._result["tracks"])
        ]

    def reasons_of_people(self) -> dict[str, list[str]]:
        """Return the codes of the reasons for each person's verdict, by the person's number."""
        return {
            str(t["track"] + 1): [
                reason["code"]
                for reason in t["reasons"]
                if reason["code"] != ReasonCode.BETWEEN_THRESHOLDS  # the value itself says so
            ]
            for t in self._result["tracks"]
        }

    def _moments(self, moments: list[dict[str, Any]]) -> str:
        if not moments:
            return self._w("moments_none")
        spans = [_span(m["start_s"], m["end_s"], self._w) for m in moments[:MAX_MOMENTS]]
        if len(moments) > MAX_MOMENTS:
            spans.append(self._w("more_stated", count=len(moments) - MAX_MOMENTS))
        return ", ".join(spans)

    def people_more(self) -> str | None:
        """Return how many people the tables leave out; ``None`` if they list everybody."""
        more = len(self._result["tracks"]) - MAX_PEOPLE
        return self._w("more", count=more) if more > 0 else None

    def people_note(self) -> str | None:
        """Return how people are numbered in a video; ``None`` if there is nobody to number."""
        return self._w("people_note") if self._result["tracks"] and not self._still else None

    def reviews(self) -> list[str]:
        """Return the reviewers' decisions and reasons, and the finding that they amount to."""
        w = self._w
        if not self._d["reviews"]:
            return [w("review_none")]
        lines = []
        for r in self._d["reviews"]:
            decision, role = w.of("findings", r["decision"]), w.of("roles", r["role"])
            name, date = readable(r["name"]), to_the_second(r["at"], w.language)
            lines.append(w("review_line", date=date, name=name, role=role, decision=decision))
            if r["reason"]:
                lines.append(f"{w('review_reason')}: {readable(r['reason'])}")
        if self._d["finding"]:
            finding = told_finding(self._d["finding"], self._d["reviews"])
            lines.append(w("finding", finding=w.of("findings", finding)))
        return lines
