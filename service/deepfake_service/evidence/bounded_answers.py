"""Answers of other people's servers, received within limits of size and time.

An answer is never decompressed: a few hundred bytes on the wire can become gigabytes, and
decompressing a piece of it takes that memory before its size can be looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from deepfake_models.errors import DeepfakeError


class UnusableAnswer(DeepfakeError):
    """A server did not answer as asked; the message says how, as the predicate of a sentence."""


@dataclass(frozen=True, slots=True)
class Query:
    """A request to another server."""

    method: str
    url: str
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """What an answer may have and take."""

    max_bytes: int
    pause_s: float
    """Longest pause in it."""
    deadline_s: float
    """From the look-up of the server's name to the end of the answer."""


class _NameLookups(ThreadPoolExecutor):
    """The thread in which the name of a server is looked up.

    Nothing ends a look-up early, so it is left behind: ``asyncio.run`` would wait for it.
    """

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        super().shutdown(wait=False, cancel_futures=cancel_futures)


def answer_to(query: Query, limits: AnswerLimits) -> bytes:
    """Send a request and return the body of its answer. Redirects are not followed.

    Call it in a thread that runs no event loop.

    Raises:
        UnusableAnswer: the server cannot be reached, refuses, compresses its answer, or exceeds
            the limits.
    """
    try:
        return asyncio.run(asyncio.wait_for(_received(query, limits), limits.deadline_s))
    except (TimeoutError, httpx.TimeoutException) as error:
        raise UnusableAnswer("answers too slowly") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnusableAnswer("does not answer") from error


async def _received(query: Query, limits: AnswerLimits) -> bytes:
    headers = {**query.headers, "Accept-Encoding": "identity"}
    content = bytearray()
    asyncio.get_running_loop().set_default_executor(_NameLookups(max_workers=1))
    async with (
        httpx.AsyncClient(timeout=limits.pause_s) as client,
        client.stream(query.method, query.url, content=query.content, headers=headers) as answer,
    ):
        if answer.status_code != 200:
            raise UnusableAnswer(f"answered with status {answer.status_code}")
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise UnusableAnswer("compressed its answer, although it was asked not to")
        async for chunk in answer.aiter_raw():
            content += chunk
            if len(content) > limits.max_bytes:
                raise UnusableAnswer(f"sent too large an answer (over {limits.max_bytes} bytes)")
    return bytes(content)
