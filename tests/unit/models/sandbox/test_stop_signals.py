"""Signals that a terminal or a service manager sends to every process of a service that stops."""

from __future__ import annotations

import contextlib
import io
import os
import signal

import pytest

from deepfake_models.media.interface import DecodeLimits, FailedFrame
from deepfake_models.sandbox.decoder import ProcessDecoder
from tests.support import footage
from tests.support.servers import Watch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_items_in_work_are_finished_when_all_processes_are_told_to_stop(
    number: signal.Signals,
) -> None:
    video = footage.encode(footage.panning(50), gop=10)
    with contextlib.closing(ProcessDecoder(DecodeLimits(timeout_s=60), workers=1)) as decoder:
        with decoder.open(io.BytesIO(video)) as media:
            frames = media.frames(range(len(media.times)))
            shown = [next(frames)]
            server = decoder._pool._server.process
            assert server is not None
            processes = {server.pid, *Watch(server.pid).living()}
            assert len(processes) >= 2  # the server, and the process of the item
            for pid in processes:
                os.kill(pid, number)
            shown += frames
        assert len(shown) == len(media.times) == 50
        assert not any(isinstance(frame, FailedFrame) for frame in shown)
        # The server still serves, and still ends its processes.
        with decoder.open(io.BytesIO(video)) as media:
            assert len(list(media.frames([0]))) == 1
        assert decoder._pool._server.process is server
    assert server.poll() == 0
    for pid in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
