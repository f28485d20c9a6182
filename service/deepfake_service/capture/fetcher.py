"""The program that fetches one link, by ``link_fetch.py``, in an enclosure.

``python -m deepfake_service.capture.fetcher GATE``: standard input has what is wanted as JSON,
standard output gets a line of JSON on what was found, and then a WARC file. ``GATE`` is the socket
on which it hands connections to the gate. Files are in memory that ends with the enclosure. The
caller believes neither: the file is read like any other that is handed in, and the gate keeps a log
of its own.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import ssl
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import certifi
from pydantic import BaseModel, ConfigDict, Field

from deepfake_models.sandbox.enclosure import NotEnclosed, enclose, lead_out
from deepfake_service.capture.link_fetch import FOLDER, LinkFetch, YtDlp
from deepfake_service.capture.page_client import PageClient

DATA_BYTES = 1 << 30
"""What each process within may reserve to write to: a page, and a medium that is joined."""
WRITABLE = {"/tmp": 256 << 20}  # noqa: S108 - within the enclosure
"""What may be received for a link, and a video once more when it is joined."""
CPU_S, MAX_PROCESSES, MAX_OPEN_FILES = 120, 16, 64
SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/ssl/certs")

Text = Annotated[str, Field(max_length=500)]


class Request(BaseModel):
    """What is wanted: a link, or the version of yt-dlp alone."""

    model_config = ConfigDict(frozen=True)

    program: str
    url: str | None
    authorities: str = ""
    """Certificates in PEM that are trusted beside the public ones, for tests."""


class FetchReport(BaseModel):
    """What is said of a link, in bounds. Nothing rests on it."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    reason: Annotated[str, Field(max_length=32)] | None = None
    detail: Text = ""
    host: Text = ""
    """Of the page, after redirects."""
    post: Annotated[dict[Annotated[str, Field(max_length=32)], Text], Field(max_length=8)] = {}
    tools: Annotated[dict[Annotated[str, Field(max_length=32)], Text], Field(max_length=8)] = {}


def find_program() -> str | None:
    """Return the path of yt-dlp: the first one on ``PATH``, or else beside this interpreter."""
    path = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    found = shutil.which("yt-dlp", path=path)
    return found and str(Path(found).resolve())


def shown_for(program: str) -> Iterator[str]:
    """Yield what the program needs: the system's and this environment's libraries, and its own."""
    own = Path(program).parent.parent
    own = own if (own / "pyvenv.cfg").exists() else Path(program)
    shown: list[Path] = []
    for path in (*map(Path, (*SYSTEM, sys.base_prefix, sys.prefix)), own):
        if not any(path.is_relative_to(each) for each in shown):
            shown.append(path)
            yield str(path)


def main() -> None:
    request = Request.model_validate_json(sys.stdin.buffer.read())
    gate = socket.socket(fileno=int(sys.argv[1]))
    gate.set_inheritable(False)
    tls = ssl.create_default_context(cafile=certifi.where())
    try:
        enclose(shown_for(request.program), WRITABLE, DATA_BYTES, proc=False)
    except NotEnclosed as error:
        _answer(FetchReport(reason="not_enclosed", detail=str(error)))
        return
    for number, value in (
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_NPROC, MAX_PROCESSES),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
    ):
        resource.setrlimit(number, (value, value))
    FOLDER.mkdir()
    environment = {"HOME": "/tmp", "LC_ALL": "C.UTF-8",  # noqa: S108 - as above
                   "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin"}  # fmt: skip
    if request.authorities:
        tls.load_verify_locations(cadata=request.authorities)
        trusted = Path("/tmp/authorities.pem")  # noqa: S108 - as above
        trusted.write_text(request.authorities)
        environment["SSL_CERT_FILE"] = str(trusted)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    port = listener.getsockname()[1]
    lead_out(listener, gate)
    yt_dlp = YtDlp(request.program, f"socks5h://127.0.0.1:{port}", environment)
    tools = {"yt-dlp": yt_dlp.version(), "h11": version("h11"), "openssl": ssl.OPENSSL_VERSION}
    if request.url is None:
        _answer(FetchReport(tools=tools))
        return
    fetch = LinkFetch(PageClient(port, tls), yt_dlp, request.url)
    try:
        reason = fetch.run()
    except MemoryError:
        reason = "too_large"
    except Exception:  # what has come must not be lost
        reason = "failed"
    found = FetchReport(reason=reason, host=fetch.host[:500], post=fetch.post,
                  tools=tools)  # fmt: skip
    _answer(found)
    for piece in fetch.records(tools["yt-dlp"]):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _answer(found: FetchReport) -> None:
    sys.stdout.buffer.write(found.model_dump_json().encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
