"""The scorer: decoding, detection, cropping, classification and judging of one item."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from deepfake_models.bundle.bundle import Bundle, load_bundle
from deepfake_models.bundle.results import FrameCounts, Verdict, unable
from deepfake_models.bundle.spec import SamplingSpec
from deepfake_models.decision.decide import (
    ExaminedFrame,
    Part,
    judge_picture,
    judge_video,
)
from deepfake_models.decision.level import Criteria
from deepfake_models.errors import MediaError, UndecodableMedia
from deepfake_models.faces.crops import CroppedFace, crop_faces
from deepfake_models.machine import Device
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import FailedFrame, OpenMedia, Timeline
from deepfake_models.media.sampling import densify, longest_gap, sample, sample_within
from deepfake_models.pipeline import FramePipeline, Networks, open_networks
from deepfake_models.sandbox.decoder import Decoder

REPORT_EVERY = 8
"""Frames after which progress is reported."""


Progress = Callable[[int, int], None]
"""Is told how many frames are done, of how many. The dense pass is counted on its own."""


def conclude(
    timeline: Timeline, sampled: Sequence[int], parts: Sequence[Part], criteria: Criteria
) -> Verdict:
    """Judge the examined ``parts`` of one item; ``sampled`` are all frames that were requested.
    ``UndecodableMedia`` if the one frame of a still picture failed."""
    examined = sorted((f for part in parts for f in part.examined), key=lambda f: f.time_s)
    failed = sum(part.failed for part in parts)
    if timeline.facts.kind == "image":
        if failed:
            raise UndecodableMedia
        return judge_picture(timeline.facts, examined[0].faces, criteria)
    seen = {f.time_s for f in examined}
    shown = [again for f in examined for again in _while_shown(f, timeline, criteria.spec.sampling)]
    counts = FrameCounts(
        sampled=len(sampled),
        with_face=sum(bool(f.faces) for f in examined),
        failed=failed,
        longest_gap_s=longest_gap(
            timeline.times, [i for i in sampled if float(timeline.times[i]) in seen]
        ),
    )
    return judge_video(timeline.facts, shown, counts, criteria)


def _while_shown(
    frame: ExaminedFrame, timeline: Timeline, spec: SamplingSpec
) -> Iterator[ExaminedFrame]:
    """Yield ``frame`` once for each ``spec.interval_s`` that it is shown, or longer where the video
    has more than ``spec.max_frames`` of them: as often as if its rate were constant."""
    yield frame
    duration = timeline.facts.duration_s or 0.0
    following = int(np.searchsorted(timeline.times, frame.time_s, side="right"))
    until = timeline.times[following] if following < len(timeline.times) else duration
    step = max(spec.interval_s, duration / spec.max_frames)
    time_s = frame.time_s + step
    while time_s < until - step / 2:
        faces = tuple(replace(face, time_s=time_s) for face in frame.faces)
        yield replace(frame, time_s=time_s, faces=faces)
        time_s += step


class Scorer:
    """Scores pictures and videos with one bundle. Safe to use from several threads at once."""

    def __init__(self, bundle: Bundle, networks: Networks, decoder: Decoder) -> None:
        self.bundle = bundle
        self.criteria = Criteria.of(bundle.spec)
        self.classifier = networks.classifier
        self._networks = networks
        self.decoder = decoder

    @classmethod
    def open(
        cls,
        directory: Path | None = None,
        *,
        decoder: Decoder | None = None,
        device: Device = "auto",
        threads: int = 0,
    ) -> Scorer:
        """Load the bundle in ``directory``, by default the shipped one, and its graphs.

        Frames and faces are examined by ``threads`` threads, by default one for each usable core.
        ``BundleError`` if the bundle is incomplete or was altered, ``EngineMissing`` if onnxruntime
        is not installed.
        """
        bundle = load_bundle(directory)
        networks = open_networks(bundle, device=device, threads=threads)
        # The sessions hold copies of the graphs, so these are released.
        return cls(replace(bundle, graphs={}), networks, decoder or InProcessDecoder())

    def observe(self, picture: NDArray[np.uint8], time_s: float) -> list[CroppedFace]:
        """Detect, crop and measure the faces of ``picture``, (H, W, 3) uint8 RGB at ``time_s``."""
        detected = self._networks.detector.detect(picture)
        return crop_faces(
            picture, time_s, detected, self.bundle.spec.detector, self.bundle.spec.crop
        )

    def score(
        self,
        source: BinaryIO,
        *,
        frames: int | None = None,
        within: tuple[float, float] | None = None,
        progress: Progress | None = None,
    ) -> Verdict:
        """Score one picture or video that is read from ``source``, a seekable binary file.

        With ``frames`` exactly that many evenly spread frames are examined, without a dense pass;
        with ``within``, no others than those that are shown during that part of a video: all of
        them, or ``frames`` of them if there are more.
        Input that cannot be examined gives ``unable_to_evaluate`` with the reason, no exception.
        """
        try:
            with self.decoder.open(source) as media:
                return self.score_media(media, frames=frames, within=within, progress=progress)
        except MediaError as error:
            return unable(error)

    def score_media(
        self,
        media: OpenMedia,
        *,
        frames: int | None = None,
        within: tuple[float, float] | None = None,
        progress: Progress | None = None,
    ) -> Verdict:
        """Examine one picture or video that is already open; ``frames`` and ``within`` are as in
        ``score``.
        ``MediaError`` if the media cannot be examined."""
        indices = self.plan(media, frames, within)
        parts = [self.examine(media, indices, progress=progress)]
        if frames is None and within is None and (extra := self.plan_dense(media, indices, parts)):
            parts.append(self.examine(media, extra, progress=progress))
            indices = sorted([*indices, *extra])
        return self.conclude(media, indices, parts)

    # The following methods are the steps of ``score``. A caller that takes them one by one and
    # saves each ``Part`` can resume the examination of a long video. Only ``examine`` needs opened
    # media; the others do with a saved timeline.

    def plan(
        self,
        timeline: Timeline,
        frames: int | None = None,
        within: tuple[float, float] | None = None,
    ) -> list[int]:
        """Return the frames to examine first, ascending; ``frames`` and ``within`` are as in
        ``score``."""
        if timeline.facts.kind == "image":
            return [0]
        if within is not None:
            return sample_within(timeline.times, within, self.bundle.spec.sampling, frames)
        return sample(timeline.times, self.bundle.spec.sampling, frames)

    def examine(
        self,
        media: OpenMedia,
        indices: Sequence[int],
        *,
        progress: Progress | None = None,
    ) -> Part:
        """Decode the frames ``indices``, which ascend, and score their faces; ``MediaError`` if the
        media cannot be read or decoded any further."""
        still = media.facts.kind == "image"
        pipeline = FramePipeline(self.observe, self._networks, still=still)
        examined: list[ExaminedFrame] = []
        failed = 0
        for result in pipeline.examined(media.frames(indices)):
            if isinstance(result, FailedFrame):
                failed += 1
            else:
                examined.append(result)
            done = len(examined) + failed
            if progress and (done % REPORT_EVERY == 0 or done == len(indices)):
                progress(done, len(indices))
        return Part(tuple(examined), failed)

    def plan_dense(
        self, timeline: Timeline, sampled: Sequence[int], parts: Sequence[Part]
    ) -> list[int]:
        """Return the further frames to examine around suspect moments of ``parts``, ascending.
        ``sampled`` are the frames examined so far. A still picture has no further frames."""
        if timeline.facts.kind == "image":
            return []
        level = self.criteria.face
        suspects = []
        for frame in (f for part in parts for f in part.examined):
            ratios = [level.ratio(f.logit) for f in frame.faces if f.logit is not None]
            if ratios and max(ratios) >= level.thresholds.likely_manipulated:
                suspects.append((-max(ratios), frame.time_s))
        times = [time_s for _, time_s in sorted(suspects)]  # most suspect first
        return densify(timeline.times, sampled, times, self.bundle.spec.sampling)

    def conclude(
        self, timeline: Timeline, sampled: Sequence[int], parts: Sequence[Part]
    ) -> Verdict:
        return conclude(timeline, sampled, parts, self.criteria)
