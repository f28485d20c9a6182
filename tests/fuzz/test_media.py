"""Mutated media through the scorer and its decoder process: every one gets an answer.

Short and seeded in the suite; ``make fuzz`` goes on with other seeds for ``FUZZ_SECONDS``.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import time
from collections.abc import Iterator

import pytest

from deepfake_models.decode.limits import DecodeLimits
from deepfake_models.decode.sandbox import ProcessDecoder
from deepfake_models.results import Verdict, VerdictCode
from deepfake_models.scorer import Scorer
from tests.support import mediakit

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
SHORT = 12
"""Mutants of each kind in the suite."""


def originals() -> dict[str, bytes]:
    moving = mediakit.panning(12, 160, 128)
    made = {
        "mp4": mediakit.encode(moving),
        "webm": mediakit.encode(moving, container="webm", codec="libvpx-vp9"),
    }
    for form in ("PNG", "JPEG", "WEBP"):
        made[form.lower()] = mediakit.picture(moving[0], form)
    return {**made, "gif": mediakit.animation(moving[:4], "GIF", [100] * 4)}


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    limits = DecodeLimits(max_pixels=4_000_000, timeout_s=10.0)
    with contextlib.closing(ProcessDecoder(limits, 1)) as decoder:
        yield Scorer.open(decoder=decoder, threads=1)


def mutant(data: bytes, draw: random.Random) -> bytes:
    """``data`` with one to eight bytes, runs or its length changed."""
    content = bytearray(data)
    for _ in range(draw.randint(1, 8)):
        at = draw.randrange(max(len(content), 1))
        run = draw.choice((1, 4, 64, 1024))
        match draw.randrange(6):
            case 0:
                content[at : at + 1] = draw.randbytes(1)
            case 1:
                content[at : at + run] = draw.choice((b"\x00", b"\xff")) * run
            case 2:
                del content[at:]
            case 3:
                del content[at : at + run]
            case 4:
                content[at:at] = content[draw.randrange(len(content) or 1) :][:run]
            case _:
                content[at : at + 4] = draw.choice((0, 1, 2**31 - 1, 2**32 - 1)).to_bytes(4, "big")
    return bytes(content)


def check(verdict: Verdict) -> None:
    """What holds of every answer: a failure is never a score."""
    judged = verdict.score is not None
    decided = (VerdictCode.LIKELY_MANIPULATED, VerdictCode.NO_MANIPULATION_FOUND)
    unjudged = (VerdictCode.NOT_APPLICABLE, VerdictCode.UNABLE_TO_EVALUATE)
    assert judged == (verdict.verdict not in unjudged)
    assert verdict.verdict in decided or verdict.reasons
    if verdict.score is not None:
        assert 0.0 <= verdict.score <= 1.0


@pytest.mark.parametrize("form", ["mp4", "webm", "png", "jpeg", "webp", "gif"])
def test_mutated_media_get_an_answer(scorer: Scorer, form: str) -> None:
    data = originals()[form]
    check(scorer.score(io.BytesIO(data), frames=2))
    until = time.monotonic() + SECONDS
    seed = SEED
    while seed < SEED + SHORT or time.monotonic() < until:
        damaged = mutant(data, random.Random(f"{form}/{seed}"))
        try:
            check(scorer.score(io.BytesIO(damaged), frames=2))
        except Exception as error:
            error.add_note(f"the mutant of seed {seed} of {form}")
            raise
        seed += 1
    # The process that decodes has come through, or another one is in its place.
    check(scorer.score(io.BytesIO(data), frames=2))
