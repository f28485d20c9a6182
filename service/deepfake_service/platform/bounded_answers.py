"""Answers of other people's servers, received within limits of size and time.

An answer is never decompressed: a few hundred bytes on the wire can become gigabytes, and
decompressing a piece of it takes that memory before its size can be looked at.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from deepfake_models.errors import DeepfakeError


class UnusableAnswer(DeepfakeError):
    """A server did not answer as asked; the message says how, as the predicate of a sentence."""


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """What an answer may have and take."""

    max_bytes: int
    pause_s: float
    """Longest pause in it."""
    deadline_s: float
    """From the look-up of the server's name to the end of the answer."""


class _NameLookups(ThreadPoolExecutor):
    """The thread in which the name of a server is looked up. Nothing ends a look-up early, so it is
    left behind: ``asyncio.run`` would wait for it."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        super().shutdown(wait=False, cancel_futures=cancel_futures)


def fetch_bounded(
    url: str, limits: AnswerLimits, *, post: bytes | None = None, media_type: str | None = None
) -> bytes:
    """Return the body of a server's answer. Redirects are not followed.

    What is to be ``post``ed has this media type. Call it in a thread that runs no event loop.
    ``UnusableAnswer`` if the server cannot be reached, refuses, compresses its answer, or exceeds
    the limits.
    """
    headers = {
        "Accept-Encoding": "identity",
        **({"Content-Type": media_type} if media_type else {}),
    }
    method = "GET" if post is None else "POST"
    try:
        request = httpx.Request(method, url, content=post, headers=headers)
        return asyncio.run(asyncio.wait_for(_received(request, limits), limits.deadline_s))
    except (TimeoutError, httpx.TimeoutException) as error:
        raise UnusableAnswer("answers too slowly") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnusableAnswer("does not answer") from error


async def _received(request: httpx.Request, limits: AnswerLimits) -> bytes:
    content = bytearray()
    asyncio.get_running_loop().set_default_executor(_NameLookups(max_workers=1))
    async with httpx.AsyncClient(timeout=limits.pause_s) as client:
        answer = await client.send(request, stream=True)
        if answer.status_code != 200:
            raise UnusableAnswer(f"answered with status {answer.status_code}")
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise UnusableAnswer("compressed its answer, although it was asked not to")
        async for chunk in answer.aiter_raw():
            content += chunk
            if len(content) > limits.max_bytes:
                raise UnusableAnswer(f"sent too large an answer (over {limits.max_bytes} bytes)")
    return bytes(content)
