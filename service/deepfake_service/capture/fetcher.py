"""The child that fetches one link, by ``link_fetch.py``.

It runs in the sandbox without a network but the gate, and gives a WARC file in pieces and then a
line of JSON on what it found. Its parent believes neither: the file is read like any other that is
handed in, and the gate keeps a log of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import ssl
import threading
from collections.abc import Generator
from importlib.metadata import version
from typing import Any, BinaryIO

_tls: list[Any] = []
_tools = {"openssl": ssl.OPENSSL_VERSION}


def prepare() -> None:
    """Import yt-dlp with all its extractors, which takes seconds, before any process is forked."""
    os.environ["YTDLP_NO_LAZY_EXTRACTORS"] = "1"
    import yt_dlp
    import yt_dlp.globals
    from yt_dlp.networking._helper import make_ssl_context

    yt_dlp.globals.plugin_dirs.value = []
    for package in ("yt_dlp.downloader", "yt_dlp.networking", "yt_dlp.utils", "yt_dlp.extractor"):
        found = importlib.import_module(package)
        for module in pkgutil.iter_modules(found.__path__, f"{package}."):
            if not module.name.endswith("lazy_extractors"):
                with contextlib.suppress(ImportError):  # of an optional library
                    importlib.import_module(module.name)
    for name in ("yt_dlp.aes", "yt_dlp.jsinterp", "yt_dlp.webvtt", "stringprep", "encodings.idna"):
        importlib.import_module(name)
    from deepfake_service.capture.link_fetch import OPTIONS, Silent
    from deepfake_service.capture.recorder import named
    from deepfake_service.post_pages import reading

    with yt_dlp.YoutubeDL({**OPTIONS, "logger": Silent()}) as first:
        first.get_info_extractor("Generic")
    yt_dlp.aes.aes_cbc_decrypt_bytes(bytes(16), bytes(16), bytes(16))  # loads its library
    named("https://ß.example/")  # loads its tables
    reading.prepare()
    _tls.append(make_ssl_context())
    _tools.update({name: version(name) for name in ("yt-dlp", "requests", "urllib3")})


def fetch_task(_source: BinaryIO, argument: bytes) -> Generator[bytes, None, bytes]:
    """Fetch ``url`` of the argument; yield a WARC file, and return what was found as JSON."""
    from deepfake_service.capture.link_fetch import Fetch
    from deepfake_service.capture.recorder import Sink

    asked = json.loads(argument)
    tls: ssl.SSLContext = _tls[0]
    if asked["authorities"]:
        tls.load_verify_locations(cadata=asked["authorities"])
    sink = Sink(asked["max_bytes"], tls, f"yt-dlp {_tools['yt-dlp']}")
    found: dict[str, Any] = {}

    def run() -> None:
        try:
            found.update(Fetch(sink, asked["url"]).result())
        except MemoryError:
            found.update(reason="too_large")
        except Exception:  # of 1,800 extractors
            found.update(reason="failed")
        finally:
            sink.finish()

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    while (piece := sink.pieces.get()) is not None:
        yield piece
    worker.join()
    if sink.limit:
        found["reason"] = "too_large"
    return json.dumps({**found, "tools": _tools}).encode()
