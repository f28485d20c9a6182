"""Render the results of a bench as Markdown tables and as a plot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes

from deepfake_eval.analysis.plots import FAKE, REAL, THIRD, draw_panels, svg
from deepfake_eval.bench.videos import FLOOR, NAIVE, NAIVE_SMALL, OURS, UNCONFINED

COLOURS = {OURS: REAL, FLOOR: THIRD, NAIVE: FAKE, NAIVE_SMALL: "#e3a857", UNCONFINED: "#7fb3d5"}
SECONDS = "Each figure is the median in seconds, with minimum and maximum in parentheses."


def tables(results: dict[str, Any]) -> str:
    """Return the results as Markdown, a heading and a table for each section."""
    parts = ["# Bench", _header(results)]
    for section, render in _SECTIONS.items():
        if section in results:
            parts += render(results[section])
    return "\n\n".join(parts) + "\n"


def _header(results: dict[str, Any]) -> str:
    machine, model = results["machine"], results["model"]
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items())
    lines = [
        f"- {machine['date']}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_mb']} MB, {machine['system']}",
        f"- Python {machine['python']}, {packages}",
        f"- model {model['bundle']} {model['version']} ({model['sha256'][:16]})",
        f"- load average {results['load_before']} before and {results['load_after']} after; "
        f"{results['rounds']} alternating rounds; {results['seconds']:.0f} s in all",
    ]
    if results["quick"]:
        lines.append(
            "- **a quick run, which shows that everything works: its figures mean nothing**"
        )
    return "\n".join(lines)


def _videos(section: dict[str, Any]) -> list[str]:
    rows = [row for row in section["cases"] if "seconds" in row]
    names = list(COLOURS)
    present = [n for n in names if any(n in row["seconds"] for row in rows)]
    seconds = _table(
        ["video", *present],
        ([row["name"], *(_spread(row["seconds"].get(n)) for n in present)] for row in rows),
    )
    ratios = list(dict.fromkeys(name for row in rows for name in row["ratios"]))
    compared = _table(
        ["video", *ratios],
        ([row["name"], *(_spread(row["ratios"].get(n)) for n in ratios)] for row in rows),
    )
    stages = section["stages"]
    total = sum(v["median"] for v in stages["cpu_seconds"].values())
    shares = _table(
        ["stage", "processor seconds", "share"],
        (
            [name, _spread(value), f"{value['median'] / total:.0%}"]
            for name, value in stages["cpu_seconds"].items()
        ),
    )
    missing = [
        *(f"- {name}: not measured, {why}" for name, why in section["not_measured"].items()),
        *(
            f"- {row['name']}: not measured, {row['not_measured']}"
            for row in section["cases"]
            if "not_measured" in row
        ),
    ]
    return [
        "## Videos",
        SECONDS,
        seconds,
        "Ratios, round by round:",
        compared,
        *(["\n".join(missing)] if missing else []),
        f"Where the processor time of one thread goes ({stages['name']}):",
        shares,
    ]


def _pictures(section: dict[str, Any]) -> list[str]:
    single = _table(
        ["picture, one client", "faces found", "seconds", FLOOR, "ratio"],
        (
            [
                row["name"],
                str(row["faces_found"]),
                _spread(row["seconds"]),
                _spread(row["floor"]),
                _spread(row["ratio"]),
            ]
            for row in section["single"]
        ),
    )
    levels = _table(
        ["clients", "pictures/s", "bare sessions/s", "share", "median s", "p99 s", "refusals"],
        (
            [
                str(row["clients"]),
                _spread(row["pictures_per_second"]),
                _spread(row["bare_sessions_per_second"]),
                _spread(row["share_of_bare_sessions"]),
                f"{row['latency']['median']:.2f}",
                f"{row['latency']['p99']:.2f}",
                str(row["refusals"]),
            ]
            for row in section["levels"]
        ),
    )
    half = section["half_load"]
    latency = half["latency"]
    return [
        "## Pictures (`POST /v1/frames`)",
        single,
        f"Many clients, {section['picture']}:",
        levels,
        f"At half of the highest rate, {half['rate_per_second']:.1f} requests/s: median "
        f"{latency['median']:.2f} s, p99 {latency['p99']:.2f} s "
        f"({latency['p99'] / latency['median']:.1f} times the median).",
        f"Memory of the service and its decoders after these requests: {_held(section['memory'])}",
    ]


def _mixed(section: dict[str, Any]) -> list[str]:
    table = _table(
        ["request", "status", "count"],
        ([row["kind"], str(row["status"]), str(row["count"])] for row in section["sent"]),
    )
    return [
        f"## {section['requests']} mixed requests",
        f"{section['clients']} clients at a time. A broken picture is answered 200, with the "
        "reason in place of its faces:",
        table,
        f"Memory of the service and its decoders afterwards: {_held(section['memory'])}",
    ]


def _held(memory: dict[str, float | None]) -> str:
    once = memory["shared_once_mb"]
    shared = "" if once is None else f" ({once:.0f} MB if a page that processes share counts once)"
    return (
        f"{memory['now_mb']:.0f} MB{shared}; sum of the peaks of each process: "
        f"{memory['peak_mb']:.0f} MB."
    )


def _jobs(section: list[dict[str, Any]]) -> list[str]:
    table = _table(
        ["workers", "jobs", "jobs/minute", "MB of all processes", "sum of their peaks"],
        (
            [
                str(row["workers"]),
                str(row["jobs"]),
                f"{row['jobs_per_minute']:.1f}",
                f"{row['memory']['now_mb']:.0f}",
                f"{row['memory']['peak_mb']:.0f}",
            ]
            for row in section
        ),
    )
    return ["## Jobs", table]


def _scaling(section: dict[str, Any]) -> list[str]:
    if "not_measured" in section:
        return ["## Workers and cores", f"Not measured: {section['not_measured']}."]
    rates = section["jobs_per_minute"]
    table = _table(
        [*(f"jobs/minute, {name}" for name in rates), "ratio", "load average"],
        [
            [
                *map(_spread, rates.values()),
                _spread(section["ratio"]),
                " to ".join(map(str, section["load"])),
            ]
        ],
    )
    return [
        "## Workers and cores",
        f"{section['jobs']} jobs in each round; each worker is pinned to a core of its own.",
        table,
    ]


def _queueing(section: dict[str, Any]) -> list[str]:
    if "not_measured" in section:
        return ["## Waits in the queue", f"Not measured: {section['not_measured']}."]
    waits = section["mean_wait_s"]
    table = _table(
        ["mean wait in s", *waits], [["", *(f"{seconds:.2f}" for seconds in waits.values())]]
    )
    return [
        "## Waits in the queue",
        f"{section['jobs']} jobs arrived at random at {section['workers']} workers, each pinned to "
        f"a core and with one job at a time. A job took {section['service_s']:.2f} s (coefficient "
        f"of variation {section['variation']:.2f}), and {section['pickup_s']:.2f} s to be picked "
        f"up; workers were busy {section['utilisation']:.0%} of the time. Load average "
        f"{' to '.join(map(str, section['load']))}.",
        table,
    ]


def _memory(section: list[dict[str, Any]]) -> list[str]:
    reference = section[0]["total_mb"]
    table = _table(
        ["video", "file MB", "frames", "scorer MB", "decoder MB", "sum MB", "ratio"],
        (
            [
                row["name"],
                f"{row['bytes'] / 1e6:.0f}",
                str(row["frames"]),
                f"{row['scorer_mb']:.0f}",
                f"{row['decoder_mb']:.0f}",
                f"{row['total_mb']:.0f}",
                f"{row['total_mb'] / reference:.2f}",
            ]
            for row in section
        ),
    )
    return ["## Peak memory of scoring one file", table]


def _start(section: dict[str, Any]) -> list[str]:
    return ["## Start", f"From the start of the process until `/readyz`: {_spread(section)} s."]


_SECTIONS: dict[str, Callable[[Any], list[str]]] = {
    "videos": _videos,
    "pictures": _pictures,
    "mixed": _mixed,
    "jobs": _jobs,
    "scaling": _scaling,
    "queueing": _queueing,
    "memory": _memory,
    "start": _start,
}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spread(value: dict[str, Any] | None) -> str:
    if value is None:
        return "–"
    return f"{value['median']:.2f} ({value['min']:.2f}–{value['max']:.2f})"


def draw(results: dict[str, Any]) -> str:
    """Return the plot as SVG: medians, with a line from minimum to maximum."""
    cases = [row for row in results.get("videos", {}).get("cases", []) if "seconds" in row]
    levels = results.get("pictures", {}).get("levels", [])
    panels: list[Callable[[Axes], None]] = []
    if cases:
        panels.append(lambda axes: _video_bars(axes, cases))
    if levels:
        panels.append(lambda axes: _rates(axes, levels))

    def plot(*places: Axes) -> None:
        for panel, place in zip(panels, places, strict=False):
            panel(place)

    height = 3.0 * len(levels[:1]) + 0.6 * len(cases) + 0.8
    figure = draw_panels(plot, height, max(1, len(panels)), shared_x=False)
    return svg(figure, "bench")


def _video_bars(axes: Axes, cases: list[dict[str, Any]]) -> None:
    names = [n for n in COLOURS if any(n in row["seconds"] for row in cases)]
    thick = 0.8 / len(names)
    for place, name in enumerate(names):
        for number, row in enumerate(cases):
            if value := row["seconds"].get(name):
                y = number + (place - (len(names) - 1) / 2) * thick
                label = name if number == 0 else None
                axes.barh(y, value["median"], height=thick, color=COLOURS[name], label=label)
                axes.plot([value["min"], value["max"]], [y, y], color=THIRD, linewidth=1)
    axes.set_yticks(range(len(cases)), [row["name"] for row in cases], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.legend(fontsize=7)


def _rates(axes: Axes, levels: list[dict[str, Any]]) -> None:
    places = range(len(levels))
    for key, colour, label in (
        ("pictures_per_second", REAL, "the service"),
        ("bare_sessions_per_second", THIRD, "bare sessions"),
    ):
        values = [row[key] for row in levels]
        axes.plot(places, [v["median"] for v in values], "o-", color=colour, label=label)
        for place, value in zip(places, values, strict=True):
            axes.plot([place, place], [value["min"], value["max"]], color=colour, linewidth=1)
    axes.set_xticks(places, [str(row["clients"]) for row in levels])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("clients")
    axes.set_ylabel("pictures/s")
    axes.legend(fontsize=7)
