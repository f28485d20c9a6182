"""Measure the memory of a service after many requests of different kinds."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from deepfake_eval.bench.media import jpeg, with_padding
from deepfake_eval.bench.plan import PictureCase
from deepfake_eval.bench.service import FRAMES, VIDEOS, Client, Response, Service

CLIENTS = 8
LISTS = "/v1/jobs"
BROKEN = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 64
"""Begins as a JPEG file does."""

MANY = 100
"""Every so many requests there are one video and one picture of the last case."""

Request = Callable[[Client, int], Response]


def memory_after(
    service: Service, requests: int, pictures: tuple[PictureCase, ...], clip: Path
) -> dict[str, Any]:
    """Send ``requests`` requests by ``CLIENTS`` clients at a time; return their kinds, the statuses
    of the answers and the memory of the service and its decoders afterwards.

    Most are pictures of the first of ``pictures``. Larger ones, broken files, lists of jobs and, as
    every hundredth, the video ``clip`` and a picture of the last case come between them.
    """
    files = [jpeg(case.width, case.height, case.faces) for case in pictures]
    video = clip.read_bytes()

    def picture(content: bytes) -> Request:
        return lambda client, _: client.post_file(FRAMES, "files", content)

    kinds: dict[str, Request] = {
        case.name: picture(content) for case, content in zip(pictures, files, strict=True)
    }
    kinds["broken picture"] = picture(BROKEN)
    kinds["list of jobs"] = lambda client, _: client.get(LISTS)
    kinds["video"] = lambda client, number: client.post_file(
        VIDEOS, "file", with_padding(video, number)
    )
    sent: Counter[tuple[str, int]] = Counter()
    remaining, lock = iter(range(requests)), threading.Lock()

    def work(_: int) -> None:
        with closing(service.client()) as client:
            while True:
                with lock:
                    number = next(remaining, None)
                if number is None:
                    return
                kind = _kind(number, pictures)
                status = kinds[kind](client, number).status
                with lock:
                    sent[kind, status] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(work, range(CLIENTS)))
    return {
        "requests": requests,
        "clients": CLIENTS,
        "sent": [
            {"kind": kind, "status": status, "count": count}
            for (kind, status), count in sorted(sent.items())
        ],
        "memory": service.memory(),
    }


def _kind(number: int, pictures: tuple[PictureCase, ...]) -> str:
    """Return the kind of the request with this number."""
    if number % MANY == MANY // 2:
        return "video"
    if number % MANY == 0:
        return pictures[-1].name
    match number % 10:
        case 1 | 5:
            return "list of jobs"
        case 3:
            return "broken picture"
        case 7:
            return pictures[min(1, len(pictures) - 1)].name
        case _:
            return pictures[0].name
