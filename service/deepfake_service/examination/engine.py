"""Open the scorer and the decoder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from deepfake_models.decision.fitness import unfit
from deepfake_models.machine import returning_free_memory
from deepfake_models.media.interface import DecodeLimits
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_models.scorer import Scorer
from deepfake_service.platform.logs import logger
from deepfake_service.platform.sandbox_setting import naming_the_setting
from deepfake_service.platform.settings import Settings

PICTURE_TIMEOUT_S = 30.0
"""For decoding one picture; after that its decoder process is replaced. The largest picture allowed
takes about 2 s on one slow core."""
VIDEO_TIMEOUT_S = 900.0
"""For one step of a job with a video, without the time for reading it from the store. The longest
step hashes up to 1800 frames: about 10 minutes for two hours of 1080p on one slow core. A video
that takes longer in that step gets its verdict, but no perceptual hashes."""

_log = logger("deepfake_service.container")


@contextlib.contextmanager
def engine_running(settings: Settings) -> Iterator[tuple[Scorer, ProcessDecoder]]:
    """Open the scorer and start the first process of the decoder, and log what its sandbox lacks,
    and why the model is not for use, if it is not.

    While the context lasts, memory that both free returns to the system.

    Raises:
        BundleError: the bundle is incomplete or was altered. EngineMissing: onnxruntime is not
            installed. DecoderFailed: the decoder does not start. SandboxIncomplete: its sandbox
            lacks layers, and the settings require all.
    """
    limits = DecodeLimits(timeout_s=VIDEO_TIMEOUT_S, picture_timeout_s=PICTURE_TIMEOUT_S)
    decoding = ProcessDecoder(limits, settings.jobs_at_once, require=settings.sandbox == "require")
    with contextlib.closing(decoding) as decoder, returning_free_memory():
        with naming_the_setting():
            missing = decoder.confinement().missing
        if missing:
            _log.warning("sandbox_incomplete", missing=[str(layer) for layer in missing])
        scorer = Scorer.open(settings.bundle_dir, device=settings.device)
        reasons = unfit(scorer.bundle.spec)
        if reasons:
            _log.warning("model_not_for_use", reasons=[f"{r.kind}: {r.code}" for r in reasons])
        yield scorer, decoder
