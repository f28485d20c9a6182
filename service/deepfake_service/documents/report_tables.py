"""The tables for experts of a ``verdict.json`` document in one language."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from deepfake_service.documents.formatting import (
    first_and_last,
    percent,
    signed,
    tenths,
    to_the_second,
    verbal,
)
from deepfake_service.documents.i18n import Words
from deepfake_service.documents.report_presenter import (
    is_indicative,
    is_refused,
    listed_people,
    thresholds_of,
)
from deepfake_service.documents.typesetting import readable

MAX_STATED_OCCURRENCES = 100
_REQUESTER = re.compile(r"(?P<name>.*) \((?P<kind>person|system), (?P<role>\w+)\)")

Rows = list[list[str]]
"""Cells by row; of a table of facts, a label and a value."""


class TablePresenter:
    """The tables for experts of a ``verdict.json`` document, in one language.

    ``time`` formats times; by default, it is ``to_the_second``.
    """

    def __init__(
        self,
        document: dict[str, Any],
        words: Words,
        time: Callable[[str | None], str] | None = None,
    ) -> None:
        self._time = time or partial(to_the_second, language=words.language)
        self._d = document
        self._w = words
        self._result = document["result"]
        self._media = self._result["media"]
        self._still = bool(self._media) and self._media["kind"] == "image"

    def _requester(self, requester: str) -> str:
        """Translate the kind and role in ``NAME (KIND, ROLE)``, as editions record it."""
        match = _REQUESTER.fullmatch(requester)
        if match is None:
            return readable(requester)
        kind, role = self._w.of("kinds", match["kind"]), self._w.of("roles", match["role"])
        return f"{readable(match['name'])} ({kind}, {role})"

    def item(self) -> Rows:
        """Return the facts about the submitted file."""
        w, d, item, media = self._w, self._d, self._d["item"], self._media
        rows = [[w("job"), f"{d['job']['id']} · {w('case')} {d['case']['id']}"]]
        if d["job"].get("requester"):
            rows.append([w("requester"), self._requester(d["job"]["requester"])])
        rows += [
            [w("sha256"), item["sha256"]],
            [w("size"), w("bytes", count=f"{item['size']:,}")],
            [w("mime"), item["mime"] or w("none")],
        ]
        if media:
            rows.append([w("dimensions"), f"{media['width']} × {media['height']}"])
            if not self._still:
                rows.append([w("duration"), w("seconds", seconds=tenths(media["duration_s"]))])
                rows.append([w("frame_count"), str(media["frames"])])
        rows += [
            [w("credentials"), self._credentials()],
            [w("perceptual"), self._perceptual()],
            [w("submitted"), self._time(d["job"]["submitted_at"])],
            [w("finished"), self._examined()],
        ]
        if "sandbox" in d:
            rows.append([w("sandbox"), self._sandbox(d["sandbox"]["missing"])])
        if d["predecessor"]:
            rows.append([w("predecessor"), d["predecessor"]])
        return rows

    def _examined(self) -> str:
        """Return when the file was examined: before it was submitted, if the result was copied."""
        submitted, examined = self._d["job"]["submitted_at"], self._d["job"]["examined_at"]
        at = self._time(examined)
        is_copied = datetime.fromisoformat(examined) < datetime.fromisoformat(submitted)
        return self._w("finished_before", time=at) if is_copied else at

    def _credentials(self) -> str:
        w, credentials = self._w, self._d["item"]["content_credentials"]
        parts = [w.of("credential_states", credentials["state"])]
        if credentials.get("reason"):
            parts.append(w.stored(credentials["reason"]))
        claims = [credentials.get("issuer"), credentials.get("generator")]
        claims += [a["source_type"] or a["action"] for a in credentials.get("actions") or []]
        return " · ".join([*parts, *(readable(claim) for claim in claims if claim)])

    def _sandbox(self, missing: list[str]) -> str:
        if not missing:
            return self._w("sandbox_complete")
        return self._w("sandbox_incomplete", layers=", ".join(map(readable, missing)))

    def _perceptual(self) -> str:
        w, hashes = self._w, self._d["item"]["perceptual"]
        if not hashes["frames"]:
            return readable(w.stored(hashes["reason"]) if hashes["reason"] else w("none"))
        if self._still:
            return w("perceptual_picture")
        return w("perceptual_line", count=hashes["frames"], interval=tenths(hashes["interval_s"]))

    def occurrences(self) -> list[Rows]:
        """Return the facts about each place where the file was found."""
        w = self._w
        return [
            [
                [label, self._time(o[name]) if name == "captured_at" else readable(str(o[name]))]
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

    def occurrences_more(self) -> str | None:
        """Return how many places are left out; ``None`` if all are listed."""
        more = len(self._d["occurrences"]) - MAX_STATED_OCCURRENCES
        return self._w("more_stated", count=more) if more > 0 else None

    def finding(self) -> Rows:
        """Return the verdict, the value that it rests on, and the reasons."""
        w, result = self._w, self._result
        rows = [[w("verdict"), w.of("verdicts", result["verdict"])]]
        ratio = result["log_likelihood_ratio"]
        if ratio is None:
            rows.append([w("llr"), w("llr_none")])
        else:
            prior = f"{self._d['method']['prior']:g}"
            rows += [
                [w("llr"), signed(ratio)],
                [w("verbal"), w.of("scale", verbal(ratio))],
                [w("score"), w("score_line", score=f"{result['score']:.4f}", prior=prior)],
            ]
        if result.get("leaning"):
            rows.append([w("leaning"), w.of("leanings", result["leaning"])])
        if result.get("kinds"):
            shares = [f"{w.of('manipulations', k)} {v:.1%}" for k, v in result["kinds"].items()]
            rows.append([w("manipulation"), ", ".join(shares)])
        for reason in result["reasons"]:
            # The detail, with its figures, is in English alone.
            english = w.language == "en"
            text = readable(reason["detail"]) if english else w.of("reason_texts", reason["code"])
            rows.append([w("reasons"), text])
        return rows

    def conditions(self) -> Rows:
        """Return the error rates measured on faces like those of each person listed."""
        w = self._w
        listed = {t["track"]: t for t in listed_people(self._result["tracks"])}
        return [
            [
                str(p["track"] + 1),
                f"{p['face_px']:.0f} px, {p['sharpness']:.1f}",
                self._bin(p["bin"]) if p["bin"] else w("not_measured"),
                *(
                    self._rate(p.get(name), refused=is_refused(listed[p["track"]]))
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
        return f"{width}, {self._numbers(condition['sharpness'])}"

    @staticmethod
    def _numbers(edges: Sequence[float | None]) -> str:
        low, high = edges
        return f"≥ {low:g}" if high is None else f"{low:g}–{high:g}"

    def _rate(self, rate: dict[str, Any] | None, *, refused: bool) -> str:
        if not rate or rate["value"] is None:
            return self._w("not_measured")
        if refused:
            return self._w("rate_unused", groups=f"{rate['groups']:,}")
        return ("*" if is_indicative(rate) else "") + self._w(
            "rate",
            value=percent(rate["value"]),
            low=percent(rate["low"]),
            high=percent(rate["high"]),
            samples=f"{rate['samples']:,}",
            groups=f"{rate['groups']:,}",
        )

    def rates_note(self) -> str:
        """Return at which thresholds the rates by condition were measured."""
        faces = self._d["method"]["thresholds"]["face"]
        return self._w(
            "rates_note",
            face=signed(faces["likely_manipulated"]),
            item=signed(thresholds_of(self._d)["likely_manipulated"]),
        )

    def method(self) -> Rows:
        """Return the model, and every rule by which it was applied."""
        w, m, rates = self._w, self._d["method"], self._d["error_rates"]
        scored = max(sum(t["log_likelihood_ratio"] is not None for t in self._result["tracks"]), 1)
        calibration = rates["calibration"]
        model = m["model"]
        scales = [m["crop"]["scale"], *m["crop"].get("further_scales", ())]
        return [
            [w("model"), w("model_line", name=model["name"], version=model["version"])],
            [w("model_sha256"), model["sha256"]],
            [w("terms"), readable(w.of("terms_of_use", model["terms"]))],
            [w("detector"), w("detector_line", thresholds=" / ".join(
                f"{t:g}" for t in m["detector"]["thresholds"]))],
            [w("crop"), w("crop_line", scale=" / ".join(map(str, scales)), size=m["crop"]["size"],
                          resample=m["crop"]["resample"])],
            [w("rule"), w("rule_picture", people=scored) if self._still else
                        w("rule_video", people=scored,
                          min_faces=m["aggregation"]["min_track_faces"])],
            [w("thresholds"), w("thresholds_line",
                                high=signed(rates["likely_manipulated_from"]),
                                low=signed(rates["no_manipulation_found_below"]),
                                samples=f"{calibration['samples']:,}",
                                groups=f"{calibration['groups']:,}")],
            *self._leaning_edges(),
            [w("versions"), ", ".join(f"{k} {v}" for k, v in sorted(m["software"].items()))],
        ]  # fmt: skip

    def _leaning_edges(self) -> Rows:
        """Return the edges of leaning with their rates; no row for a model without them."""
        edges = thresholds_of(self._d).get("leaning")
        if not edges:
            return []
        line = self._w(
            "leaning_edges",
            high=signed(edges["towards_manipulated"]),
            low=signed(edges["towards_untouched"]),
            fpr=percent(edges["false_positive_rate"]),
            fpr_upper=percent(edges["false_positive_rate_upper"]),
            tpr=percent(edges["true_positive_rate"]),
            miss=percent(edges["miss_rate"]),
            tnr=percent(edges["true_negative_rate"]),
        )
        return [[self._w("leaning"), line]]

    def custody(self, custody: dict[str, Any]) -> Rows:
        """Return the first and the last entries of the chain of custody."""
        w, accounts = self._w, custody["accounts"]
        return [
            [
                str(e["number"]),
                self._time(e["at"]),
                readable(accounts.get(e["account"], {}).get("name") or w("service")),
                w.of("actions", e["action"])
                + (f" ({readable(e['detail'])})" if e["detail"] else ""),
            ]
            for e in first_and_last(custody["entries"])
        ]

    def custody_more(self, custody: dict[str, Any]) -> str | None:
        """Return how many entries are left out; ``None`` if all are listed."""
        omitted = custody.get("omitted") or {"count": 0}
        more = len(custody["entries"]) + omitted["count"] - len(first_and_last(custody["entries"]))
        return self._w("custody_more", count=more) if more else None
