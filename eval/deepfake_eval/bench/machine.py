"""The machine on which a bench ran, and its load."""

from __future__ import annotations

import os
import platform
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from deepfake_models.processors import usable_cores

PACKAGES = ("deepfake-service", "onnxruntime", "onnxruntime-gpu", "av", "numpy", "pillow")


def describe() -> dict[str, Any]:
    """Return the processor, its usable cores, the memory, and the versions of what is measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: v for name in PACKAGES if (v := _version(name))},
    }


def load() -> float:
    """Return the load average of the last minute."""
    return round(os.getloadavg()[0], 2)


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a process or of several, in MB.

    Pages that several processes share, such as those of libraries, count for each of them in
    ``now_mb`` and ``peak_mb``, and once in ``shared_once_mb``, where the kernel divides each page
    among all processes of the machine that map it. That is ``None`` where the kernel does not tell.
    """

    now_mb: float = 0.0
    peak_mb: float = 0.0
    shared_once_mb: float | None = 0.0

    def __add__(self, other: Memory) -> Memory:
        parts = (self.shared_once_mb, other.shared_once_mb)
        known = [part for part in parts if part is not None]
        return Memory(
            self.now_mb + other.now_mb,
            self.peak_mb + other.peak_mb,
            sum(known) if len(known) == len(parts) else None,
        )


def memory(pid: int) -> Memory:
    """Return the resident memory of process ``pid``; nothing if it has ended, reaped or not."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return Memory()
    kilobytes = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status, re.MULTILINE))
    if "VmRSS" not in kilobytes:
        return Memory()
    now, peak = (int(kilobytes[name]) / 1024 for name in ("VmRSS", "VmHWM"))
    return Memory(now, peak, _proportional_mb(pid))


def _proportional_mb(pid: int) -> float | None:
    """Return the proportional set size of ``pid``; ``None`` if only root may read it.

    The service denies its memory to other processes of its user (``protect_process``).
    """
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    match = re.search(r"^Pss:\s+(\d+) kB$", rollup, re.MULTILINE)
    return int(match[1]) / 1024 if match else None


def family(pid: int) -> list[int]:
    """Return ``pid`` and all processes that descend from it."""
    children: dict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may contain spaces; state and parent follow it.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children[parent].append(int(stat.parent.name))
    members = [pid]
    for member in members:
        members += children[member]
    return members


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match[1] if match else platform.processor() or "unknown"
