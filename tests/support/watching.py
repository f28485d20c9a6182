"""Watch what a service that runs uses and writes: memory, child processes, files."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from sqlalchemy import Engine, event

INTERVAL_S = 0.1


def resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes; 0 if it has ended."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        return int(fields.get("VmRSS", "0 kB").split()[0]) * 1024
    return 0


def files_containing(folder: Path, needle: bytes) -> list[Path]:
    """Return the files in ``folder`` that contain ``needle``."""
    return [p for p in folder.rglob("*") if p.is_file() and needle in p.read_bytes()]


@contextlib.contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Collect the SQL that is executed while the context lasts."""
    seen: list[str] = []

    def see(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", see)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", see)


def children(pid: int) -> list[int]:
    """Return the processes that the threads of a process have started."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found.extend(map(int, (task / "children").read_text().split()))
    return found


class Watch:
    """Samples a process and its descendants while the context lasts."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.peak = 0
        """Largest resident memory of the process, in bytes."""
        self.peak_of_child = 0
        """Largest resident memory of one of its descendants, in bytes."""
        self.descendants: set[int] = set()
        """Every descendant that was seen."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self.peak = max(self.peak, resident(self._pid))
            for child in self.living():
                self.descendants.add(child)
                self.peak_of_child = max(self.peak_of_child, resident(child))

    def living(self) -> set[int]:
        """Return the descendants that run now."""
        found: set[int] = set()
        waiting = [self._pid]
        while waiting:
            new = set(children(waiting.pop())) - found
            found |= new
            waiting.extend(new)
        return found
