"""The tables for experts of a ``verdict.json`` document in one language."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from deepfake_service.evidence.report.summary import Reading, resembled
from deepfake_service.platform.texts.characters import quoted
from deepfake_service.platform.texts.formatting import (
    leaning_figures,
    percent,
    signed,
    strength_of,
    tenths,
    to_the_second,
)

MAX_STATED_OCCURRENCES = 100
MAX_FIRST_CUSTODY, MAX_LAST_CUSTODY = 40, 40
_REQUESTER = re.compile(r"(?P<name>.*) \((?P<kind>person|system), (?P<role>\w+)\)")

Rows = list[list[str]]
"""Cells by row; of a table of facts, a label and a value."""


def tables_of(reading: Reading, time: Callable[[str | None], str] | None = None) -> dict[str, Any]:
    """Return the tables of a ``verdict.json`` document, and how much ``..._more`` they leave out.
    ``time`` formats times; by default, ``to_the_second`` does."""
    return _Writer(reading, time).tables()


class _Writer:
    def __init__(self, reading: Reading, time: Callable[[str | None], str] | None) -> None:
        self._r = reading
        self._d, self._w = reading.document, reading.words
        self._result, self._media = reading.result, reading.media
        self._time = time or partial(to_the_second, language=reading.words.language)

    def tables(self) -> dict[str, Any]:
        d, w, custody = self._d, self._w, self._r.custody
        face = d["method"]["thresholds"]["face"]["likely_manipulated"]
        item = self._r.thresholds["likely_manipulated"]
        places = len(d["occurrences"]) - MAX_STATED_OCCURRENCES
        omitted = custody.get("omitted", {"count": 0})["count"]
        shown = _first_and_last(custody["entries"])
        entries = len(custody["entries"]) + omitted - len(shown)
        return {
            "item": self._item(),
            "finding": self._finding(),
            "method": self._method(),
            "occurrences": self._occurrences(),
            "occurrences_more": w("more_stated", count=places) if places > 0 else None,
            "conditions": self._conditions(),
            "rates_note": w("rates_note", face=signed(face), item=signed(item)),
            "custody": [self._entry(entry, custody["accounts"]) for entry in shown],
            "custody_more": w("custody_more", count=entries) if entries > 0 else None,
        }

    def _requester(self, requester: str) -> str:
        """Translate the kind and role in ``NAME (KIND, ROLE)``, as editions record it."""
        match = _REQUESTER.fullmatch(requester)
        if match is None:
            return requester
        kind, role = self._w.of("kinds", match["kind"]), self._w.of("roles", match["role"])
        return f"{match['name']} ({kind}, {role})"

    def _item(self) -> Rows:
        w, d, item, media = self._w, self._d, self._d["item"], self._media
        rows = [[w("job"), f"{d['job']['id']} · {w('case')} {d['case']['id']}"]]
        rows += [
            [w("requester"), self._requester(d["job"]["requester"])],
            [w("sha256"), item["sha256"]],
            [w("size"), w("bytes", count=f"{item['size']:,}")],
            [w("mime"), item["mime"] or w("none")],
        ]
        if media:
            rows.append([w("dimensions"), f"{media['width']} × {media['height']}"])
            if not self._r.is_still:
                rows.append([w("duration"), w("seconds", seconds=tenths(media["duration_s"]))])
                rows.append([w("frame_count"), str(media["frames"])])
        rows += [
            [w("credentials"), self._credentials()],
            [w("perceptual"), self._perceptual()],
            [w("submitted"), self._time(d["job"]["submitted_at"])],
            [w("finished"), self._time(d["job"]["examined_at"])],
        ]
        if "sandbox" in d:
            layers = ", ".join(d["sandbox"]["missing"])
            found = w("sandbox_incomplete", layers=layers) if layers else w("sandbox_complete")
            rows.append([w("sandbox"), found])
        if d["predecessor"]:
            rows.append([w("predecessor"), d["predecessor"]])
        return rows

    def _credentials(self) -> str:
        w, credentials = self._w, self._d["item"]["content_credentials"]
        parts = [w.of("credential_states", credentials["state"])]
        if credentials.get("reason"):
            parts.append(w.stored(credentials["reason"]))
        claims = [credentials.get("issuer"), credentials.get("generator")]
        claims += [a["source_type"] or a["action"] for a in credentials.get("actions") or []]
        return " · ".join([*parts, *(quoted(claim) for claim in claims if claim)])

    def _perceptual(self) -> str:
        w, hashes = self._w, self._d["item"]["perceptual"]
        if not hashes["frames"]:
            return w.stored(hashes["reason"]) if hashes["reason"] else w("none")
        if self._r.is_still:
            return w("perceptual_picture")
        return w("perceptual_line", count=hashes["frames"], interval=tenths(hashes["interval_s"]))

    def _occurrences(self) -> list[Rows]:
        w = self._w
        return [
            [
                [
                    label,
                    self._time(o[name]) if name == "captured_at" else w.of("tools", str(o[name])),
                ]
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

    def _finding(self) -> Rows:
        w, result = self._w, self._result
        rows = [[w("verdict"), w.of("verdicts", result["verdict"])]]
        ratio, step = result["log_likelihood_ratio"], strength_of(result)
        if ratio is None:
            rows.append([w("llr"), w("llr_none")])
        elif step is None:
            rows.append([w("llr"), w("llr_ranks", value=signed(ratio))])
        else:
            prior = f"{self._d['method']['prior']:g}"
            rows += [
                [w("llr"), signed(ratio)],
                [w("verbal"), w.of("scale", step)],
                [w("score"), w("score_line", score=f"{result['score']:.4f}", prior=prior)],
            ]
        if result.get("leaning"):
            rows.append([w("leaning"), w.of("leanings", result["leaning"])])
        if result.get("kinds"):
            rows.append([w("manipulation"), resembled(result["kinds"], w)])
        for reason in result["reasons"]:
            # The detail, with its figures, is in English alone.
            english = w.language == "en"
            text = reason["detail"] if english else w.of("reason_texts", reason["code"])
            rows.append([w("reasons"), text])
        return rows

    def _conditions(self) -> Rows:
        w = self._w
        listed = {track["track"] for track in self._r.people}
        return [
            [
                str(p["track"] + 1),
                f"{p['face_px']:.0f} px, {p['sharpness']:.1f}",
                self._bin(p["bin"]) if p["bin"] else w("not_measured"),
                *(
                    self._rate(p.get(name), refused=p["track"] in self._r.refused)
                    for name in ("false_positive_rate", "true_positive_rate")
                ),
            ]
            for p in self._d["error_rates"]["people"]
            if p["track"] in listed
        ]

    def _bin(self, condition: dict[str, Any]) -> str:
        w, (low, high) = self._w, condition["face_px"]
        if high is None:
            width = w("bin_px_open", low=f"{low:g}")
        else:
            width = w("bin_px", low=f"{low:g}", high=f"{high:g}")
        if "sharpness" not in condition:
            return f"{width} {w('bin_by_width')}"
        blurred, sharp = condition["sharpness"]
        edges = f"≥ {blurred:g}" if sharp is None else f"{blurred:g}–{sharp:g}"
        return f"{width}, {edges}"

    def _rate(self, rate: dict[str, Any] | None, *, refused: bool) -> str:
        if not rate or rate["value"] is None:
            return self._w("not_measured")
        if refused:
            return self._w("rate_unused", groups=f"{rate['groups']:,}")
        return ("*" if rate["indicative"] else "") + self._w(
            "rate",
            value=percent(rate["value"]),
            low=percent(rate["low"]),
            high=percent(rate["high"]),
            samples=f"{rate['samples']:,}",
            groups=f"{rate['groups']:,}",
        )

    def _method(self) -> Rows:
        w, m, rates = self._w, self._d["method"], self._d["error_rates"]
        scored = max(sum(t["log_likelihood_ratio"] is not None for t in self._result["tracks"]), 1)
        calibration = rates["calibration"]
        model = m["model"]
        scales = [m["crop"]["scale"], *m["crop"].get("further_scales", ())]
        edges = self._r.thresholds.get("leaning")
        leaning = [[w("leaning"), w("leaning_edges", **leaning_figures(edges))]] if edges else []
        return [
            [w("model"), w("model_line", name=model["name"], version=model["version"])],
            [w("model_sha256"), model["sha256"]],
            [w("terms"), w.of("terms_of_use", model["terms"])],
            [w("detector"), w("detector_line", thresholds=" / ".join(
                f"{t:g}" for t in m["detector"]["thresholds"]))],
            [w("crop"), w("crop_line", scale=" / ".join(map(str, scales)), size=m["crop"]["size"],
                          resample=m["crop"]["resample"])],
            [w("rule"), w("rule_picture", people=scored) if self._r.is_still else
                        w("rule_video", people=scored,
                          min_faces=m["aggregation"]["min_track_faces"])],
            [w("thresholds"), w("thresholds_line",
                                high=signed(rates["likely_manipulated_from"]),
                                low=signed(rates["no_manipulation_found_below"]),
                                samples=f"{calibration['samples']:,}",
                                groups=f"{calibration['groups']:,}")],
            *leaning,
            [w("versions"), ", ".join(f"{k} {v}" for k, v in sorted(m["software"].items()))],
        ]  # fmt: skip

    def _entry(self, entry: dict[str, Any], accounts: dict[str, Any]) -> list[str]:
        w, detail = self._w, f" ({entry['detail']})" if entry["detail"] else ""
        return [
            str(entry["number"]),
            self._time(entry["at"]),
            accounts.get(entry["account"], {}).get("name") or w("service"),
            w.of("actions", entry["action"]) + detail,
        ]


def _first_and_last(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how the item came in, and what happened last."""
    if len(entries) <= MAX_FIRST_CUSTODY + MAX_LAST_CUSTODY:
        return entries
    return entries[:MAX_FIRST_CUSTODY] + entries[-MAX_LAST_CUSTODY:]
