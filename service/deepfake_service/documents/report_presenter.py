"""A ``verdict.json`` document in the words of one language: what reports and pages show of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from deepfake_service.documents.formatting import (
    ends,
    interval,
    layered,
    moment,
    percent,
    short,
    signed,
    times,
    verbal,
)
from deepfake_service.documents.i18n import Words
from deepfake_service.documents.timeline import timeline
from deepfake_service.documents.typesetting import readable

COLOURS = {
    "likely_manipulated": "#fde2d4",
    "no_manipulation_found": "#dcfce7",
}
NEUTRAL = "#e2e8f0"
CLASS_ACTIVATION = "class_activation"
"""Of ``method.map``: the cells of the map are shares of the logit. So are those of bundles that do
not say."""
_PICTURES_NOTES = {CLASS_ACTIVATION: "pictures_note", "direct_effect": "pictures_note_effects"}
"""By what a bundle says that its maps hold; of others, the text of the least that can be said."""
MAX_STATED_OCCURRENCES = 100
MAX_MOMENTS = 12
MAX_PEOPLE = 60
"""Stated in tables, those of the highest values; all are in ``verdict.json``."""


class View:
    """A ``verdict.json`` document in the words of one language: what reports and pages show."""

    def __init__(self, document: dict[str, Any], words: Words) -> None:
        self._d = document
        self._w = words
        self._result = document["result"]
        self._media = self._result["media"]
        self._still = bool(self._media) and self._media["kind"] == "image"

    @property
    def _level(self) -> str:
        return "face" if self._still else "item"

    def heading(self) -> dict[str, Any]:
        d, w = self._d, self._w
        return {
            "title": w("title"),
            "issuer": readable(d["issuer"]),
            "subtitle": w("subtitle", edition=d["edition"], date=moment(d["created_at"])),
            "case": readable(d["case"]["reference"] or d["case"]["id"]),
            "item": f"SHA-256 {d['item']['sha256'][:16]}…",
            "footer": f"{readable(d['issuer'])} · {d['job']['id']} · {d['edition']}",
            "issued": w("issuer", issuer=readable(d["issuer"])),
        }

    def page_one(self) -> dict[str, Any]:
        w, verdict = self._w, self._result["verdict"]
        codes = dict.fromkeys(r["code"] for r in self._result["reasons"])
        terms = readable(self._d["method"]["model"]["terms"])
        return {
            "question": w("question_picture" if self._still else "question_video"),
            "answer": w.of("answers", verdict),
            "strength": self._strength(),
            "colour": COLOURS.get(verdict, NEUTRAL),
            "reasons": [w.of("reason_texts", code) for code in codes],
            "rates": self._rates(),
            "examined": self._examined(),
            "limits": [text.format(terms=terms) for text in w.list("limits")],
        }

    def _strength(self) -> str | None:
        ratio = self._result["log_likelihood_ratio"]
        if ratio is None:
            return None
        return self._w(
            "strength_for" if ratio >= 0 else "strength_against",
            verbal=self._w.of("scale", verbal(ratio)),
            times=times(10 ** abs(ratio)),
            cap=times(10 ** self._d["method"]["calibration"][self._level]["limit"]),
        )

    def _rates(self) -> list[str]:
        w, decision = self._w, self._d["error_rates"]["decision"]
        fpr, tpr = decision["false_positive_rate"], decision["true_positive_rate"]
        if not fpr or not tpr:
            return [w("rates_unknown")]
        stated = [
            w(
                "rates",
                items=w(self._measured()),
                fpr=percent(fpr["value"]), fpr_low=percent(fpr["low"]),
                fpr_high=percent(fpr["high"]), fpr_samples=fpr["samples"],
                fpr_groups=fpr["groups"],
                tpr=percent(tpr["value"]), tpr_low=percent(tpr["low"]),
                tpr_high=percent(tpr["high"]), tpr_samples=tpr["samples"],
                tpr_groups=tpr["groups"],
            )
        ]  # fmt: skip
        if min(fpr["groups"], tpr["groups"]) < 10 or fpr.get("indicative") or tpr.get("indicative"):
            stated.append(w("rates_indicative"))
        return [*stated, *self._rates_of_condition()]

    def _measured(self) -> str:
        """The word for what error rates were measured on."""
        if self._still:
            return "items_picture"
        whole = self._d["error_rates"]["decision"].get("of") == "item"
        return "items_whole" if whole else "items_video"

    def _rates_of_condition(self) -> list[str]:
        """Of the person whose value is highest: how the method does on faces like theirs."""
        w, tracks = self._w, {t["track"]: t for t in self._result["tracks"]}
        people = [p for p in self._d["error_rates"]["people"] if p["bin"]]
        if not people:
            return []
        p = max(people, key=lambda p: tracks[p["track"]]["log_likelihood_ratio"])
        measured = (p["false_positive_rate"], p["true_positive_rate"])
        if any(rate["value"] is None for rate in measured):
            return [w("rates_bin_unknown", person=p["track"] + 1)]
        indicative = any(rate["indicative"] for rate in measured)
        return [
            w(
                "rates_bin",
                person=p["track"] + 1,
                sharp=w("rates_sharp") if "sharpness" in p["bin"] else "",
                fpr=interval(p["false_positive_rate"]),
                tpr=interval(p["true_positive_rate"]),
            )
            + (" " + w("rates_indicative") if indicative else "")
        ]

    def rates_note(self) -> str:
        thresholds = self._d["method"]["thresholds"]
        return self._w(
            "rates_note",
            face=signed(thresholds["face"]["likely_manipulated"]),
            item=signed(thresholds[self._level]["likely_manipulated"]),
        )

    def _examined(self) -> str:
        w, media, counts = self._w, self._media, self._result["frames"]
        if not media:
            return w("examined_nothing")
        if self._still:
            return w("examined_picture", width=media["width"], height=media["height"])
        return w(
            "examined_video",
            decoded=counts["sampled"] - counts["failed"],
            frames=media["frames"],
            duration=short(media["duration_s"]),
            with_face=counts["with_face"],
            failed=counts["failed"],
            gap=short(counts["longest_gap_s"]),
        )

    def pictures(self, files_: Mapping[str, bytes]) -> list[dict[str, str]]:
        faces = self._d["exact"]["faces"]
        shown = [p for p in self._d["pictures"] if p["crop"] in files_]
        return [
            {
                "plain": layered(files_[p["crop"]]),
                "heat": layered(files_[p["crop"]], files_[p["heatmap"]]),
                "line": self._w(
                    "picture_line",
                    time=short(faces[p["face"]]["time_s"]),
                    person=faces[p["face"]]["track"] + 1,
                    llr=signed(p["log_likelihood_ratio"]),
                ),
                "alt": f"{self._w('person')} {faces[p['face']]['track'] + 1}",
            }
            for p in sorted(shown, key=lambda p: (-p["log_likelihood_ratio"], p["number"]))
        ]

    def pictures_note(self) -> str | None:
        if self._d["case"]["minor"]:
            return self._w("pictures_withheld")
        return None if self._d["pictures"] else self._w("pictures_none")

    def pictures_meaning(self) -> str:
        """What the red in the pictures stands for, which depends on the model."""
        method = self._d["method"].get("map", CLASS_ACTIVATION)
        return self._w(_PICTURES_NOTES.get(method, "pictures_note_cells"))

    def timeline(self) -> str:
        d = self._d
        return timeline(d["result"], d["exact"]["faces"], d["examined_s"], self._w.plain)

    def people(self) -> list[dict[str, str]]:
        w = self._w
        return [
            {
                "number": str(t["track"] + 1),
                "verdict": w.of("verdicts", t["verdict"]),
                "llr": signed(t["log_likelihood_ratio"]),
                "seen": f"{short(t['first_s'])}–{short(t['last_s'])} s",
                "faces": f"{t['faces']} ({t['judged']})",
                "moments": ", ".join(
                    [
                        f"{short(m['start_s'])}–{short(m['end_s'])} s"
                        for m in t["moments"][:MAX_MOMENTS]
                    ]
                    + [
                        w("more_stated", count=n - MAX_MOMENTS)
                        for n in [len(t["moments"])]
                        if n > MAX_MOMENTS
                    ]
                )
                or w("moments_none"),
            }
            for t in self._shown()
        ]

    def _shown(self) -> list[dict[str, Any]]:
        """The people of the highest values, in the order in which they appear."""
        tracks = self._result["tracks"]
        ranked = sorted(
            tracks,
            key=lambda t: (
                -math.inf if t["log_likelihood_ratio"] is None else t["log_likelihood_ratio"]
            ),
            reverse=True,
        )
        return sorted(ranked[:MAX_PEOPLE], key=lambda t: t["track"])

    def people_more(self) -> str | None:
        """That there are more people than the tables list."""
        more = len(self._result["tracks"]) - MAX_PEOPLE
        return self._w("more", count=more) if more > 0 else None

    def reviews(self) -> list[str]:
        w = self._w
        if not self._d["reviews"]:
            return [w("review_none")]
        lines = []
        for r in self._d["reviews"]:
            decision, role = w.of("findings", r["decision"]), w.of("roles", r["role"])
            name = readable(r["name"])
            line = w("review_line", date=moment(r["at"]), name=name, role=role, decision=decision)
            lines.append(line)
            if r["reason"]:
                lines.append(f"{w('review_reason')}: {readable(r['reason'])}")
        if self._d["finding"]:
            lines.append(w("finding", finding=w.of("findings", self._d["finding"])))
        return lines

    def item(self) -> list[list[str]]:
        w, item, media = self._w, self._d["item"], self._media
        rows = [
            [w("job"), f"{self._d['job']['id']} · {w('case')} {self._d['case']['id']}"],
            *(
                [[w("requester"), readable(self._d["job"]["requester"])]]
                if self._d["job"].get("requester")
                else []
            ),
            [w("sha256"), item["sha256"]],
            [w("size"), w("bytes", count=f"{item['size']:,}")],
            [w("mime"), item["mime"] or w("none")],
        ]
        if media:
            rows.append([w("dimensions"), f"{media['width']} × {media['height']}"])
            if not self._still:
                rows.append([w("duration"), f"{short(media['duration_s'])} s"])
                rows.append([w("frame_count"), str(media["frames"])])
        rows.append([w("credentials"), self._credentials()])
        rows.append([w("perceptual"), self._perceptual()])
        rows.append([w("submitted"), moment(self._d["job"]["submitted_at"])])
        rows.append([w("finished"), moment(self._d["job"]["examined_at"])])
        if self._d["predecessor"]:
            rows.append([w("predecessor"), self._d["predecessor"]])
        return rows

    def _credentials(self) -> str:
        w, found = self._w, self._d["item"]["content_credentials"]
        told = w.of("credential_states", found["state"])
        more = [found.get("reason"), found.get("issuer"), found.get("generator")]
        more += [a["source_type"] or a["action"] for a in found.get("actions") or []]
        return " · ".join([told, *(readable(m) for m in more if m)])

    def _perceptual(self) -> str:
        found = self._d["item"]["perceptual"]
        if not found["frames"]:
            return readable(found["reason"] or self._w("none"))
        return self._w(
            "perceptual_line", count=found["frames"], interval=short(found["interval_s"])
        )

    def occurrences(self) -> list[list[list[str]]]:
        w = self._w
        return [
            [
                [label, readable(str(o[name]))]
                for name, label in (
                    ("source_url", w("occurrences")),
                    ("platform", w("platform")),
                    ("account", w("account")),
                    ("captured_at", w("captured")),
                    ("collector_name", w("collector")),
                    ("tool", w("tool")),
                )
                if o.get(name)
            ]
            + ([[w("screenshot"), w("kept")]] if o["screenshot"] else [])
            for o in self._d["occurrences"][:MAX_STATED_OCCURRENCES]
            if any(o[name] for name in ("source_url", "platform", "account", "captured_at"))
        ]

    def finding(self) -> list[list[str]]:
        w, r = self._w, self._result
        rows = [[w("verdict"), w.of("verdicts", r["verdict"])]]
        if r["log_likelihood_ratio"] is None:
            rows.append([w("llr"), w("llr_none")])
        else:
            ratio = r["log_likelihood_ratio"]
            prior = f"{self._d['method']['prior']:g}"
            rows += [
                [w("llr"), signed(ratio)],
                [w("verbal"), w.of("scale", verbal(ratio))],
                [w("score"), w("score_line", score=f"{r['score']:.4f}", prior=prior)],
            ]
        rows += [
            [
                w("reasons"),
                readable(x["detail"]) if w.language == "en" else w.of("reason_texts", x["code"]),
            ]
            for x in r["reasons"]
        ]
        return rows

    def conditions(self) -> list[list[str]]:
        w = self._w
        rows = []
        shown = {t["track"] for t in self._shown()}
        for p in self._d["error_rates"]["people"]:
            if p["track"] not in shown:
                continue
            where = w("not_measured")
            if p["bin"]:
                where = self._span(p["bin"]["face_px"])
                where += (
                    f", {self._numbers(p['bin']['sharpness'])}" if "sharpness" in p["bin"]
                    else " " + w("bin_by_width")
                )  # fmt: skip
            rows.append(
                [
                    str(p["track"] + 1),
                    f"{p['face_px']:.0f} px, {p['sharpness']:.1f}",
                    where,
                    self._rate(p.get("false_positive_rate")),
                    self._rate(p.get("true_positive_rate")),
                ]
            )
        return rows

    def _span(self, edges: Sequence[float | None]) -> str:
        low, high = edges
        if high is None:
            return self._w("bin_px_open", low=f"{low:g}")
        return self._w("bin_px", low=f"{low:g}", high=f"{high:g}")

    @staticmethod
    def _numbers(edges: Sequence[float | None]) -> str:
        low, high = edges
        return f"≥ {low:g}" if high is None else f"{low:g}–{high:g}"

    def _rate(self, rate: dict[str, Any] | None) -> str:
        if not rate or rate["value"] is None:
            return self._w("not_measured")
        mark = "*" if rate.get("indicative") or rate["groups"] < 10 else ""
        return mark + self._w(
            "rate",
            value=percent(rate["value"]),
            low=percent(rate["low"]),
            high=percent(rate["high"]),
            samples=rate["samples"],
            groups=rate["groups"],
        )

    def method(self) -> list[list[str]]:
        w, m, rates = self._w, self._d["method"], self._d["error_rates"]
        judged = max(sum(t["log_likelihood_ratio"] is not None for t in self._result["tracks"]), 1)
        calibration = rates["calibration"]
        model = m["model"]
        return [
            [w("model"), w("model_line", name=model["name"], version=model["version"])],
            [w("sha256"), model["sha256"]],
            [w("terms"), readable(model["terms"])],
            [w("detector"), w("detector_line", thresholds=" / ".join(
                f"{t:g}" for t in m["detector"]["thresholds"]))],
            [w("crop"), w("crop_line", **{k: m["crop"][k] for k in ("scale", "size", "resample")})],
            [w("rule"), w("rule_picture" if self._still else "rule_video", people=judged,
                          min_faces=m["aggregation"]["min_track_faces"])],
            [w("thresholds"), w("thresholds_line",
                                high=signed(rates["likely_manipulated_from"]),
                                low=signed(rates["no_manipulation_found_below"]),
                                samples=calibration["samples"], groups=calibration["groups"])],
            [w("versions"), ", ".join(f"{k} {v}" for k, v in sorted(m["software"].items()))],
        ]  # fmt: skip

    def custody(self, custody: dict[str, Any]) -> list[list[str]]:
        w, accounts = self._w, custody["accounts"]
        return [
            [
                str(e["number"]),
                moment(e["at"]),
                readable(accounts.get(e["account"], {}).get("name") or w("service")),
                w.of("actions", e["action"])
                + (f" ({readable(e['detail'])})" if e["detail"] else ""),
            ]
            for e in ends(custody["entries"])
        ]

    def custody_more(self, custody: dict[str, Any]) -> str | None:
        more = len(custody["entries"]) - len(ends(custody["entries"]))
        return self._w("custody_more", count=more) if more else None

    def occurrences_more(self) -> str | None:
        more = len(self._d["occurrences"]) - MAX_STATED_OCCURRENCES
        return self._w("more_stated", count=more) if more > 0 else None
