"""Measure the running service: ``/v1/frames`` by one client and by many."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from deepfake_eval.bench.media import jpeg
from deepfake_eval.bench.scoring import Report, Samples, alternate, ratio, seconds_of
from deepfake_eval.bench.service import Client, Service
from deepfake_models.bundle.bundle import Bundle
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_models.scorer import Scorer

SERVICE, SCORER = "the service", "the scorer alone"


@dataclass(frozen=True, slots=True)
class PictureCase:
    """A picture that is sent to ``/v1/frames``."""

    width: int
    height: int
    faces: int

    @property
    def name(self) -> str:
        faces = "1 face" if self.faces == 1 else f"{self.faces} faces"
        return f"{self.width}x{self.height}, {faces}"

    def jpeg(self) -> bytes:
        return jpeg(self.width, self.height, self.faces)


@dataclass(frozen=True, slots=True)
class PictureBench:
    bundle: Bundle
    folder: Path
    rounds: int
    report: Report

    def run(
        self, cases: tuple[PictureCase, ...], clients: tuple[int, ...], requests: int
    ) -> dict[str, Any]:
        """Measure each picture with one client, then the first of them with many clients."""
        with (
            Service.running(self.folder / "service", self.bundle.directory) as service,
            closing(ProcessDecoder(workers=1)) as decoder,
        ):
            scorer = Scorer.open(self.bundle.directory, decoder=decoder)
            single = [self._single(service, scorer, case) for case in cases]
            picture = cases[0].jpeg()
            levels = [self._level(service, picture, n, max(requests, n)) for n in clients]
            return {
                "picture": cases[0].name,
                "single": single,
                "levels": levels,
                "memory_mb": service.memory_mb(),
                "start_s": service.start_s,
            }

    def _single(self, service: Service, scorer: Scorer, case: PictureCase) -> dict[str, Any]:
        self.report(case.name)
        picture = case.jpeg()
        with closing(service.client()) as client:
            answer, _ = client.post_picture(picture)
            scorer.score(BytesIO(picture))
            taken = alternate(
                {
                    SERVICE: lambda: seconds_of(lambda: client.post_picture(picture)),
                    SCORER: lambda: seconds_of(lambda: scorer.score(BytesIO(picture))),
                },
                self.rounds,
            )
        return {
            "name": case.name,
            "faces_found": len(answer["frames"][0]["faces"]),
            "seconds": {name: samples.to_json() for name, samples in taken.items()},
            "ratio": ratio(taken[SERVICE], taken[SCORER]).to_json(),
        }

    def _level(
        self, service: Service, picture: bytes, clients: int, requests: int
    ) -> dict[str, Any]:
        self.report(f"clients: {clients}")
        share = max(-(-requests // self.rounds), clients)
        sent: list[tuple[float, int]] = []
        rates = []
        for _ in range(self.rounds):
            began = time.perf_counter()
            sent += _closed_loop(service, picture, clients, share)
            rates.append(share / (time.perf_counter() - began))
        return {
            "clients": clients,
            "requests": len(sent),
            "refusals": sum(refusals for _, refusals in sent),
            "pictures_per_second": Samples(tuple(rates), "1/s").to_json(),
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
                _, refusals = client.post_picture(picture)
                sent.append((time.perf_counter() - began, refusals))

    with ThreadPoolExecutor(clients) as pool:
        own = [service.client() for _ in range(clients)]
        return [pair for part in pool.map(work, own) for pair in part]
