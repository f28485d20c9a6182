"""What stands in for the model, the clock, a receiver of webhooks and a browser in tests of the
service.

A "picture" of the small decoder is the text ``still FACES VALUE``; other first words are other
kinds of input.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from sqlalchemy import select

from deepfake_models.bundle.bundle import Bundle
from deepfake_models.bundle.results import (
    Face,
    MediaFacts,
    Quality,
    Reason,
    ReasonCode,
    Verdict,
    VerdictCode,
)
from deepfake_models.decision.level import Criteria
from deepfake_models.errors import NotAPicture, UndecodableMedia
from deepfake_models.media.credentials import not_read
from deepfake_models.media.interface import FailedFrame, Frame, OpenMedia
from deepfake_models.scorer import Scorer
from deepfake_service.app import create_app
from deepfake_service.audit.records import open_database
from deepfake_service.examination.webhook_deliveries import WebhookDeliveries
from deepfake_service.platform import webhooks
from deepfake_service.platform.chores import Lane
from deepfake_service.platform.clock import ticks, utc_now
from deepfake_service.platform.db import Delivery
from deepfake_service.platform.enums import DeliveryState
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.settings import Settings
from tests.support import judging
from tests.support.small_bundles import small_bundle, small_bundle_dir

SIZE = 8
POISON = 13
"""A picture of this value makes the scorer fail."""


@functools.cache
def _small_files() -> dict[str, str]:
    """Return the digests of a folder whose card and error rates pages show."""
    return small_bundle().spec.files


class SmallScorer(Scorer):
    """Sees as many faces in a picture as its first pixel says; their value is the second pixel."""

    def __init__(self) -> None:
        spec = judging.spec(name="small", terms="tests-only", files=_small_files())
        self.bundle = Bundle(small_bundle_dir(), spec, "0" * 64, {})
        self.criteria = Criteria.of(spec)
        self.scored = 0
        self.error: Exception | None = None

    def score_media(self, media: OpenMedia, **_: Any) -> Verdict:
        frame = next(iter(media.frames([0])))
        if isinstance(frame, FailedFrame):
            raise UndecodableMedia
        count, value = frame.pixels[0, :2, 0].tolist()
        self.scored += 1
        if self.error is not None or value == POISON:
            raise self.error or RuntimeError("secret-name.jpg")
        if not count:
            reason = Reason(ReasonCode.NO_FACE, "no face was found")
            return Verdict(VerdictCode.NOT_APPLICABLE, reasons=(reason,), media=media.facts)
        logit = (value - 100) / 10
        faces = tuple(_judged(_face(index), logit) for index in range(count))
        values = _code(logit), _sigmoid(logit), logit / math.log(10)
        return Verdict(*values, media=media.facts, faces=faces)


def _face(index: int) -> Face:
    box, quality = (0.0, 0.0, 50.0 + index, 60.0), Quality(50.0 + index, 1.0, 1.0, 0.5)
    return Face(time_s=0.0, box=box, confidence=0.99, quality=quality)


def _judged(face: Face, logit: float) -> Face:
    return replace(
        face,
        verdict=_code(logit),
        score=_sigmoid(logit),
        log_likelihood_ratio=logit / math.log(10),
    )


def _code(logit: float) -> VerdictCode:
    return VerdictCode.LIKELY_MANIPULATED if logit > 0 else VerdictCode.NO_MANIPULATION_FOUND


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


class SmallMedia:
    def __init__(self, kind: str, pixels: NDArray[np.uint8] | None) -> None:
        self.facts = MediaFacts(kind, SIZE, SIZE, None, 1, 0)
        self.times = np.zeros(1)
        self._pixels = pixels

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        for index in indices:
            if self._pixels is None:
                yield FailedFrame(index, 0.0, "torn")
            else:
                yield Frame(index, 0.0, self._pixels)


class SmallDecoder:
    """Reads inputs made of words; ``gate`` holds back inputs that say ``slow`` until it is set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.opened = 0
        self.entered = threading.Semaphore(0)

    @contextlib.contextmanager
    def open(self, source: BinaryIO, *, stills_only: bool = False) -> Iterator[SmallMedia]:
        words = source.read(200).split()
        self.opened += 1
        self.entered.release()
        if words[:1] == [b"slow"]:
            assert self.gate.wait(60)
            words = words[1:]
        match words:
            case [b"still", faces, value, *_]:
                pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
                pixels[0, 0, 0], pixels[0, 1, 0] = int(faces), int(value)
                yield SmallMedia("image", pixels)
            case [b"torn", *_]:
                yield SmallMedia("image", None)
            case [b"moving", *_]:
                if stills_only:
                    raise NotAPicture
                yield SmallMedia("video", None)
            case [b"bug", *_]:
                raise RuntimeError("secret-name.jpg")
            case _:
                raise UndecodableMedia

    def read_credentials(
        self, source: BinaryIO, mime: str | None, anchors: str | None = None
    ) -> dict[str, Any]:
        return not_read("test media have none")

    def confinement(self) -> None:
        return None

    def close(self) -> None:
        return None


