"""The messages between a decoder and its process, which may have been taken over."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from deepfake_models.bundle.results import MediaFacts
from deepfake_models.errors import DecoderFailed, UndecodableMedia
from deepfake_models.media.interface import DecodeLimits, GuardedSource
from deepfake_models.sandbox import decoder as sandbox
from deepfake_models.sandbox import protocol as wire
from deepfake_models.sandbox.child import RemoteFile
from deepfake_models.sandbox.confinement import Layer
from deepfake_models.sandbox.pool import ConfinedProcess
from tests.support.footage import LIMITS

OPENED = {
    "op": "opened",
    "frames": 2,
    "facts": {
        "kind": "video", "width": 4, "height": 2, "duration_s": 1.0, "frames": 2, "rotation": 0
    },
}  # fmt: skip
TIMES = struct.pack("<2d", 0.0, 0.5)
FRAME = {"op": "frame", "index": 0, "height": 2, "width": 4}


class Impostor(ConfinedProcess):
    """A stand-in for a child that sends a fixed script, whatever it is asked."""

    def __init__(self, script: list[Any]) -> None:
        ours, theirs = socket.socketpair()
        self.connection = wire.TimedConnection(ours)
        self.theirs = Connection(theirs.detach())
        for item in script:
            if isinstance(item, dict):
                self.theirs.send_bytes(wire.JSON + json.dumps(item).encode())
            elif isinstance(item, bytes):
                self.theirs.send_bytes(item)
            else:
                item(self.theirs)

    def close(self) -> None:
        self.connection.close()
        self.theirs.close()


def converse(script: list[Any], limits: DecodeLimits = LIMITS) -> Any:
    source = GuardedSource(io.BytesIO(b"0123456789"))
    with closing(Impostor(script)) as child:
        return list(sandbox._RemoteMedia(child, source, limits).frames([0]))


def test_valid_answers_of_the_impostor_are_accepted() -> None:
    frames = converse([OPENED, b"D", TIMES, FRAME, b"D", bytes(range(24))])
    assert frames[0].pixels[1, 3].tolist() == [21, 22, 23]


def facts(**changes: Any) -> dict[str, Any]:
    return {**OPENED, "facts": {**OPENED["facts"], **changes}}  # type: ignore[dict-item]


def raw_length(length: int) -> Callable[[Any], None]:
    def send(connection: Any) -> None:
        os.write(connection.fileno(), struct.pack("!i", -1) + struct.pack("!Q", length))

    return send


GOOD = [OPENED, b"D", TIMES]
LIES: dict[str, list[Any]] = {
    "no json": [b"J{"],
    "deep json": [b"J" + b"[" * 10_000],
    "no object": [b"J[]"],
    "unknown op": [{"op": "hello"}],
    "pickle": [b"\x80\x04N."],
    "endless header": [b"J" + b" " * 100_000],
    "length of 2^62": [raw_length(1 << 62)],
    "kind": [facts(kind="program"), b"D", TIMES],
    "width as text": [facts(width="4"), b"D", TIMES],
    "width as truth": [facts(width=True), b"D", TIMES],
    "no area": [facts(width=0), b"D", TIMES],
    "area over the limit": [facts(width=2000, height=2000), b"D", TIMES],
    "rotation": [facts(rotation=45), b"D", TIMES],
    "unknown kind of what is left out": [facts(unexamined=["text"]), b"D", TIMES],
    "more left out than there are kinds": [facts(unexamined=["film"] * 6), b"D", TIMES],
    "infinite duration": [b'J{"op":"opened","frames":2,"facts":{"kind":"video","width":4,'
                          b'"height":2,"duration_s":Infinity,"rotation":0}}', b"D", TIMES],
    "huge integer": [facts(duration_s=10**400), b"D", TIMES],
    "more frames than allowed": [{**OPENED, "frames": 1 << 40}],
    "image with two frames": [facts(kind="image"), b"D", TIMES],
    "times too short": [OPENED, b"D", TIMES[:8]],
    "times too long": [OPENED, b"D", TIMES * 2],
    "times fall": [OPENED, b"D", struct.pack("<2d", 0.0, -1.0)],
    "times stand still": [OPENED, b"D", struct.pack("<2d", 0.0, 0.0)],
    "times beyond the end": [facts(duration_s=1.0), b"D", struct.pack("<2d", 0.0, 1.5)],
    "times not from zero": [OPENED, b"D", struct.pack("<2d", 1.0, 2.0)],
    "times not numbers": [OPENED, b"D", struct.pack("<2d", 0.0, float("nan"))],
    "times as text": [OPENED, b"J" + TIMES],
    "another index": [*GOOD, {**FRAME, "index": 1}, b"D", bytes(24)],
    "another size": [*GOOD, {**FRAME, "height": 3}, b"D", bytes(36)],
    "too few pixels": [*GOOD, FRAME, b"D", bytes(23)],
    "too many pixels": [*GOOD, FRAME, b"D", bytes(25)],
    "pixels without their mark": [*GOOD, FRAME, bytes(24)],
    "pixels of 2^62 bytes": [*GOOD, FRAME, b"D", raw_length(1 << 62)],
    "pixels of fewer than no bytes": [
        *GOOD, FRAME, b"D", lambda c: os.write(c.fileno(), struct.pack("!i", -24) + bytes(24)),
    ],
    "failed, of another index": [*GOOD, {"op": "failed", "index": 1, "detail": ""}],
    "failed without detail": [*GOOD, {"op": "failed", "index": 0}],
    "read before the start": [{"op": "read", "offset": -1, "length": 1}],
    "read of everything": [{"op": "read", "offset": 0, "length": 1 << 40}],
    "read beyond the end": [{"op": "read", "offset": 11, "length": 1}],
    "a request": [{"op": "next"}],
    "a field too many": [{**OPENED, "more": 1}, b"D" + TIMES],
    "an answer to another question": [{"op": "closed"}],
    "video without a duration": [facts(duration_s=None), b"D" + TIMES],
    "foreign error": [{"op": "error", "class": "SystemExit", "message": "x"}],
    "error of no class": [{"op": "error", "class": ["UndecodableMedia"], "message": "x"}],
}  # fmt: skip


@pytest.mark.parametrize("script", LIES.values(), ids=LIES.keys())
def test_invalid_answers_fail_the_decoder(script: list[Any]) -> None:
    with pytest.raises(DecoderFailed):
        converse(script)


def test_a_video_that_is_reported_for_a_still_fails_the_decoder() -> None:
    source = GuardedSource(io.BytesIO(b"0123456789"))
    with closing(Impostor(GOOD)) as child, pytest.raises(DecoderFailed):
        sandbox._RemoteMedia(child, source, LIMITS, stills_only=True)


@pytest.mark.parametrize("value", [None, 0, 1, "true"])
def test_a_boolean_of_a_request_must_be_one(value: Any) -> None:
    with pytest.raises(ValidationError):
        wire.Open(size=1, limits=LIMITS, stills_only=value)


def test_an_answer_of_each_kind_is_read_as_it_was_sent() -> None:
    facts = MediaFacts(**OPENED["facts"])  # type: ignore[arg-type]
    messages: list[Any] = [
        wire.Confined(pid=7, missing=(Layer.LANDLOCK,)),
        wire.Read(offset=3, length=4),
        wire.Opened(facts=facts, frames=2),
        wire.FrameHeader(index=0, height=2, width=4),
        wire.Failed(index=1, detail="damaged"),
        wire.Error(name="UndecodableMedia", message="damaged"),
        wire.Finished(),
    ]
    with closing(Impostor([])) as child:
        for message in messages:
            wire.send(child.theirs, message)
            assert wire.receive_answer(child.connection) == message
        wire.send(child.theirs, wire.Next())
        with pytest.raises(wire.WireError):
            wire.receive_answer(child.connection)


def test_a_text_from_the_child_is_truncated_and_made_printable() -> None:
    message = "\x1b[31m" + "x" * 1000
    with pytest.raises(UndecodableMedia) as caught:
        converse([{"op": "error", "class": "UndecodableMedia", "message": message}])
    assert len(caught.value.message) == wire.MAX_TEXT
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "script",
    [
        [*GOOD, lambda c: os.write(c.fileno(), struct.pack("!i", 50) + b"J{")],
        [*GOOD, FRAME, b"D", lambda c: os.write(c.fileno(), struct.pack("!i", 24) + bytes(10))],
        [*GOOD, FRAME, b"D", lambda c: os.write(c.fileno(), b"\0")],
    ],
    ids=["message", "pixels", "length of the pixels"],
)
def test_a_child_that_stalls_within_a_message_is_ended(script: list[Any]) -> None:
    started = time.monotonic()
    with pytest.raises(DecoderFailed):
        converse(script, LIMITS.model_copy(update={"timeout_s": 0.5}))
    assert time.monotonic() - started < 60


def test_remote_file_reads_like_a_file() -> None:
    data = np.random.default_rng(0).bytes(3 * wire.MAX_READ_BYTES + 17)
    ours, theirs = socket.socketpair()
    parent, child = wire.TimedConnection(ours), Connection(theirs.detach())
    requests: list[wire.Read] = []

    def answer() -> None:
        while True:
            try:
                request = wire.receive_answer(parent)
            except EOFError:
                return
            assert isinstance(request, wire.Read)
            requests.append(request)
            wire.send_data(parent, data[request.offset :][: request.length])

    thread = threading.Thread(target=answer)
    thread.start()
    remote, local = RemoteFile(child, len(data)), io.BytesIO(data)
    draw = np.random.default_rng(5)
    for _ in range(60):
        offset, size = int(draw.integers(0, len(data) + 100)), int(draw.integers(0, 1 << 21))
        assert remote.seek(offset) == local.seek(offset)
        assert remote.read(size) == local.read(size)
        assert remote.tell() == offset + len(data[offset : offset + size])
    assert remote.seek(-5, os.SEEK_END) == len(data) - 5
    assert remote.read() == data[-5:]
    with pytest.raises(OSError, match="before the start"):
        remote.seek(-1)
    assert len(requests) == 4  # each block once
    child.close()
    thread.join()
    parent.close()
