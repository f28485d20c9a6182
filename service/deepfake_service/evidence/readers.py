"""Readers of the formats in a bundle of evidence, in this process or in a confined one.

A bundle comes from a stranger until its signature has been checked, and its maker may be hostile
even then. Its ZIP directory, its PDF reports, its time stamps and its pictures are therefore read
in a process that has no rights and bounded time and memory (``deepfake_models.decode.pool``).
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import BinaryIO, Protocol

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from numpy.typing import NDArray

from deepfake_models.decode.pool import ProcessPool
from deepfake_models.decode.process import TaskBounds
from deepfake_models.decode.protocol import Options
from deepfake_models.errors import DecoderFailed, DeepfakeError
from deepfake_service.evidence import timestamps
from deepfake_service.evidence import zip_format as bag
from deepfake_service.evidence.artifacts import PictureAltered, pixels_of

MEMORY_BYTES = 3 << 30
"""Address space of the process: it holds a bundle of the largest size three times."""
CPU_S = 20.0
"""Processor time for one file. Those of the service take less than a second."""
TIMEOUT_S = 120.0
"""Time for one file on a busy machine."""
WAIT_S = 60.0
"""Time to wait for a free process before the verification is refused as too much at once."""


LAZY_MODULES = (
    "deepfake_service.evidence.pdf_signature",
    "cryptography.hazmat.backends.openssl.backend",
    "pyhanko.pdf_utils.crypt.pdfmac",
    "pyhanko.pdf_utils.filters",
    "pyhanko_certvalidator.path",
    "pyhanko_certvalidator.validate",
)
"""Modules that this package and the libraries import within functions."""


class BundleReaders(Protocol):
    """Readers of a bundle's ZIP directory, reports, time stamps and pictures."""

    def files(self, content: bytes) -> dict[str, bytes]:
        """Return the files of a bundle.

        Raises:
            InvalidBag: it is not a canonical ZIP.
        """
        ...

    def check_report(
        self,
        pdf: bytes,
        certificates: Sequence[x509.Certificate],
        at: datetime,
        timestamp_roots: Sequence[x509.Certificate] = (),
    ) -> datetime | None:
        """Check a report's signature: see ``pdf_signature.verify``.

        Raises:
            InvalidReport: it is not valid.
        """
        ...

    def stamp_time(self, token: bytes, data: bytes, roots: Sequence[x509.Certificate]) -> datetime:
        """Return the time that a time stamp over ``data`` states: see ``timestamps.verify``.

        Raises:
            InvalidTimestamp: it is not valid.
        """
        ...

    def picture(self, content: bytes, size: int) -> NDArray[np.uint8]:
        """Return the pixels of a crop: see ``artifacts.pixels_of``.

        Raises:
            PictureAltered: it has another size.
        """
        ...


class DirectReaders:
    """Readers that parse in the calling process, for bundles of our own making."""

    def files(self, content: bytes) -> dict[str, bytes]:
        """See ``BundleReaders``."""
        return bag.unzipped(content)

    def check_report(
        self,
        pdf: bytes,
        certificates: Sequence[x509.Certificate],
        at: datetime,
        timestamp_roots: Sequence[x509.Certificate] = (),
    ) -> datetime | None:
        """See ``BundleReaders``."""
        from deepfake_service.evidence import pdf_signature

        return pdf_signature.verify(pdf, list(certificates), at, timestamp_roots)

    def stamp_time(self, token: bytes, data: bytes, roots: Sequence[x509.Certificate]) -> datetime:
        """See ``BundleReaders``."""
        return timestamps.verify(token, data, list(roots))

    def picture(self, content: bytes, size: int) -> NDArray[np.uint8]:
        """See ``BundleReaders``."""
        return pixels_of(content, size)


class UnreadableFile(DeepfakeError):
    """Reading the file took too much time or memory, or crashed its reader."""


