"""Score mutated media with a scorer that decodes in a child process: each gets an answer.

The suite runs a short campaign with fixed seeds; ``make fuzz`` continues with other seeds for
``FUZZ_SECONDS`` a format.
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
from tests.support import bundlekit, mediakit

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
MUTANTS = 12
"""Mutants of each format in the suite."""


def original(form: str) -> bytes:
    """Return a small file of the format ``form``."""
    frames = mediakit.panning(12, 160, 128)
    match form:
        case "mp4":
            return mediakit.encode(frames)
        case "webm":
            return mediakit.encode(frames, container="webm", codec="libvpx-vp9")
        case "gif":
            return mediakit.animation(frames[:4], "GIF", [100] * 4)
        case _:
            return mediakit.picture(frames[0], form.upper())


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    limits = DecodeLimits(max_pixels=4_000_000, timeout_s=10.0)
    with contextlib.closing(ProcessDecoder(limits, 1)) as decoder:
        yield Scorer.open(bundlekit.small_bundle_dir(), decoder=decoder, threads=1)


def mutant(data: bytes, rng: random.Random) -> bytes:
    """Return ``data`` after one to eight changes of a byte, of a run of bytes or of its length."""
    content = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(max(len(content), 1))
        run = rng.choice((1, 4, 64, 1024))
        match rng.randrange(6):
            case 0:
                content[at : at + 1] = rng.randbytes(1)
            case 1:
                content[at : at + run] = rng.choice((b"\x00", b"\xff")) * run
            case 2:
                del content[at:]
            case 3:
                del content[at : at + run]
            case 4:
                content[at:at] = content[rng.randrange(len(content) or 1) :][:run]
            case _:
                content[at : at + 4] = rng.choice((0, 1, 2**31 - 1, 2**32 - 1)).to_bytes(4, "big")
    return bytes(content)


def check(verdict: Verdict) -> None:
    """Assert what is true of every answer: a failure never has a score."""
    scored = verdict.score is not None
    decided = (VerdictCode.LIKELY_MANIPULATED, VerdictCode.NO_MANIPULATION_FOUND)
    without_score = (VerdictCode.NOT_APPLICABLE, VerdictCode.UNABLE_TO_EVALUATE)
    assert scored == (verdict.verdict not in without_score)
    assert verdict.verdict in decided or verdict.reasons
    if verdict.score is not None:
        assert 0.0 <= verdict.score <= 1.0


@pytest.mark.parametrize("form", ["mp4", "webm", "png", "jpeg", "webp", "gif"])
def test_mutated_media_get_an_answer(scorer: Scorer, form: str) -> None:
    data = original(form)
    check(scorer.score(io.BytesIO(data), frames=2))
    deadline = time.monotonic() + SECONDS
    seed = SEED
    while seed < SEED + MUTANTS or time.monotonic() < deadline:
        mutated = mutant(data, random.Random(f"{form}/{seed}"))
        try:
            check(scorer.score(io.BytesIO(mutated), frames=2))
        except Exception as error:
            error.add_note(f"the mutant of seed {seed} of {form}")
            raise
        seed += 1
    # The decoder process has survived, or another one has taken its place.
    check(scorer.score(io.BytesIO(data), frames=2))
