"""Draw SVG pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from xml.sax.saxutils import escape, quoteattr

INK = "#1e293b"
FONT = {"font_family": "Noto Sans KR, sans-serif", "font_size": 12}


class Picture:
    """A picture that grows by each call. Lengths are numbers, or percentages as text."""

    def __init__(self, title: str, **attributes: object) -> None:
        space = {"xmlns": "http://www.w3.org/2000/svg", "role": "img"}
        start = _element("svg", "", space | attributes).removesuffix("/>")
        self._parts = [f"{start}>", _element("title", title, {})]

    def rect(self, x: object, y: object, width: object, height: object, **style: object) -> None:
        """Draw a rectangle."""
        self._add("rect", x=x, y=y, width=width, height=height, **style)

    def line(self, x: tuple[object, object], y: tuple[object, object], **style: object) -> None:
        """Draw a line between two points."""
        self._add("line", x1=x[0], x2=x[1], y1=y[0], y2=y[1], **style)

    def polyline(self, points: Iterable[tuple[float, float]], **style: object) -> None:
        """Draw a line through several points."""
        path = " ".join(f"{_value(x)},{_value(y)}" for x, y in points)
        self._add("polyline", points=path, fill="none", **style)

    def circle(self, x: object, y: object, radius: float, **style: object) -> None:
        """Draw a disc."""
        self._add("circle", cx=x, cy=y, r=radius, **style)

    def text(self, x: object, y: object, text: str, **style: object) -> None:
        """Write a line of text."""
        self._add("text", text, x=x, y=y, **style)

    def time_axis(
        self, x: Callable[[float], object], y: float, end: float, **style: object
    ) -> None:
        """Write five points in time, the outer ones within the picture."""
        for step, anchor in enumerate(("start", "middle", "middle", "middle", "end")):
            minutes, seconds = divmod(end * step / 4, 60.0)
            label = f"{int(minutes)}:{seconds:04.1f}"
            self.text(x(end * step / 4), y, label, text_anchor=anchor, **style)

    def _add(self, name: str, text: str = "", /, **attributes: object) -> None:
        self._parts.append(_element(name, text, attributes))

    def __str__(self) -> str:
        return "\n".join([*self._parts, "</svg>\n"])


def _element(name: str, text: str, attributes: dict[str, object]) -> str:
    # ``class_`` is the attribute ``class``, and underscores within names are hyphens.
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}={quoteattr(_value(value))}"
        for key, value in attributes.items()
    )
    return f"<{name}{given}>{escape(text)}</{name}>" if text else f"<{name}{given}/>"


def _value(value: object) -> str:
    return f"{round(value, 2):.10g}" if isinstance(value, float) else str(value)


def along(start: float, span: float, last: float, first: float = 0.0) -> Callable[[float], float]:
    """Return the function that places values from ``first`` to ``last`` on ``span``."""
    return lambda value: start + span * min(max((value - first) / (last - first), 0.0), 1.0)
