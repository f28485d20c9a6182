"""How reports and pages put values: times, shares, ratios, pictures."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

MAX_FIRST_CUSTODY, MAX_LAST_CUSTODY = 40, 40


def ends(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first and the last entries of a log: how it came in, and what happened last."""
    if len(entries) <= MAX_FIRST_CUSTODY + MAX_LAST_CUSTODY:
        return entries
    return entries[:MAX_FIRST_CUSTODY] + entries[-MAX_LAST_CUSTODY:]


def times(ratio: float) -> str:
    """How many times as probable, for a reader."""
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def verbal(log10_ratio: float) -> str:
    """The step, "-4" to "4", of the verbal scale of ENFSI's guideline (2015) for a ratio."""
    size = abs(log10_ratio)
    # 2, 10, 100, 1,000, 10,000: the calibration's limit keeps all above out of reach.
    step = sum(size >= edge for edge in (0.30103, 1.0, 2.0, 3.0))
    return str(step if log10_ratio > 0 else -step) if step else "0"


def layered(picture: bytes, overlay: bytes | None = None) -> str:
    """A picture, and an overlay of the same size over it, as an SVG that holds both."""
    layers = "".join(
        f'<image width="100" height="100" href="data:image/png;base64,'
        f'{base64.b64encode(layer).decode()}"/>'
        for layer in (picture, overlay)
        if layer is not None
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{layers}</svg>'


def moment(stated: str | None) -> str:
    """A stated time, to the second."""
    if stated is None:
        return "–"
    return datetime.fromisoformat(stated).strftime("%Y-%m-%d %H:%M:%S UTC")


def percent(share: float | None) -> str:
    """A share in percent."""
    return "–" if share is None else f"{100 * share:.1f}%"


def interval(rate: dict[str, Any]) -> str:
    """A measured rate with its interval."""
    return f"{percent(rate['value'])} [{percent(rate['low'])}, {percent(rate['high'])}]"


def signed(value: float | None) -> str:
    """A ratio with its sign."""
    return "–" if value is None else f"{value:+.2f}"


def short(seconds: float | None) -> str:
    """Seconds to a tenth."""
    return "–" if seconds is None else f"{seconds:.1f}"
