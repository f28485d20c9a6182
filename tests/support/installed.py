"""A third-party package, as an installer leaves it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


def install(
    folder: Path, patch: pytest.MonkeyPatch, package: str, code: str, **entries: dict[str, str]
) -> Path:
    """Install ``package`` 1.0 with the ``code`` of its module into ``folder``, and return the
    folder of the module. ``entries`` are its entry points by what follows ``deepfake.`` in the
    name of their group, each by its name."""
    module, facts = folder / package, folder / f"{package}-1.0.dist-info"
    module.mkdir(parents=True)
    facts.mkdir()
    (module / "__init__.py").write_text(code)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [
        line
        for group, names in entries.items()
        for line in (f"[deepfake.{group}]", *(f"{name} = {at}" for name, at in names.items()))
    ]
    (facts / "entry_points.txt").write_text("\n".join(lines))
    patch.delitem(sys.modules, package, raising=False)
    patch.syspath_prepend(str(folder))
    return module