class AdjustableClock:
    """The system's clock, moved ahead by ``advance`` or set to another time by ``jump``."""

    def __init__(self) -> None:
        self._passed = timedelta(0)
        self._jumped = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self._passed + self._jumped

    def ticks(self) -> float:
        """Return seconds that passed, whatever time the clock was set to."""
        return ticks() + self._passed.total_seconds()

    def advance(self, by: timedelta) -> None:
        """Let ``by`` pass."""
        self._passed += by

    def jump(self, by: timedelta) -> None:
        """Set the clock ahead by ``by``, or back, while no time passes."""
        self._jumped += by


# ``conftest.Service`` of the unit tests.
Service = Any


class Receiver:
    """Stands in for the receiver: it answers with ``outcome``, or dies."""

    def __init__(self) -> None:
        self.outcome: webhooks.DeliveryOutcome | None = webhooks.DeliveryOutcome("timeout")
        self.bodies: list[str] = []

    def send(
        self, _target: Any, _secret: str, _id: str, body: str, _at: Any
    ) -> webhooks.DeliveryOutcome:
        self.bodies.append(body)
        if self.outcome is None:
            raise KeyboardInterrupt
        return self.outcome


def do_due(lane: Lane[Any]) -> int:
    """Do what is due, wait for it, and return how much there was."""
    done = 0
    while started := lane.start_due():
        for each in started:
            each.result()
        done += len(started)
    return done


def deliveries_of(service: Service, name: str = "worker-1") -> WebhookDeliveries:
    """Return what a worker sends webhooks with."""
    services = service.app.state.shared.services
    return WebhookDeliveries(
        service.database,
        services.vault,
        services.webhook_secrets,
        Metrics(),
        name,
        allowed=CallbackHosts.of("127.0.0.1"),
    )


def delivery_state(service: Service) -> DeliveryState:
    with service.database.read() as session:
        return session.scalars(select(Delivery.state)).one()


def unstarted_app(data_dir: Path) -> FastAPI:
    """Return an app of which a test reads the routes."""
    settings = Settings(data_dir=data_dir)
    return create_app(
        settings, open_database(settings), SmallScorer(), SmallDecoder(), worker=False
    )


BLOCKS = (
    "html head body title meta link script tr td th table thead tbody p li ul ol div section "
    "article form fieldset legend h1 h2 h3 h4 dl dt dd option optgroup select details summary nav "
    "header footer main dialog hr"
)
_TAG = re.compile(r"<[a-z/][^<>]*>")
_AROUND_BLOCK = re.compile(
    rf"\s*(<!doctype[^>]*>|</?(?:{'|'.join(BLOCKS.split())})(?=[ >/])[^>]*>|"
    r'<input type="hidden"[^>]*>)\s*',
    re.IGNORECASE,
)


def compact(html: str) -> str:
    """Return ``html`` in a line, with single spaces, and none around elements in blocks."""
    tags = _TAG.sub(lambda tag: re.sub(r"\s+>", ">", re.sub(r"\s+", " ", tag[0])), html)
    return re.sub(r"\s*\n\s*", " ", _AROUND_BLOCK.sub(r"\1", tags))


async def compact_pages(response: httpx.Response) -> None:
    """Compact the pages that a client of a test receives: its event hook for responses."""
    if response.headers.get("content-type", "").startswith("text/html"):
        html = (await response.aread()).decode()
        response._content = compact(html).encode()