class ConfinedReaders:
    """Readers that parse in a confined process. Close them with ``close()``.

    Raises from each method also:
        UnreadableFile: reading took too much time or memory, or crashed the process.
        SandboxBusy: no process became free.
        SandboxIncomplete: a layer is missing, and all are required.
    """

    def __init__(self, processes: int = 1, *, require: bool = False) -> None:
        tasks = tuple(f"{__name__}:{task.__name__}" for task in _TASKS)
        options = Options(tasks=tasks, memory_bytes=MEMORY_BYTES)
        self._pool = ProcessPool(options, processes, require=require)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()

    def files(self, content: bytes) -> dict[str, bytes]:
        """See ``BundleReaders``."""
        if len(content) > bag.MAX_BYTES:
            raise bag.InvalidBag(f"larger than {bag.MAX_BYTES} bytes, the limit of a bundle")
        answer = self._run("unzip", content, {})
        header, _, payload = answer.partition(b"\n")
        entries, files, offset = _object(header), {}, 0
        if "error" in entries:
            raise bag.InvalidBag(str(entries["error"]))
        if len(entries) > bag.MAX_FILES:
            raise UnreadableFile
        for name, size in entries.items():
            if not isinstance(size, int):
                raise UnreadableFile
            files[name] = payload[offset : offset + size]
            offset += size
        # The process that read a hostile file is not trusted: its answer must explain the content.
        if bag.zipped(files) != content:
            raise UnreadableFile
        return files

    def check_report(
        self,
        pdf: bytes,
        certificates: Sequence[x509.Certificate],
        at: datetime,
        timestamp_roots: Sequence[x509.Certificate] = (),
    ) -> datetime | None:
        """See ``BundleReaders``."""
        argument = {
            "chain": _pems(certificates), "roots": _pems(timestamp_roots), "at": at.isoformat()
        }  # fmt: skip
        answer = _object(self._run("check_pdf", pdf, argument))
        if answer.get("error"):
            from deepfake_service.evidence.pdf_signature import InvalidReport

            raise InvalidReport(str(answer["error"]))
        stamp = answer.get("stamp")
        try:
            return None if stamp is None else datetime.fromisoformat(str(stamp))
        except ValueError as error:
            raise UnreadableFile from error

    def stamp_time(self, token: bytes, data: bytes, roots: Sequence[x509.Certificate]) -> datetime:
        """See ``BundleReaders``."""
        if len(token) > timestamps.MAX_REPLY_BYTES:
            raise timestamps.InvalidTimestamp("the time stamp is too large")
        argument = {"roots": _pems(roots), "size": len(token)}
        answer = _object(self._run("check_stamp", token + data, argument))
        if answer.get("error"):
            raise timestamps.InvalidTimestamp(str(answer["error"]))
        try:
            return datetime.fromisoformat(str(answer.get("at")))
        except ValueError as error:
            raise UnreadableFile from error

    def picture(self, content: bytes, size: int) -> NDArray[np.uint8]:
        """See ``BundleReaders``."""
        answer = self._run("decode_picture", content, {"size": size})
        if answer.startswith(b"{"):
            raise PictureAltered(str(_object(answer).get("error")))
        pixels = base64.b64decode(answer)
        if len(pixels) != size * size * 3:
            raise UnreadableFile
        return np.frombuffer(pixels, np.uint8).reshape(size, size, 3)

    def _run(self, task: str, content: bytes, argument: Mapping[str, object]) -> bytes:
        bounds = TaskBounds(TIMEOUT_S, MEMORY_BYTES, CPU_S, WAIT_S)
        sent = json.dumps(argument).encode()
        try:
            return self._pool.run(f"{__name__}:{task}", io.BytesIO(content), sent, bounds)
        except DecoderFailed as error:
            raise UnreadableFile from error


def _pems(certificates: Sequence[x509.Certificate]) -> list[str]:
    return [c.public_bytes(Encoding.PEM).decode() for c in certificates]


def _object(text: bytes) -> dict[str, object]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UnreadableFile from error
    if not isinstance(content, dict):
        raise UnreadableFile
    return content


def prepare() -> None:
    """Import what the libraries would only when they first need it."""
    for name in LAZY_MODULES:
        importlib.import_module(name)


def begin() -> None:
    """Open an event loop: pyHanko runs its coroutines by ``asyncio.run``, which would open one.

    Each process has its own, because a file could leave bytes in the sockets of one that they
    share.
    """
    asyncio.run = asyncio.new_event_loop().run_until_complete  # type: ignore[assignment]


# The tasks. An error of the file is an answer, since only its text crosses to the parent.


def unzip(source: BinaryIO, _argument: bytes) -> bytes:
    """Read a bundle: a line of JSON, the size of each file by name, and then their contents."""
    try:
        files = bag.unzipped(source.read())
    except bag.InvalidBag as error:
        return json.dumps({"error": error.message}).encode()
    sizes = {name: len(content) for name, content in files.items()}
    return b"\n".join((json.dumps(sizes).encode(), b"".join(files.values())))


def check_pdf(source: BinaryIO, argument: bytes) -> bytes:
    """Check a report; the argument has certificates in PEM, and the time ``at``."""
    from deepfake_service.evidence import pdf_signature

    given = json.loads(argument)
    chain, roots = (
        [x509.load_pem_x509_certificate(text.encode()) for text in given[name]]
        for name in ("chain", "roots")
    )
    at = datetime.fromisoformat(given["at"])
    try:
        stamp = pdf_signature.verify(source.read(), chain, at, roots)
    except pdf_signature.InvalidReport as error:
        return json.dumps({"error": error.message}).encode()
    except Exception as error:
        return json.dumps({"error": f"cannot be read ({type(error).__name__})"}).encode()
    return json.dumps({"stamp": stamp and stamp.isoformat()}).encode()


def check_stamp(source: BinaryIO, argument: bytes) -> bytes:
    """Check a time stamp, which what it covers follows; the argument has roots and its size."""
    given = json.loads(argument)
    roots = [x509.load_pem_x509_certificate(text.encode()) for text in given["roots"]]
    content = source.read()
    token, data = content[: given["size"]], content[given["size"] :]
    try:
        at = timestamps.verify(token, data, roots)
    except timestamps.InvalidTimestamp as error:
        return json.dumps({"error": error.message}).encode()
    except Exception as error:
        return json.dumps({"error": f"cannot be read ({type(error).__name__})"}).encode()
    return json.dumps({"at": at.isoformat()}).encode()


def decode_picture(source: BinaryIO, argument: bytes) -> bytes:
    """Decode a crop of the ``size`` in the argument to base64 of its pixels, RGB by rows."""
    try:
        pixels = pixels_of(source.read(), json.loads(argument)["size"])
    except PictureAltered as error:
        return json.dumps({"error": error.message}).encode()
    return base64.b64encode(np.ascontiguousarray(pixels).tobytes())


_TASKS = (unzip, check_pdf, check_stamp, decode_picture)
