"""Give mutated files to what reads them: each gets an answer or a documented error.

The suite runs a few mutants with fixed seeds; ``make fuzz`` continues with other seeds for
``FUZZ_SECONDS`` a format. A mutant that fails is written to ``regressions/``.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path

import pytest

from tests.fuzz import harnesses
from tests.fuzz.harnesses import REGRESSIONS, Harness, bounded
from tests.support.mutation import evidence, mutate

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
MUTANTS = {"evidence": 20, "report": 8, "request": 80, "model": 40, "crop": 15, "looks": 40}
"""Mutants for a harness in the suite; ``DEFAULT`` of each format for the others."""
DEFAULT = 12


def mutant(form: str, seed: int) -> bytes:
    """Return the mutant of a format with this seed."""
    rng = random.Random(f"{form}/{seed}")
    original = rng.choice(harnesses.seeds(form))
    return evidence.mutant(original, rng) if form == "evidence" else mutate(form, original, rng)


@pytest.mark.parametrize(
    ("name", "form"), [(name, form) for name, forms in harnesses.FORMS.items() for form in forms]
)
def test_mutants_get_an_answer(opened: dict[str, Harness], name: str, form: str) -> None:
    harness = opened[name]
    for original in harnesses.seeds(form):
        harness(original)
    deadline = time.monotonic() + SECONDS
    seed = SEED
    while seed < SEED + MUTANTS.get(name, DEFAULT) or time.monotonic() < deadline:
        content = mutant(form, seed)
        try:
            with bounded():
                harness(content)
        except BaseException as error:
            error.add_note(f"the mutant of seed {seed} of {form}: {store(name, form, content)}")
            raise
        seed += 1
    # The process that parses has survived, or another one has taken its place.
    for original in harnesses.seeds(form):
        harness(original)


def store(name: str, form: str, content: bytes) -> Path:
    """Write a mutant that failed to the regressions, and return its path."""
    path = REGRESSIONS / name / f"{hashlib.sha256(content).hexdigest()[:12]}.{form}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "path", sorted(p for p in REGRESSIONS.rglob("*") if p.is_file()), ids=lambda path: path.name
)
def test_what_once_failed_gets_an_answer(opened: dict[str, Harness], path: Path) -> None:
    with bounded():
        opened[path.parent.name](path.read_bytes())
