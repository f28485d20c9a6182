"""Measure the running service: ``/v1/frames`` under load, jobs, start-up and memory."""

from __future__ import annotations

import io
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from deepfake_eval.bench.media import jpeg, with_padding
from deepfake_eval.bench.mixed import memory_after
from deepfake_eval.bench.plan import PictureCase, Plan
from deepfake_eval.bench.rounds import Samples, percentile, ratio
from deepfake_eval.bench.scoring import Replay, Run, run_floor, seconds_of
from deepfake_eval.bench.service import (
    FRAMES,
    VIDEOS,
    Client,
    Response,
    Service,
    ServiceFailed,
)
from deepfake_models.bundle import Bundle
from deepfake_models.decode.decoder import InProcessDecoder

POLL_S = 0.25
"""How often a job is asked for. Answers take milliseconds of the cores that are measured."""
FINAL = frozenset({"succeeded", "failed", "cancelled", "expired"})

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as a client saw it."""

    seconds: float
    refusals: int


class PictureFloor:
    """Decodes a picture and runs the networks on its tensors, which are ready."""

    def __init__(self, replay: Replay, picture: bytes) -> None:
        self._picture = picture
        with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
            file.write(picture)
            file.flush()
            self._runs: list[Run] = replay.record(Path(file.name), 1)

    def seconds(self, pictures: int) -> float:
        """Return how long ``pictures`` of them take with all cores busy."""
        decoders = partial(_decode, self._picture, pictures)
        return seconds_of(lambda: run_floor(decoders, self._runs * pictures))


def _decode(picture: bytes, times: int) -> None:
    for _ in range(times):
        with InProcessDecoder().open(io.BytesIO(picture), stills_only=True) as media:
            next(iter(media.frames([0])))


@dataclass(frozen=True, slots=True)
class LoadBench:
    """What the measurements of the service need."""

    bundle: Bundle
    folder: Path
    plan: Plan
    report: Report
    start_seconds: list[float] = field(default_factory=list)
    """Of every service that was started."""

    def pictures(self) -> dict[str, Any]:
        """Measure ``/v1/frames`` with one client by picture, then with many clients."""
        replay = Replay(self.bundle)
        with self._service("frames") as service:
            single = [self._single(service, replay, case) for case in self.plan.pictures]
            first = self.plan.pictures[0]
            picture = jpeg(first.width, first.height, first.faces)
            floor = PictureFloor(replay, picture)
            levels = [self._level(service, floor, picture, n) for n in self.plan.clients]
            rate = max(level["pictures_per_second"]["median"] for level in levels)
            half = self._half_load(service, picture, rate / 2)
            return {
                "picture": first.name,
                "single": single,
                "levels": levels,
                "half_load": half,
                "memory": service.memory(),
            }

    def mixed(self) -> dict[str, Any]:
        """Measure the memory of a service after many requests of different kinds."""
        path = self.folder / "mixed.mp4"
        self.plan.job_clip.write(path)
        with self._service("mixed") as service:
            return memory_after(service, self.plan.mixed_requests, self.plan.pictures, path)

    def starts(self) -> dict[str, Any]:
        """Return the seconds from starting a service until ``/readyz`` answers 200.

        They are those of the services of the other sections, or of one more if there are none.
        """
        if not self.start_seconds:
            with self._service("start"):
                pass
        return Samples(tuple(self.start_seconds)).to_json()

    def jobs(self) -> list[dict[str, Any]]:
        """Measure jobs a minute by the number of worker processes."""
        path = self.folder / "job.mp4"
        self.plan.job_clip.write(path)
        video = path.read_bytes()
        rows = []
        for workers in self.plan.workers:
            self.report(f"{self.plan.jobs} jobs, workers: {workers}")
            with (
                self._service(f"jobs-{workers}", workers=workers) as service,
                closing(service.client()) as client,
            ):
                run_jobs(client, video, [0])
                seconds = seconds_of(partial(run_jobs, client, video, range(1, self.plan.jobs + 1)))
                rows.append(
                    {
                        "workers": workers,
                        "jobs": self.plan.jobs,
                        "jobs_per_minute": 60 * self.plan.jobs / seconds,
                        "memory": service.memory(),
                    }
                )
        return rows

    @contextmanager
    def _service(self, name: str, *, workers: int = 0) -> Iterator[Service]:
        with Service.running(self.folder / name, self.bundle.directory, workers=workers) as service:
            self.start_seconds.append(service.start_s)
            yield service

    def _single(self, service: Service, replay: Replay, case: PictureCase) -> dict[str, Any]:
        self.report(f"{FRAMES}: {case.name}")
        picture = jpeg(case.width, case.height, case.faces)
        floor = PictureFloor(replay, picture)
        client = service.client()
        found = len(client.post_file(FRAMES, "files", picture).json()["frames"][0]["faces"])
        taken, least = [], []
        for _ in range(self.plan.rounds):
            taken.append(_send(client, picture).seconds)
            least.append(floor.seconds(1))
        client.close()
        ours, bare = Samples(tuple(taken)), Samples(tuple(least))
        return {
            "name": case.name,
            "faces_found": found,
            "seconds": ours.to_json(),
            "floor": bare.to_json(),
            "ratio": ratio(ours, bare).to_json(),
        }

    def _level(
        self, service: Service, floor: PictureFloor, picture: bytes, clients: int
    ) -> dict[str, Any]:
        self.report(f"{FRAMES}: clients: {clients}")
        requests = max(self.plan.least_requests, clients)
        share = -(-requests // self.plan.rounds)
        sent: list[Sent] = []
        rates, bare = [], []
        for _ in range(self.plan.rounds):
            began = time.perf_counter()
            sent += _closed_loop(service, picture, clients, max(share, clients))
            rates.append(max(share, clients) / (time.perf_counter() - began))
            bare.append(share / floor.seconds(share))
        ours, least = Samples(tuple(rates), "1/s"), Samples(tuple(bare), "1/s")
        return {
            "clients": clients,
            "requests": len(sent),
            "refusals": sum(s.refusals for s in sent),
            "pictures_per_second": ours.to_json(),
            "bare_sessions_per_second": least.to_json(),
            "share_of_bare_sessions": ratio(ours, least).to_json(),
            "latency": _latency([s.seconds for s in sent]),
        }

    def _half_load(self, service: Service, picture: bytes, rate: float) -> dict[str, Any]:
        """Send requests at a steady ``rate`` a second; latency counts from the planned moment."""
        self.report(f"{FRAMES}: half load")
        count = self.plan.half_load_requests
        planned = time.perf_counter() + 0.1

        def send(number: int) -> float:
            moment = planned + number / rate
            time.sleep(max(0.0, moment - time.perf_counter()))
            client = service.client()
            _send(client, picture)
            client.close()
            return time.perf_counter() - moment

        with ThreadPoolExecutor(count) as pool:
            seconds = list(pool.map(send, range(count)))
        return {"requests": count, "rate_per_second": rate, "latency": _latency(seconds)}


def _latency(seconds: list[float]) -> dict[str, float]:
    return {
        "median": statistics.median(seconds),
        "p90": percentile(seconds, 0.9),
        "p99": percentile(seconds, 0.99),
        "max": max(seconds),
    }


def _send(client: Client, picture: bytes) -> Sent:
    began = time.perf_counter()
    answer = client.post_file(FRAMES, "files", picture)
    answer.json()
    return Sent(time.perf_counter() - began, answer.refusals)


def _closed_loop(service: Service, picture: bytes, clients: int, requests: int) -> list[Sent]:
    """Let each client send its next request as soon as the last one is answered."""
    remaining, lock = iter(range(requests)), threading.Lock()

    def work(_: int) -> list[Sent]:
        client, sent = service.client(), []
        while True:
            with lock:
                if next(remaining, None) is None:
                    break
            sent.append(_send(client, picture))
        client.close()
        return sent

    with ThreadPoolExecutor(clients) as pool:
        return [s for part in pool.map(work, range(clients)) for s in part]


def run_jobs(client: Client, video: bytes, numbers: Iterable[int]) -> None:
    """Submit a video once for each of ``numbers``, which make its copies differ, and wait until
    the jobs have ended.

    Raises:
        ServiceFailed: one of them failed.
    """
    finish(client, [submit(client, video, number) for number in numbers])


def submit(client: Client, video: bytes, number: int) -> str:
    """Submit a video, which ``number`` makes differ from its other copies; return the job's id."""
    answer: Response = client.post_file(VIDEOS, "file", with_padding(video, number))
    return str(answer.json()["id"])


def finish(client: Client, jobs: list[str]) -> None:
    """Wait until all ``jobs`` have ended.

    Raises:
        ServiceFailed: one of them failed.
    """
    for job in jobs:
        while (state := client.get(f"/v1/jobs/{job}").json()["state"]) not in FINAL:
            time.sleep(POLL_S)
        if state != "succeeded":
            raise ServiceFailed(f"a job ended as {json.dumps(state)}")
