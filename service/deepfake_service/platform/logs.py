"""Structured logs on standard error: one JSON object per line, or text on a terminal.

Logs contain times, request ids, routes, statuses, key ids, error types and their places in the
code. They never contain file names, submitted URLs, scores or keys, nor the messages of unexpected
exceptions, which may quote any of these.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
import uuid
from pathlib import Path
from typing import TextIO

import structlog
from prometheus_client import Counter
from structlog.typing import EventDict, Processor

REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""Accepted form of a client's ``X-Request-ID``. It is strict, because the value is logged."""
MAX_FRAMES = 20
"""Number of innermost calls of a traceback that are logged."""
LIBRARIES = {
    "uvicorn.access": "CRITICAL",  # logs URLs with their query; the middleware logs requests
    "uvicorn.error": "WARNING",
    "python_multipart": "CRITICAL",  # logs parts of uploads
    "httpx": "WARNING",  # logs the URLs that it calls
    "httpcore": "WARNING",
    "pyhanko": "ERROR",  # logs the certificates of files that are verified
    "pyhanko_certvalidator": "ERROR",
    "alembic": "WARNING",  # logs the same lines at every start
}
"""Loggers that would log content or noise, with the lowest level that they may log."""
ERRORS = Counter(
    "deepfake_errors_logged",
    "Lines of level error that this process has logged, by event.",
    ["event"],
    registry=None,  # that of each app registers it
)
OWN_LOGGERS = "deepfake_service."
OF_LIBRARIES = "library"
"""Label of errors that libraries log: their texts would each create a time series."""


def request_id_from(header: str | None) -> str:
    """Return the client's request id if it has the accepted form, otherwise a new one."""
    if header is not None and REQUEST_ID.fullmatch(header):
        return header
    return uuid.uuid4().hex


def describe(error: BaseException) -> dict[str, object]:
    """Return the types and calls of ``error`` and its causes, without their messages or values."""
    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    described: dict[str, object] = {
        "error": f"{type(error).__module__}.{type(error).__qualname__}",
        "calls": [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames],
    }
    if isinstance(error, BaseExceptionGroup):
        described["errors"] = [describe(e) for e in error.exceptions[:5]]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        described["cause"] = describe(cause)
    return described


def _without_content(_: object, __: str, event: EventDict) -> EventDict:
    """Replace an exception in a log event by its description."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, tuple):
        info = info[1]
    if isinstance(info, BaseException):
        event["failure"] = describe(info)
    return event


def _counted(_: object, __: str, event: EventDict) -> EventDict:
    """Count errors, most of which no one would notice otherwise: what failed is tried again."""
    if event["level"] in ("error", "critical"):
        is_own = str(event.get("logger", "")).startswith(OWN_LOGGERS)
        ERRORS.labels(event["event"] if is_own else OF_LIBRARIES).inc()
    return event


def _foreign(_: object, __: str, event: EventDict) -> EventDict:
    """Cut multi-line messages of libraries to one line."""
    text = event.get("event")
    if isinstance(text, str) and "\n" in text:
        event["event"] = text.partition("\n")[0]
    return event


def configure(stream: TextIO | None = None) -> None:
    """Send the log lines of structlog and of the standard library to ``stream``. The default is
    standard error. A terminal gets lines for people."""
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_content,
        _counted,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _foreign],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.dev.ConsoleRenderer()
            if stream.isatty()
            else structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    # Of a traceback that a library logs as a message, one line would be left, which says nothing.
    handler.addFilter(lambda record: not str(record.msg).startswith("Traceback "))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel("INFO")
    for name, quiet in LIBRARIES.items():
        logging.getLogger(name).setLevel(quiet)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger named ``name``."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound
