"""Exact access to the frames of one video stream, by timestamp or by counting."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, NoReturn, cast

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from deepfake_models.errors import NoVisualStream, UndecodableMedia
from deepfake_models.media.interface import DecodeLimits, GuardedSource
from deepfake_models.media.packet_index import (
    MAX_DELAY,
    PacketTable,
    h264_disposable,
    h264_nal_length,
)

# FFmpeg's log quotes its input, metadata included, and nothing of a submission may be logged.
av.logging.set_level(None)

DEMUXERS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "mxf", "ivf",
    "h264", "hevc", "vvc", "obu", "m4v", "h263", "dv", "nut", "rm",
    # Formats of sound alone: they are opened so that the reason can be "no visual stream".
    "mp3", "wav", "w64", "flac", "aac", "ac3", "eac3", "amr", "aiff", "caf", "au",
)  # fmt: skip
"""FFmpeg's demuxers that may run, all of self-contained formats. Demuxers that open further files
or addresses (hls, dash, concat, image2, sdp, rtsp and others) may not."""

ATTACHMENTS = Disposition.attached_pic | Disposition.timed_thumbnails
"""Pictures that accompany a stream (cover art, thumbnails) and do not count as video."""

PROBE_FACTOR = 4
"""While probing, FFmpeg may decode frames of this many times the allowed pixels. It hides the size
of still larger ones, which are therefore refused as undecodable and not as too large."""

MAX_RETRIES = 8
"""Unsuccessful retries for one item. A frame that is damaged after a seek is tried again from two
keyframes earlier, because a keyframe may be marked wrongly; real damage must not cause endless
decoding."""

AT_END = 1 << 62
"""A position after all packets."""

INTRA_TYPES = frozenset({PictureType.NONE, PictureType.I, PictureType.SI, PictureType.BI})
"""Picture types of a true keyframe; NONE is of decoders that do not report a type."""

Picked = VideoFrame | None


def _refuse_open(*_: object) -> NoReturn:
    raise PermissionError("media may not open other files")


class StreamReader:
    """One video stream of a container at some position, and its decoder.

    After an error in the stream, frames that may depend on the damaged one are returned as None,
    because decoders conceal damage with pixels of other frames.
    """

    further: bool
    """Whether people may see another video stream of the container than this one."""

    def __init__(self, source: GuardedSource, limits: DecodeLimits) -> None:
        self._source = source
        self._limits = limits
        self._stream_index: int | None = None
        self._container: InputContainer | None = None
        self._seekable = True
        self._retries = MAX_RETRIES
        self.open()

    @property
    def container_format(self) -> str:
        """Return FFmpeg's first name of the container's format, such as "mov" or "matroska"."""
        assert self._container is not None
        return self._container.format.name.split(",")[0]

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None

    def open(self) -> None:
        """Open the container at its start, again if it is open."""
        if self._container is not None:
            self._container.close()
        self._source.seek(0)
        self._container = av.open(
            self._source,
            mode="r",
            container_options={"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": ""},
            options={"max_pixels": str(PROBE_FACTOR * self._limits.max_pixels)},
            metadata_errors="replace",
            io_open=_refuse_open,
        )
        self.stream = self._choose(self._container)
        context = self.stream.codec_context
        # With one thread, skip_frame acts on exactly the packet that it is set for, and damage is
        # reported with its packet. Several decoder processes use the machine in parallel instead.
        context.thread_type = "NONE"
        context.thread_count = 1
        # "explode" reports an error in a packet instead of concealing it.
        context.options = {"max_pixels": str(self._limits.max_pixels), "err_detect": "explode"}
        self._nal_length: int | None = None
        if context.codec.name == "h264":
            self._nal_length = h264_nal_length(context.extradata)
        self._packets: Iterator[Packet[VideoStream]] = self._container.demux(self.stream)
        self._exhausted = False
        self._fed = -1
        self._emitted = -(1 << 63)
        self._from_start = True
        self._expected: int | None = None
        self._stash: dict[int, VideoFrame] = {}
        self._damage: list[tuple[int, int | None]] = []

    def _choose(self, container: InputContainer) -> VideoStream:
        """Return the video stream that players show: the first that the container marks as default,
        or the first if it marks none, of those that have a decoder and are not attachments."""
        videos = [s for s in container.streams.video if not s.disposition & ATTACHMENTS]
        if not videos:
            raise NoVisualStream
        # A stream without a decoder has no codec context in PyAV, although its types say otherwise.
        decodable = [s for s in videos if cast("object | None", s.codec_context) is not None]
        if self._stream_index is not None:
            decodable = [s for s in decodable if s.index == self._stream_index]
        if not decodable:
            raise UndecodableMedia("there is no decoder for this video")
        # Else a harmless first track would hide the one that everybody sees.
        shown = [s for s in decodable if s.disposition & Disposition.default] or decodable
        self._stream_index = shown[0].index
        # A thumbnail that the container does not mark as shown hides nothing.
        self.further = any(
            s.index != self._stream_index and (s.frames != 1 or s.disposition & Disposition.default)
            for s in videos
        )
        return shown[0]

    def by_time(self, table: PacketTable, indices: list[int]) -> Iterator[tuple[int, Picked]]:
        """Find frames by timestamp; seek where there is a keyframe between here and the target.
        ``indices`` are ascending indices into ``table``; each is yielded with its frame."""
        stamps = {int(table.pts[i]) for i in indices if not table.lost[i]}
        # A packet that was decoded before this call may have been skipped, or its frame returned.
        fed_before = AT_END if self._exhausted else self._fed
        self._stash.clear()
        for index in indices:
            if table.lost[index]:
                yield index, None
                continue
            target, position = int(table.pts[index]), int(table.position[index])
            key = table.key_before(index)
            ahead = table.key_position(key) > self._fed + 1
            if target not in self._stash and (position <= fed_before or ahead):
                self._seek(table, key, position)
                fed_before = -1
            frame = self._forward(table, target, position, stamps)
            tries = 0
            while not self._intact(table, index, frame) and not self._from_start:
                if self._seekable:
                    if tries == self._retries:
                        break
                    tries += 1
                key, fed_before = table.earlier(key), -1
                self._seek(table, key, position)
                frame = self._forward(table, target, position, stamps)
            if self._intact(table, index, frame):
                yield index, frame
            else:
                self._retries -= tries
                yield index, None

    def _seek(self, table: PacketTable, key: int | None, position: int) -> None:
        """Move to keyframe ``key`` or before it; to the start if seeking does not lead there."""
        assert self._container is not None
        for stamp in table.seek_stamps(key) if self._seekable else []:
            try:
                self._container.seek(stamp, stream=self.stream)
            except av.error.FFmpegError:
                self._source.check()
                break
            self._packets = self._container.demux(self.stream)
            first = self.next_packet()
            while first is not None and not first.is_keyframe:
                first = self.next_packet()
            landed = table.position_of(first.pts) if first is not None else None
            if first is not None and landed is not None and landed <= position:
                self._packets = chain([first], self._packets)
                self._fed, self._emitted = landed - 1, -(1 << 63)
                self._from_start, self._exhausted = landed == 0, False
                self._expected = first.pts if landed else None
                self._stash.clear()
                self._damage.clear()
                return
        if key is not None:
            self._seekable = False
        self.open()

    def _forward(
        self, table: PacketTable, target: int, position: int, stamps: set[int]
    ) -> VideoFrame | None:
        """Decode until the frame with timestamp ``target``; return None once it cannot come."""
        while target not in self._stash:
            if self._fed > position + MAX_DELAY and self._emitted > target:
                return None
            packet = self.next_packet()
            if packet is None:
                return None
            at = table.position_of(packet.pts)
            self._fed = self._fed + 1 if at is None else at
            if self._nal_length is not None:
                # Only packets known to be disposable are skipped, because with skip_frame FFmpeg
                # does not report broken ones. HEVC is not skipped at all: there a "non-reference"
                # picture may be referred to from a higher temporal sub-layer.
                skip = packet.pts not in stamps and h264_disposable(bytes(packet), self._nal_length)
                self.stream.codec_context.skip_frame = "NONREF" if skip else "DEFAULT"
            for frame in self.decode(packet):
                if frame.pts is None:
                    continue
                if self._misled(frame):
                    self._seekable = False
                    return None
                self._emitted = max(self._emitted, frame.pts)
                if frame.is_corrupt and (damaged := table.position_of(frame.pts)) is not None:
                    self._damage.append((damaged, frame.pts))
                if frame.pts in stamps and frame.pts >= target:
                    self._stash[frame.pts] = frame
        return self._stash.pop(target)

    def _misled(self, frame: VideoFrame) -> bool:
        """Return whether the frame after a seek shows that the seek found no true keyframe.

        Streams with gradual refresh mark packets as keyframes from which decoding gives the same
        picture only approximately.
        """
        if self._expected is None or frame.pts is None or frame.pts < self._expected:
            return False
        true_key = frame.pts == self._expected and frame.pict_type in INTRA_TYPES
        self._expected = None
        return not true_key and not self._damage

    def _intact(self, table: PacketTable, index: int, frame: VideoFrame | None) -> bool:
        """Return whether there is a ``frame`` and nothing that it may depend on was damaged."""
        return frame is not None and not any(table.touches(index, *d) for d in self._damage)

    def by_order(self, indices: list[int]) -> Iterator[tuple[int, Picked]]:
        """Find frames by counting from the start, for files whose packets cannot be trusted.
        ``indices`` ascend; each is yielded with its frame."""
        self.open()
        remaining = iter(indices)
        index = next(remaining)
        count, fed, damaged_at = 0, 0, AT_END
        while (packet := self.next_packet()) is not None:
            fed += 1
            errors = len(self._damage)
            frames = self.decode(packet)
            if len(self._damage) > errors or any(f.is_corrupt for f in frames):
                damaged_at = fed
            for frame in frames:
                # A keyframe ends the damage only if the decoder did not hold it already before.
                if frame.key_frame and fed > damaged_at + MAX_DELAY:
                    damaged_at = AT_END
                if count == index:
                    yield index, frame if damaged_at == AT_END else None
                    following = next(remaining, None)
                    if following is None:
                        return
                    index = following
                count += 1
        for missing in chain([index], remaining):
            yield missing, None

    def decode(self, packet: Packet[VideoStream]) -> list[Any]:
        """Return the frames that the decoder outputs for ``packet``; note damage."""
        if packet.is_corrupt:
            self._damage.append((self._fed, packet.pts))
        try:
            return packet.decode()
        except av.error.FFmpegError:
            self._source.check()
            if packet.size:
                self._damage.append((self._fed, packet.pts))
            return []

    def next_packet(self) -> Packet[VideoStream] | None:
        """Return the next packet, an empty one at the end, and None after that or an error."""
        try:
            packet = next(self._packets, None)
        except av.error.FFmpegError:
            packet = None
        self._source.check()
        if packet is None:
            self._exhausted = True
        return packet
