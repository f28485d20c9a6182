"""Decode video with PyAV: exact timestamps and frames, with seeks where they save work.

A first pass reads the packets without decoding them and finds the presentation time of every frame
that a full decode would output. Frames are then matched by timestamp, never by counting from a
seek, so that a wrong index cannot substitute one frame for another.
"""

from __future__ import annotations

from collections.abc import Iterator

import av.error
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from deepfake_models.bundle.results import MediaFacts, Unexamined
from deepfake_models.errors import MediaTooLarge, UndecodableMedia
from deepfake_models.media.color import to_rgb
from deepfake_models.media.interface import (
    DecodeLimits,
    FailedFrame,
    Frame,
    GuardedSource,
    LatestIterator,
    Orientation,
    check_pixels,
)
from deepfake_models.media.packet_index import PacketTable, TableBuilder
from deepfake_models.media.stream import StreamReader

PLAIN_CONTAINERS = frozenset({"mov", "matroska"})
PLAIN_CODECS = frozenset({"h264", "hevc", "vp9", "av1", "libdav1d", "mjpeg", "prores"})
"""In these, one packet is one displayed frame and carries its timestamp, if the file is intact."""
PLAIN_TRIAL = 3
OTHER_TRIAL = 24
"""Frames that are decoded first to check this. In other formats they are enough to reveal hidden
and paired packets."""

ASPECT_RANGE = (1 / 16, 16.0)
"""Pixel aspect ratios outside this range are treated as errors of the file. A film that is squeezed
by more, and stretched by players, shows nobody's face."""

MAX_HIDDEN = 300
"""Frames that an edit list may leave out: a cut without encoding again leaves the frames since the
last keyframe in the file, by x264's default at most 250."""

LONGEST_LAST_S = 60.0
"""How long the last frame may be shown: what files state of it is sometimes far too long."""

FALLBACK_RATE = 25.0
"""Frames per second assumed for streams that state neither timestamps nor a rate."""


