"""Content Credentials are read in a process of their own, and believed within bounds."""

from __future__ import annotations

import io
import json
import resource
from collections.abc import Iterator
from contextlib import suppress

import pytest

from deepfake_models.errors import DecoderFailed, MediaTooLarge
from deepfake_models.media import credentials
from deepfake_models.sandbox import protocol as wire
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_models.sandbox.pool import ProcessPool
from tests.support import attacks, footage
from tests.support.pools import BOUNDS, run


@pytest.fixture(scope="module")
def decoder() -> Iterator[ProcessDecoder]:
    decoder = ProcessDecoder(workers=1)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def plain() -> bytes:
    """A picture without credentials."""
    return footage.picture(footage.astronaut(), "JPEG")


def test_credentials_of_a_huge_file_are_not_read(decoder: ProcessDecoder) -> None:
    """A gibibyte of junk behind a header once took three gibibytes of the service's memory."""
    if credentials.c2pa is None:
        pytest.skip("c2pa-python is not installed")

    class Junk(io.BytesIO):
        """A JPEG header and then as many zeros as are read."""

        length = 1 << 30

        def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
            self.at = offset + (self.length if whence == io.SEEK_END else 0)
            return self.at

        def read(self, size: int | None = -1, /) -> bytes:
            raise AssertionError("it is refused by its size")

    assert decoder.read_credentials(Junk(), "image/jpeg") == {
        "state": "not_read",
        "reason": "Content Credentials are not read from pictures of this size",
    }


def test_credentials_that_swell_in_memory_cost_their_process(
    decoder: ProcessDecoder, plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    if credentials.c2pa is None:
        pytest.skip("c2pa-python is not installed")
    junk = b"\xff\xd8\xff" + b"A" * (200 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.setattr(credentials, "MEMORY_BYTES", 450 << 20)
    # The library may report that memory is short, or crash.
    with suppress(DecoderFailed, MediaTooLarge):
        result = decoder.read_credentials(io.BytesIO(junk), "image/jpeg")
        assert result["state"] in ("absent", "invalid")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    monkeypatch.undo()
    assert decoder.read_credentials(io.BytesIO(plain), "image/jpeg") == {"state": "absent"}


def test_credentials_cannot_be_forged_by_the_item_before(plain: bytes) -> None:
    if credentials.c2pa is None:
        pytest.skip("c2pa-python is not installed")
    decoder = ProcessDecoder(workers=1)
    decoder._pool = ProcessPool(wire.Options(tasks=(credentials.TASK, attacks.FORGE)), 1)
    try:
        run(decoder._pool, attacks.FORGE)
        assert decoder.read_credentials(io.BytesIO(plain), "image/jpeg") == {"state": "absent"}
    finally:
        decoder.close()


def test_one_process_reads_many_files(decoder: ProcessDecoder, plain: bytes) -> None:
    """Their callbacks are taken from executable memory that is there before it is confined."""
    if credentials.c2pa is None:
        pytest.skip("c2pa-python is not installed")
    argument = json.dumps({"mime": "image/jpeg"}).encode()
    with decoder._pool.process() as process:
        for _ in range(300):
            source = io.BytesIO(plain)
            (read,) = process.pieces(credentials.TASK, source, argument, BOUNDS, 0)
            assert json.loads(read) == {"state": "absent"}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b'{"state": "excellent"}',
        b'{"state": "trusted", "issuer": "' + b"x" * 300 + b'"}',
        b'{"state": "trusted", "actions": [' + b"null," * 50 + b"null]}",
        b'{"state": "absent", "more": 1}',
    ],
)
def test_credentials_out_of_bounds_are_not_believed(
    decoder: ProcessDecoder, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    if credentials.c2pa is None:
        pytest.skip("c2pa-python is not installed")
    monkeypatch.setattr(ProcessPool, "run", lambda *_: answer)
    with pytest.raises(DecoderFailed):
        decoder.read_credentials(io.BytesIO(b"x"), "image/jpeg")
