"""Render the results of a bench as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from deepfake_eval.bench.pictures import SCORER, SERVICE
from deepfake_eval.bench.videos import CONTENDERS


def tables(results: dict[str, Any]) -> str:
    """Return the results as Markdown, a heading and a table for each section."""
    sections: dict[str, Callable[[Any], list[str]]] = {
        "videos": _videos,
        "pictures": _pictures,
    }
    parts = ["# Bench", _header(results)]
    for section, render in sections.items():
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
        "- each figure is the median, with minimum and maximum in parentheses",
    ]
    if results["quick"]:
        lines.append(
            "- **a quick run, which shows that everything works: its figures mean nothing**"
        )
    return "\n".join(lines)


def _videos(section: dict[str, Any]) -> list[str]:
    rows, missing = section["cases"], section["not_measured"]
    names = [n for n in CONTENDERS if any(n in row["seconds"] for row in rows)]
    ratios = list(dict.fromkeys(name for row in rows for name in row["ratios"]))
    return [
        "## Videos",
        _table(
            ["video, in seconds", *names],
            ([row["name"], *(_spread(row["seconds"].get(n)) for n in names)] for row in rows),
        ),
        "Ratios, round by round:",
        _table(
            ["video", *ratios],
            ([row["name"], *(_spread(row["ratios"].get(n)) for n in ratios)] for row in rows),
        ),
        *(f"- Not measured: {name}. {why}" for name, why in missing.items()),
    ]


def _pictures(section: dict[str, Any]) -> list[str]:
    single = (
        [
            row["name"],
            str(row["faces_found"]),
            *(_spread(row["seconds"][name]) for name in (SERVICE, SCORER)),
            _spread(row["ratio"]),
        ]
        for row in section["single"]
    )
    levels = (
        [
            str(row["clients"]),
            _spread(row["pictures_per_second"]),
            _spread(row["latency"]),
            str(row["refusals"]),
        ]
        for row in section["levels"]
    )
    return [
        "## Pictures (`POST /v1/frames`)",
        _table(["picture, in seconds", "faces found", SERVICE, SCORER, "ratio"], single),
        f"Many clients, {section['picture']}:",
        _table(["clients", "pictures/s", "seconds", "refusals"], levels),
        f"Memory of the service and its decoders after these requests: "
        f"{section['memory_mb']:.0f} MB, in which shared pages count for each process. From "
        f"its start until `/readyz`: {section['start_s']:.1f} s.",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spread(value: dict[str, Any] | None) -> str:
    if value is None:
        return "–"
    return f"{value['median']:.2f} ({value['min']:.2f}–{value['max']:.2f})"