class VideoMedia(LatestIterator):
    """An opened video; implements ``OpenMedia``.

    If pixels are not square, frames are resampled in width, so that faces are not distorted. Frames
    of another size than the first are failed frames: resampled to its size, they would show less
    than people see. Interlaced video is not deinterlaced. After an error in the stream the frames
    that depend on the damaged one, up to the next keyframe, are failed frames.

    Raises:
        NoVisualStream: the container has no video stream.
        UndecodableMedia: no frame can be decoded.
        MediaTooLarge: a limit is exceeded.
        av.error.FFmpegError: FFmpeg cannot open the container.
    """

    def __init__(self, source: GuardedSource, limits: DecodeLimits) -> None:
        self._source = source
        self._limits = limits
        self._reader = StreamReader(source, limits)
        try:
            self._scan()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the container; iterators over its frames end."""
        super().close()
        self._reader.close()

    def _scan(self) -> None:
        """Build the table of frames; only the first few are decoded."""
        reader, limits = self._reader, self._limits
        stream = reader.stream
        if stream.width and stream.height:
            check_pixels(stream.width, stream.height, limits)
        codec = stream.codec_context.codec.name
        plain = codec in PLAIN_CODECS and reader.container_format in PLAIN_CONTAINERS
        trial_frames = PLAIN_TRIAL if plain else OTHER_TRIAL
        table, trial, first = TableBuilder(codec), list[int | None](), None
        sound = True
        while (packet := reader.next_packet()) is not None:
            if packet.size:
                table.add(packet)
                if len(table) > limits.max_frames:
                    raise MediaTooLarge(f"the limit is {limits.max_frames} frames")
            if first is None or len(trial) < trial_frames:
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    self._source.check()
                    frames, sound = [], False
                for frame in frames:
                    first = first or frame
                    trial.append(frame.pts)
        if first is None:
            raise UndecodableMedia("no frame of the video can be decoded")
        self._read_shape(first)
        self._table: PacketTable | None = table.build(
            stream,
            trial,
            trust_damaged=plain,
            sound=sound,
            indexed=reader.container_format == "mov",
            max_frames=limits.max_frames,
        )
        if self._table is None:
            self._pts = self._decode_all()
        else:
            self._pts = self._table.pts
        self._set_times(table)

    def _read_shape(self, frame: VideoFrame) -> None:
        check_pixels(frame.width, frame.height, self._limits)
        aspect = self._reader.stream.sample_aspect_ratio
        width = frame.width
        if aspect and aspect != 1 and ASPECT_RANGE[0] <= aspect <= ASPECT_RANGE[1]:
            width = max(1, round(width * aspect))
        check_pixels(width, frame.height, self._limits)
        self._size, self._stored_width = (width, frame.height), frame.width
        self._orientation = orientation_of(frame)
        # FFmpeg does not decode the alpha of VP8 and VP9, which Matroska keeps beside the picture.
        self._transparent = (
            _has_alpha(frame) or self._reader.stream.metadata.get("alpha_mode") == "1"
        )

    def _set_times(self, table: TableBuilder) -> None:
        pts, stream = self._pts, self._reader.stream
        base = stream.time_base
        rate = float(stream.guessed_rate or stream.average_rate or FALLBACK_RATE)
        if not 0.1 <= rate <= 1000.0:
            rate = FALLBACK_RATE
        if pts is None or not base:
            count = self._count if pts is None else len(pts)
            self.times = np.arange(count) / rate
            length = float(self.times[-1])
        else:
            # Players go on where timestamps fall back, as at the seam of recordings that were
            # joined: a frame without a time of its own is shown for as long as others.
            steps = np.diff(pts)
            steps[steps <= 0] = max(1, round(1 / (rate * float(base))))
            self.times = np.concatenate(([0], np.cumsum(steps))) * float(base)
            # The sum of hostile integers may overflow; as long as none does, these are equal.
            length = float(steps.sum(dtype=np.float64)) * float(base)
        last = float(table.last_duration * base) if base else 0.0
        duration = length + (min(last, LONGEST_LAST_S) if last > 0 else 1.0 / rate)
        if duration > self._limits.max_duration_s:
            raise MediaTooLarge(
                f"the video lasts {duration:.0f} s; the limit is {self._limits.max_duration_s:.0f}"
            )
        width, height = self._size
        if self._orientation.transposed:
            width, height = height, width
        self.facts = MediaFacts(
            "video",
            width,
            height,
            duration,
            len(self.times),
            self._orientation.rotation,
            self._unexamined(table),
        )

    def _unexamined(self, table: TableBuilder) -> tuple[Unexamined, ...]:
        found = []
        lost = 0 if self._table is None else int(self._table.lost.sum())
        if self._transparent:
            found.append(Unexamined.TRANSPARENCY)
        if self._reader.further:
            found.append(Unexamined.FURTHER_STREAM)
        # Only this format has edit lists; what others list is often wrong.
        hidden = self._reader.stream.frames - table.shown() - lost
        if self._reader.container_format == "mov" and hidden > MAX_HIDDEN:
            found.append(Unexamined.HIDDEN_FRAMES)
        return tuple(found)

    def _decode_all(self) -> NDArray[np.int64] | None:
        """Return the timestamps of a full decode, for files whose packets cannot be trusted.

        They are None if the decoder gives a frame no timestamp. They may decrease.
        """
        self._reader.open()
        stamps: list[int | None] = []
        while (packet := self._reader.next_packet()) is not None:
            stamps.extend(frame.pts for frame in self._reader.decode(packet))
            if len(stamps) > self._limits.max_frames:
                raise MediaTooLarge(f"the limit is {self._limits.max_frames} frames")
        if not stamps:
            raise UndecodableMedia("no frame of the video can be decoded")
        self._count = len(stamps)
        if any(pts is None for pts in stamps):
            return None
        return np.array(stamps, dtype=np.int64)

    def _frames(self, indices: list[int], call: int) -> Iterator[Frame | FailedFrame]:
        if not indices:
            return
        if self._table is None:
            results = self._reader.by_order(indices)
        else:
            results = self._reader.by_time(self._table, indices)
        while True:
            self._check(call)
            index, frame = next(results, (None, None))
            if index is None:
                return
            time = float(self.times[index])
            pixels = self._pixels(frame) if frame is not None else None
            if pixels is None:
                yield FailedFrame(index, time, "the frame could not be decoded intact")
            else:
                yield Frame(index, time, pixels)

    def _pixels(self, frame: VideoFrame) -> NDArray[np.uint8] | None:
        if (frame.width, frame.height) != (self._stored_width, self._size[1]):
            return None
        if _has_alpha(frame) and not self._transparent:  # unlike the first, by which facts are told
            return None
        try:
            return self._orientation.apply(to_rgb(frame, *self._size))
        except (av.error.FFmpegError, ValueError, MemoryError):
            return None


def _has_alpha(frame: VideoFrame) -> bool:
    return any(component.is_alpha for component in frame.format.components)


def orientation_of(frame: VideoFrame) -> Orientation:
    """Return how ``frame`` must be turned, by the display matrix of its container."""
    matrix = _display_matrix(frame)
    if matrix is None:
        turns = round(-frame.rotation / 90) % 4
        matrix = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)][turns]
    return Orientation.from_matrix(*matrix)


def _display_matrix(frame: VideoFrame) -> tuple[float, float, float, float] | None:
    try:
        side_data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # FFmpeg attached side data of a type that PyAV does not know
        return None
    if side_data is None:
        return None
    values = np.frombuffer(bytes(side_data), dtype=np.int32)  # type: ignore[call-overload]
    return float(values[0]), float(values[1]), float(values[3]), float(values[4])
