"""Find out how many processor cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    That is the number of cores it may be scheduled on, or fewer if a control group (version 2)
    above it grants less processor time, as ``docker run --cpus`` and ``CPUQuota=`` of systemd do.
    """
    cores = len(os.sched_getaffinity(0))
    return max(1, min([cores, *(math.ceil(share) for share in _quotas())]))


def _quotas() -> list[float]:
    """Return the quotas of the control groups of this process, in cores."""
    try:
        lines = OWN_CGROUP.read_text().splitlines()
    except OSError:
        return []
    paths = [line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    groups = [CGROUPS / path for path in paths]
    quotas = []
    for group in (above for path in groups for above in (path, *path.parents)):
        try:
            # https://docs.kernel.org/admin-guide/cgroup-v2.html: "max" or microseconds, and of how
            # many microseconds.
            quota, period = (group / "cpu.max").read_text().split()
            quotas.append(int(quota) / int(period))
        except (OSError, ValueError):
            continue
    return quotas
