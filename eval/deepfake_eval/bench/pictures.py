"""Measure the running service: ``/v1/frames`` by one client and by many, and its start."""

from __future__ import annotations

import io
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from deepfake_eval.bench.media import jpeg
from deepfake_eval.bench.scoring import Replay, Report, Samples, ratio, run_floor, seconds_of
from deepfake_eval.bench.service import Client, Service
from deepfake_models.bundle.bundle import Bundle
from deepfake_models.media.decoder import InProcessDecoder


@dataclass(frozen=True, slots=True)
class PictureCase:
    """A picture that is sent to ``/v1/frames``."""

    width: int
    height: int
    faces: int

    @property
    def name(self) -> str:
        """A short description."""
        faces = "1 face" if self.faces == 1 else f"{self.faces} faces"
        return f"{self.width}x{self.height}, {faces}"

    def jpeg(self) -> bytes:
        """Return the picture as a file."""
        return jpeg(self.width, self.height, self.faces)


class PictureFloor:
    """Decodes a picture and runs the networks on its tensors, which are ready."""

    def __init__(self, replay: Replay, picture: bytes) -> None:
        self._picture = picture
        with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
            file.write(picture)
            file.flush()
            self._runs = replay.record(Path(file.name), 1)

    def seconds(self, pictures: int) -> float:
        """Return how long ``pictures`` of them take with all cores busy."""
        decode = partial(self._decode, pictures)
        return seconds_of(lambda: run_floor(decode, self._runs * pictures))

    def _decode(self, times: int) -> None:
        for _ in range(times):
            with InProcessDecoder().open(io.BytesIO(self._picture), stills_only=True) as media:
                next(iter(media.frames([0])))


@dataclass(frozen=True, slots=True)
class PictureBench:
    """What the measurements of the service need."""

    bundle: Bundle
    folder: Path
    rounds: int
    report: Report
    start_seconds: list[float] = field(default_factory=list)
    """Of every service that was started."""

    def run(
        self, cases: tuple[PictureCase, ...], clients: tuple[int, ...], requests: int
    ) -> dict[str, Any]:
        """Measure each picture with one client, then the first of them with many clients."""
        replay = Replay(self.bundle)
        with self._service() as service:
            single = [self._single(service, replay, case) for case in cases]
            picture = cases[0].jpeg()
            floor = PictureFloor(replay, picture)
            levels = [
                self._level(service, floor, picture, number, max(requests, number))
                for number in clients
            ]
            return {
                "picture": cases[0].name,
                "single": single,
                "levels": levels,
                "memory_mb": service.memory_mb(),
            }

    def starts(self) -> dict[str, Any]:
        """Return the seconds from starting a service until ``/readyz`` answers 200, ``rounds``
        times."""
        while len(self.start_seconds) < self.rounds:
            with self._service():
                pass
        return Samples(tuple(self.start_seconds)).to_json()

    @contextmanager
    def _service(self) -> Iterator[Service]:
        root = self.folder / f"service-{len(self.start_seconds)}"
        with Service.running(root, self.bundle.directory) as service:
            self.start_seconds.append(service.start_s)
            yield service

    def _single(self, service: Service, replay: Replay, case: PictureCase) -> dict[str, Any]:
        self.report(case.name)
        picture = case.jpeg()
        floor = PictureFloor(replay, picture)
        taken, least = [], []
        with closing(service.client()) as client:
            found = len(client.post_picture(picture).json()["frames"][0]["faces"])
            for _ in range(self.rounds):
                taken.append(seconds_of(lambda: client.post_picture(picture).json()))
                least.append(floor.seconds(1))
        ours, bare = Samples(tuple(taken)), Samples(tuple(least))
        return {
            "name": case.name,
            "faces_found": found,
            "seconds": ours.to_json(),
            "floor": bare.to_json(),
            "ratio": ratio(ours, bare).to_json(),
        }

    def _level(
        self, service: Service, floor: PictureFloor, picture: bytes, clients: int, requests: int
    ) -> dict[str, Any]:
        self.report(f"clients: {clients}")
        share = max(-(-requests // self.rounds), clients)
        sent: list[tuple[float, int]] = []
        rates, bare = [], []
        for _ in range(self.rounds):
            began = time.perf_counter()
            sent += _closed_loop(service, picture, clients, share)
            rates.append(share / (time.perf_counter() - began))
            bare.append(share / floor.seconds(share))
        ours, least = Samples(tuple(rates), "1/s"), Samples(tuple(bare), "1/s")
        return {
            "clients": clients,
            "requests": len(sent),
            "refusals": sum(refusals for _, refusals in sent),
            "pictures_per_second": ours.to_json(),
            "bare_sessions_per_second": least.to_json(),
            "share_of_bare_sessions": ratio(ours, least).to_json(),
            "latency": Samples(tuple(seconds for seconds, _ in sent)).to_json(),
        }


def _closed_loop(
    service: Service, picture: bytes, clients: int, requests: int
) -> list[tuple[float, int]]:
    """Let each client send its next request as soon as the last one is answered; return the seconds
    of each request and how often it was refused."""
    remaining, lock = iter(range(requests)), threading.Lock()

    def work(client: Client) -> list[tuple[float, int]]:
        sent: list[tuple[float, int]] = []
        with closing(client):
            while True:
                with lock:
                    if next(remaining, None) is None:
                        return sent
                began = time.perf_counter()
                answer = client.post_picture(picture)
                answer.json()
                sent.append((time.perf_counter() - began, answer.refusals))

    with ThreadPoolExecutor(clients) as pool:
        own = [service.client() for _ in range(clients)]
        return [pair for part in pool.map(work, own) for pair in part]
