"""What the time of a decoder process is charged with: neither the store's time nor the caller's."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from deepfake_models.bundle.results import ReasonCode, unable
from deepfake_models.errors import DecoderTooSlow, SourceTooSlow
from deepfake_models.media.interface import DecodeLimits
from deepfake_models.sandbox import pool
from deepfake_models.sandbox import protocol as wire
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_models.sandbox.pool import ProcessPool, TaskBounds
from tests.support import attacks, footage


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class SlowSource(io.BytesIO):
    """A source for whose reads much time passes on a clock."""

    def __init__(self, content: bytes, clock: Clock, seconds: float) -> None:
        super().__init__(content)
        self._clock, self._seconds = clock, seconds

    def read(self, size: int | None = -1, /) -> bytes:
        self._clock.now += self._seconds
        return super().read(size)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (pool, wire):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def decoder() -> Iterator[Callable[[DecodeLimits], ProcessDecoder]]:
    with contextlib.ExitStack() as opened:

        def open_one(limits: DecodeLimits) -> ProcessDecoder:
            return opened.enter_context(contextlib.closing(ProcessDecoder(limits, workers=1)))

        yield open_one


VIDEO = footage.encode(footage.panning(5))


def test_time_for_reading_the_source_is_not_charged_to_the_process(
    decoder: Callable[[DecodeLimits], ProcessDecoder], clock: Clock
) -> None:
    process = decoder(DecodeLimits(timeout_s=60.0))
    with process.open(SlowSource(VIDEO, clock, 600.0)) as media:
        assert len(list(media.frames(range(5)))) == 5
    assert clock.now > 1500.0


def test_time_of_the_caller_is_not_charged_to_the_process(
    decoder: Callable[[DecodeLimits], ProcessDecoder], clock: Clock
) -> None:
    process = decoder(DecodeLimits(timeout_s=60.0))
    with process.open(io.BytesIO(VIDEO)) as media:
        for _ in media.frames(range(5)):
            clock.now += 600.0


def test_a_source_that_is_too_slow_is_no_fault_of_the_media(
    decoder: Callable[[DecodeLimits], ProcessDecoder], clock: Clock
) -> None:
    process = decoder(DecodeLimits())
    slow = SlowSource(VIDEO, clock, pool.MAX_SOURCE_S + 1.0)
    with pytest.raises(SourceTooSlow), process.open(slow):
        pass
    with process.open(io.BytesIO(VIDEO)) as media:
        assert len(list(media.frames([0]))) == 1


def test_a_source_that_fails_slowly_is_not_asked_for_ever(clock: Clock) -> None:
    class Failing(SlowSource):
        def read(self, size: int | None = -1, /) -> bytes:
            super().read(0)
            raise OSError("the store does not respond")

    lent = ProcessPool(wire.Options(tasks=(attacks.INSIST,)), 1)
    with contextlib.closing(lent), pytest.raises(SourceTooSlow):
        lent.run(attacks.INSIST, Failing(b"source", clock, 600.0), b"20", TaskBounds(60.0, 6 << 30))


def test_time_of_the_process_is_charged_and_the_error_says_so(
    decoder: Callable[[DecodeLimits], ProcessDecoder], clock: Clock
) -> None:
    process = decoder(DecodeLimits(timeout_s=60.0))
    with process.open(io.BytesIO(VIDEO)) as media:
        media._process.connection.left_s = 0.0  # type: ignore[attr-defined]
        with pytest.raises(DecoderTooSlow) as caught:
            list(media.frames(range(5)))
    reason = unable(caught.value).reasons[0]
    assert (reason.code, reason.detail) == (ReasonCode.DECODER_FAILED, caught.value.message)
    assert "longer than is allowed" in caught.value.message


@pytest.mark.parametrize(("stills_only", "seconds"), [(True, 30.0), (False, 900.0)])
def test_a_picture_has_less_time_than_a_video(
    decoder: Callable[[DecodeLimits], ProcessDecoder],
    clock: Clock,
    stills_only: bool,
    seconds: float,
) -> None:
    process = decoder(DecodeLimits(timeout_s=900.0, picture_timeout_s=30.0))
    picture = io.BytesIO(footage.picture(footage.astronaut(), "PNG"))
    with process.open(picture, stills_only=stills_only) as media:
        assert media._process.connection.left_s == seconds  # type: ignore[attr-defined]
