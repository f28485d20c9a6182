"""Readers of the formats in a bundle of evidence, in this process or in a confined one.

A bundle comes from a stranger until its signature has been checked, and its maker may be hostile
even then. Its ZIP directory, its PDF reports and their certificates, its time stamps and its
pictures, and files of looks, are therefore read in a process that has no rights and bounded time
and memory (``deepfake_models.sandbox.pool``).
"""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from numpy.typing import NDArray

from deepfake_models.errors import DecoderFailed, DeepfakeError
from deepfake_models.sandbox.pool import ProcessPool, TaskBounds
from deepfake_models.sandbox.protocol import Options
from deepfake_service.evidence.bundle import dsse, look_format
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.artifacts import pixels_of
from deepfake_service.evidence.bundle.documents import Failed
from deepfake_service.platform import timestamps

MEMORY_BYTES = 3 << 30
"""Address space of the process: it holds a bundle of the largest size three times."""
CPU_S = 20.0
"""Processor time for one file. Those of the service take less than a second."""
TIMEOUT_S = 120.0
"""Time for one file on a busy machine."""
WAIT_S = 60.0
"""Time to wait for a free process before the verification is refused as too much at once."""


LAZY_MODULES = (
    "deepfake_service.evidence.bundle.pdf_signature",
    "cryptography.hazmat.backends.openssl.backend",
    "pyhanko.pdf_utils.crypt.pdfmac",
    "pyhanko.pdf_utils.filters",
    "pyhanko_certvalidator.path",
    "pyhanko_certvalidator.validate",
    "securesystemslib.dsse",
    "securesystemslib.signer",
)
"""Modules that this package and the libraries import within functions."""

TASK = f"{__name__}:answer_task"
Answer = tuple[dict[str, Any], bytes]
"""What a task found, as JSON data and as bytes."""


Task = Callable[[bytes, dict[str, Any]], Answer]
"""Reads a file, given arguments as JSON data."""


_UNREADABLE = "reading the file took too much time or memory, or crashed its reader"


@dataclass(frozen=True, slots=True)
class ReportSignature:
    """Who signed a report, and when."""

    certificate: str
    """Its SHA-256."""
    key: str
    """The id of its key: see ``dsse.key_id``."""
    stamp: datetime | None


