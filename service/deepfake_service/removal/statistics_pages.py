"""The numbers of removals as a table, a plot and CSV."""

from __future__ import annotations

from collections.abc import Callable

from deepfake_service.platform.texts.characters import readable
from deepfake_service.platform.texts.i18n import Words
from deepfake_service.platform.texts.spreadsheets import BYTE_ORDER_MARK, csv_line
from deepfake_service.platform.texts.svg import FONT, INK, Picture, along
from deepfake_service.removal.statistics import (
    COUNTS,
    OTHERS,
    GroupBy,
    RemovalGroup,
    RemovalSummary,
)

WIDTH, HEIGHT, LEFT, RIGHT, TOP, FOOT = 900.0, 260.0, 46.0, 190.0, 12.0, 28.0
COLOURS = ("#0f172a", "#0369a1", "#b45309", "#15803d", "#7e22ce")
DASHES = ("none", "8 3", "3 3", "12 3 3 3", "1 3")
"""Lines differ without colours, too."""
SOFT, PAPER = "#cbd5e1", "#ffffff"
CURVES = 4
"""Groups whose curves are drawn beside that of all."""
SHORTEST_H, LONGEST_H = 72.0, 24.0 * 60
COLUMNS = ("name", *COUNTS, "timed", "median_h", "p90_h")

KindName = Callable[[str], str]


def table_of(
    summary: RemovalSummary, words: Words, kind_name: KindName
) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table, the total last."""
    head = [words(f"removals_by_{summary.by}"), *(words(f"removals_{n}") for n in COLUMNS[1:])]
    rows = [
        [group_name(summary, group, words, kind_name), *_cells(group)]
        for group in (*summary.groups, summary.total)
    ]
    return head, rows


def group_name(
    summary: RemovalSummary, group: RemovalGroup, words: Words, kind_name: KindName
) -> str:
    """Return how a group is called. Names of platforms were written by others."""
    if group is summary.total:
        return words("removals_total")
    if group.name == OTHERS:
        return words("removals_other")
    return kind_name(group.name) if summary.by is GroupBy.KIND else readable(group.name)


def _cells(group: RemovalGroup) -> list[str]:
    times = (group.median_h, group.p90_h)
    shown = ["–" if hours is None else f"{hours:,.1f}" for hours in times]
    return [*(f"{getattr(group.counts, name):,}" for name in COUNTS), f"{group.timed:,}", *shown]


def csv_of(summary: RemovalSummary) -> str:
    """Return the numbers as CSV (RFC 4180), with the names that the API has."""
    lines = [csv_line([str(summary.by), *COLUMNS[1:]])]
    for group in summary.groups:
        counts = [getattr(group.counts, name) for name in COUNTS]
        hours = [h if h is None else round(h, 2) for h in (group.median_h, group.p90_h)]
        lines.append(csv_line([group.name, *counts, group.timed, *hours]))
    return BYTE_ORDER_MARK + "".join(lines)


def plot_of(summary: RemovalSummary, words: Words, kind_name: KindName) -> str | None:
    """Draw the share that is removed over the hours from sending; ``None`` without a removal."""
    named = [group for group in summary.groups if group.name != OTHERS]
    largest = sorted(named, key=lambda group: (-group.counts.sent, group.name))[:CURVES]
    shown = [summary.total, *(largest if len(summary.groups) > 1 else ())]
    drawn = [group for group in shown if group.curve]
    if not drawn:
        return None
    latest = max(group.curve[-1][0] for group in drawn)
    end = min(max(latest, SHORTEST_H), LONGEST_H)
    right, foot = WIDTH - RIGHT, HEIGHT - FOOT
    x, y = along(LEFT, right - LEFT, end), along(foot, TOP - foot, 1.0)
    box = f"0 0 {WIDTH:g} {HEIGHT:g}"
    picture = Picture(words("removals_plot"), viewBox=box, class_="removals", width="100%", **FONT)
    picture.rect(0, 0, WIDTH, HEIGHT, class_="paper", fill=PAPER)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        picture.line((LEFT, right), (y(share), y(share)), class_="cut", stroke=SOFT)
        label = {"class_": "soft", "text_anchor": "end", "fill": INK}
        picture.text(LEFT - 6, y(share) + 4, f"{share:.0%}", **label)
    step = next(s for s in (12, 24, 48, 168, 336) if end / s <= 9)
    for hours in range(0, int(end) + 1, step):
        picture.line((x(hours), x(hours)), (TOP, foot), class_="cut", stroke=SOFT)
        label = {"class_": "soft", "text_anchor": "middle", "fill": INK}
        picture.text(x(hours), foot + 18, words("removals_hours", hours=hours), **label)
    for number, group in enumerate(drawn):
        style = {"stroke": COLOURS[number], "stroke_width": 2, "stroke_dasharray": DASHES[number]}
        points, share = [(x(0.0), y(0.0))], 0.0
        for at, removed in (step for step in group.curve if step[0] <= end):
            points += [(x(at), y(share)), (x(at), y(removed))]
            share = removed
        picture.polyline([*points, (x(end), y(share))], class_=f"line-{number}", **style)
        name = group_name(summary, group, words, kind_name)
        top = TOP + 14 + 20 * number
        picture.line((right + 10, right + 34), (top, top), class_=f"line-{number}", **style)
        picture.text(right + 40, top + 4, name[:22], class_="ink", fill=INK)
    return str(picture)
