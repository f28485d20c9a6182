"""Open the scorer and the decoder.

This module imports nothing of the rest of the service, most of whose start is the import of its
modules: the engine is opened meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from deepfake_models.decision.fitness import unfit
from deepfake_models.machine import returning_free_memory
from deepfake_models.media.interface import DecodeLimits
from deepfake_models.sandbox.confinement import Confinement
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_models.scorer import Scorer
from deepfake_service.observability.logs import logger
from deepfake_service.sandbox_setting import naming_the_setting
from deepfake_service.settings import Settings

PICTURE_TIMEOUT_S = 30.0
"""For decoding one picture; after that its decoder process is replaced. The largest picture allowed
takes about 2 s on one slow core."""
VIDEO_TIMEOUT_S = 900.0
"""For one step of a job with a video, without the time for reading it from the store. The longest
step hashes up to 1800 frames: about 10 minutes for two hours of 1080p on one slow core. A video
that takes longer in that step gets its verdict, but no perceptual hashes."""

_log = logger("deepfake_service.container")

Opened = Callable[[], tuple[Scorer, ProcessDecoder]]
"""Waits until both are open and returns them, or raises why one of them cannot be opened."""


def open_scorer(settings: Settings) -> Scorer:
    """Load the model bundle that ``settings`` names, and log why it is not for use, if it is not.

    Raises:
        BundleError: the bundle is incomplete or was altered.
        EngineMissing: onnxruntime is not installed.
    """
    scorer = Scorer.open(settings.bundle_dir, device=settings.device, threads=settings.threads)
    reasons = unfit(scorer.bundle.spec)
    if reasons:
        _log.warning("model_not_for_use", reasons=[f"{r.kind}: {r.code}" for r in reasons])
    return scorer


def open_decoder(settings: Settings) -> ProcessDecoder:
    """Return the decoder, whose processes start when they are needed. Close it with ``close()``."""
    limits = DecodeLimits(
        max_pixels=settings.max_pixels,
        timeout_s=VIDEO_TIMEOUT_S,
        picture_timeout_s=PICTURE_TIMEOUT_S,
    )
    required = settings.sandbox == "require"
    return ProcessDecoder(limits, settings.decode_workers, require=required)


@contextlib.contextmanager
def engine_starting(settings: Settings) -> Iterator[Opened]:
    """Open the scorer and start the first process of the decoder, both in the background.

    The function that this yields raises DeepfakeError if one of them cannot be opened:
    ``BundleError`` and ``EngineMissing`` for the scorer, ``DecoderFailed`` for the decoder, and
    ``SandboxIncomplete`` if its sandbox lacks layers and the settings require all. It logs which
    layers are missing. While the context lasts, memory that both free returns to the system.
    """
    with contextlib.closing(open_decoder(settings)) as decoder, returning_free_memory():
        pool = ThreadPoolExecutor(2, thread_name_prefix="start")
        scorer = pool.submit(open_scorer, settings)
        confinement = pool.submit(decoder.confinement)
        pool.shutdown(wait=False)

        def opened() -> tuple[Scorer, ProcessDecoder]:
            _log_layers(confinement)
            return scorer.result(), decoder

        yield opened


def _log_layers(confinement: Future[Confinement]) -> None:
    with naming_the_setting():
        found = confinement.result()
    if found.complete:
        _log.info("sandbox_complete")
    else:
        _log.warning("sandbox_incomplete", missing=[str(layer) for layer in found.missing])


@contextlib.contextmanager
def engine_running(settings: Settings) -> Iterator[tuple[Scorer, ProcessDecoder]]:
    """Open the scorer and the decoder, and wait for both; see ``engine_starting``."""
    with engine_starting(settings) as opened:
        yield opened()
