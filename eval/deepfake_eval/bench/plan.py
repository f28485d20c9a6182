"""What a bench measures: the default plan, and a tiny one."""

from __future__ import annotations

from dataclasses import dataclass

from deepfake_eval.bench.media import Clip


@dataclass(frozen=True, slots=True)
class VideoCase:
    """A video and how many of its frames are examined.

    ``naive`` says whether the naive loop is measured as well.
    """

    clip: Clip
    frames: int
    naive: bool = False

    @property
    def name(self) -> str:
        """A short description."""
        faces = "1 face" if self.clip.faces == 1 else f"{self.clip.faces} faces"
        return (
            f"{self.clip.height}p {self.clip.codec}, {self.clip.seconds:g} s, {faces}, "
            f"{self.frames} frames"
        )


@dataclass(frozen=True, slots=True)
class PictureCase:
    """A picture that is sent to ``/v1/frames`` by one client."""

    width: int
    height: int
    faces: int

    @property
    def name(self) -> str:
        """A short description."""
        faces = "1 face" if self.faces == 1 else f"{self.faces} faces"
        return f"{self.width}x{self.height}, {faces}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All cases of a bench."""

    rounds: int
    videos: tuple[VideoCase, ...]
    """The first is also measured by stages and without the sandbox."""
    pictures: tuple[PictureCase, ...]
    """The first is the one that many clients send."""
    clients: tuple[int, ...]
    least_requests: int
    """Requests of each number of clients; more, if there are more clients."""
    half_load_requests: int
    mixed_requests: int
    """Requests of different kinds, after which the memory of the service is measured."""
    workers: tuple[int, ...]
    jobs: int
    pinned_jobs: int
    """Jobs of each round of one worker on one core, and of two on two."""
    queued_jobs: int
    """Jobs that arrive at random, whose waits are compared with the queueing model."""
    job_clip: Clip
    memory: tuple[Clip, ...]
    """Clips whose peak memory is compared: the first is the reference."""
    memory_frames: int


def _clip(height: int = 720, codec: str = "H.264", seconds: float = 30.0, faces: int = 1) -> Clip:
    return Clip(codec, height * 16 // 9, height, seconds, faces)


DEFAULT = Plan(
    rounds=3,
    videos=(
        VideoCase(_clip(), 32, naive=True),
        VideoCase(_clip(1080), 32, naive=True),
        VideoCase(_clip(360), 16),
        VideoCase(_clip(2160, seconds=10), 16),
        VideoCase(_clip(seconds=10), 16),
        VideoCase(_clip(seconds=120), 16),
        VideoCase(_clip(codec="HEVC"), 16),
        VideoCase(_clip(codec="VP9"), 16),
        VideoCase(_clip(codec="AV1"), 16),
        VideoCase(_clip(faces=4), 4),
        VideoCase(_clip(faces=16), 4),
    ),
    pictures=(
        PictureCase(1280, 720, 1),
        PictureCase(4000, 3000, 1),
        PictureCase(2560, 1440, 40),
    ),
    clients=(1, 4, 16, 64),
    least_requests=24,
    half_load_requests=60,
    mixed_requests=1000,
    workers=(1, 2),
    jobs=6,
    pinned_jobs=12,
    queued_jobs=80,
    job_clip=_clip(seconds=10),
    memory=(_clip(1080), _clip(1080, seconds=7200)),
    memory_frames=64,
)
QUICK = Plan(
    rounds=1,
    videos=(
        VideoCase(_clip(240, seconds=1), 2, naive=True),
        VideoCase(_clip(240, codec="VP9", seconds=1), 2),
    ),
    pictures=(PictureCase(320, 240, 1), PictureCase(480, 360, 4)),
    clients=(1, 2),
    least_requests=4,
    half_load_requests=2,
    mixed_requests=20,
    workers=(1,),
    jobs=1,
    pinned_jobs=1,
    queued_jobs=4,
    job_clip=_clip(240, seconds=0.4),
    memory=(_clip(240, seconds=1), _clip(240, seconds=4)),
    memory_frames=2,
)
"""Takes seconds with a small bundle and shows that everything runs; its figures mean nothing."""