class BundleReaders:
    """Readers of a bundle's ZIP directory, reports, time stamps and pictures, and of looks.

    Without ``processes``, they parse in the calling process, which is for bundles of our own
    making only. Otherwise they parse in confined ones, and have to be closed with ``close()``.

    Raises from each method also:
        Failed: reading took too much time or memory, or crashed the process.
        SandboxBusy: no process became free.
        SandboxIncomplete: a layer is missing, and all are required.
    """

    def __init__(self, processes: int = 0, *, require: bool = False) -> None:
        self._pool: ProcessPool | None = None
        if processes:
            options = Options(tasks=(TASK,), memory_bytes=MEMORY_BYTES)
            self._pool = ProcessPool(options, processes, require=require)

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.close()

    def files(self, content: bytes) -> dict[str, bytes]:
        """Return the files of a bundle; ``Failed`` if it is not a canonical ZIP."""
        if len(content) > bag.MAX_BYTES:
            raise Failed(f"larger than {bag.MAX_BYTES} bytes, the limit of a bundle")
        sizes, payload = self._run(unzip, content, {})
        files, offset = {}, 0
        if len(sizes) > bag.MAX_FILES:
            raise Failed(_UNREADABLE)
        for name, size in sizes.items():
            if not isinstance(size, int):
                raise Failed(_UNREADABLE)
            files[name] = payload[offset : offset + size]
            offset += size
        # The process that read a hostile file is not trusted: its answer must explain the content.
        if bag.zipped(files) != content:
            raise Failed(_UNREADABLE)
        return files

    def looks(self, content: bytes) -> list[look_format.Record]:
        """Return the records in a file of looks: see ``look_format.records_in``."""
        if len(content) > look_format.MAX_FILE_BYTES:
            raise Failed(f"larger than {look_format.MAX_FILE_BYTES} bytes, the limit for looks")
        self._run(check_looks, content, {})
        return look_format.records_in(content)  # in bounds, and canonical

    def check_report(
        self,
        pdf: bytes,
        certificates: bytes,
        at: datetime,
        timestamp_roots: Sequence[x509.Certificate] = (),
    ) -> ReportSignature:
        """Check a report's signature, given a chain of certificates in PEM: see
        ``pdf_signature.verify``."""
        given = {
            "size": len(certificates), "roots": _pems(timestamp_roots), "at": at.isoformat()
        }  # fmt: skip
        found, _ = self._run(check_pdf, certificates + pdf, given)
        stamp = None if found.get("stamp") is None else _time(found["stamp"])
        return ReportSignature(str(found.get("certificate")), str(found.get("key")), stamp)

    def stamp_time(self, token: bytes, data: bytes, roots: Sequence[x509.Certificate]) -> datetime:
        """Return the time that a time stamp over ``data`` states: see ``timestamps.verify``."""
        if len(token) > timestamps.MAX_REPLY_BYTES:
            raise Failed("the time stamp is too large")
        given = {"roots": _pems(roots), "size": len(token)}
        found, _ = self._run(check_stamp, token + data, given)
        return _time(found.get("at"))

    def picture(self, content: bytes, size: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the pixels of a picture: see ``artifacts.pixels_of``."""
        _, pixels = self._run(decode_picture, content, {"size": size})
        if len(pixels) != math.prod(size) * 3:
            raise Failed(_UNREADABLE)
        return np.frombuffer(pixels, np.uint8).reshape(*size, 3)

    def _run(self, task: Task, content: bytes, given: dict[str, Any]) -> Answer:
        """Return the answer of a task; ``Failed`` if the file is not what it should be."""
        source = io.BytesIO(content)
        argument = json.dumps({**given, "task": task.__name__}).encode()
        bounds = TaskBounds(TIMEOUT_S, MEMORY_BYTES, CPU_S, WAIT_S)
        try:
            if self._pool is None:
                answer = answer_task(source, argument)
            else:
                answer = self._pool.run(TASK, source, argument, bounds)
            header, _, payload = answer.partition(b"\n")
            found = json.loads(header)
        except (DecoderFailed, ValueError) as error:
            raise Failed(_UNREADABLE) from error
        if not isinstance(found, dict):
            raise Failed(_UNREADABLE)
        if "error" in found:
            raise Failed(str(found["error"]))
        return found, payload


def _pems(certificates: Sequence[x509.Certificate]) -> list[str]:
    return [c.public_bytes(Encoding.PEM).decode() for c in certificates]


def _time(text: object) -> datetime:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError as error:
        raise Failed(_UNREADABLE) from error


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


def answer_task(source: BinaryIO, argument: bytes) -> bytes:
    """Read a file in the confined process; answer with a line of JSON, and then with bytes. An
    error of the file is an answer, since only its text crosses to the parent."""
    given = json.loads(argument)
    try:
        found, payload = _TASKS[given["task"]](source.read(), given)
    except DeepfakeError as error:
        found, payload = {"error": error.message}, b""
    except Exception as error:
        found, payload = {"error": f"cannot be read ({type(error).__name__})"}, b""
    return json.dumps(found).encode() + b"\n" + payload


def unzip(content: bytes, _given: dict[str, Any]) -> Answer:
    """Return the size of each file of a bundle by name, and then their contents."""
    files = bag.unzipped(content)
    return {name: len(file) for name, file in files.items()}, b"".join(files.values())


def check_looks(content: bytes, _given: dict[str, Any]) -> Answer:
    """Check the form of a file of looks."""
    look_format.records_in(content)
    return {}, b""


def check_pdf(content: bytes, given: dict[str, Any]) -> Answer:
    """Check a report, which its certificates in PEM precede, given their size and the time."""
    from deepfake_service.evidence.bundle import pdf_signature

    certificates = x509.load_pem_x509_certificates(content[: given["size"]])
    at, roots = datetime.fromisoformat(given["at"]), _loaded(given["roots"])
    stamp = pdf_signature.verify(content[given["size"] :], certificates, at, roots)
    return {
        "certificate": certificates[0].fingerprint(hashes.SHA256()).hex(),
        # The keys of other kinds than statements' have ids, too.
        "key": dsse.key_id(certificates[0].public_key()),
        "stamp": stamp and stamp.isoformat(),
    }, b""


def check_stamp(content: bytes, given: dict[str, Any]) -> Answer:
    """Check a time stamp, which what it covers follows, given roots and its size."""
    token, data = content[: given["size"]], content[given["size"] :]
    return {"at": timestamps.verify(token, data, _loaded(given["roots"])).isoformat()}, b""


def decode_picture(content: bytes, given: dict[str, Any]) -> Answer:
    """Decode a picture of the given ``size`` to its pixels, RGB by rows."""
    return {}, np.ascontiguousarray(pixels_of(content, tuple(given["size"]))).tobytes()


def _loaded(pems: list[str]) -> list[x509.Certificate]:
    return [x509.load_pem_x509_certificate(text.encode()) for text in pems]


_TASKS = {
    task.__name__: task for task in (unzip, check_looks, check_pdf, check_stamp, decode_picture)
}
