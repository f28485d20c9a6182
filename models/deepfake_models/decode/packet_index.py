"""The table of a video's frames, built from its packets without decoding them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from deepfake_models.errors import MediaTooLarge

MPEG4_LARGEST_UNCODED = 9
"""An MPEG-4 packet up to this many bytes may be a VOP that is not coded, which stands for no new
frame (ISO/IEC 14496-2, 6.2.5): a start code and some 22 to 40 bits."""

KEY_SEARCH = 256
"""Keyframes looked back through for one that precedes a frame in both orders."""


@dataclass(frozen=True, slots=True)
class PacketTable:
    """Displayed frames in presentation order and keyframes in decoding order.

    Timestamps are in the stream's time base; positions count packets in decoding order.
    """

    pts: NDArray[np.int64]
    """(n,) of each displayed frame; ascending, each once."""
    position: NDArray[np.int64]
    """(n,) of each displayed frame's packet."""
    lost: NDArray[np.bool_]
    """(n,) whether the container lists the frame but no longer holds it; its time is estimated."""
    key_pts: NDArray[np.int64]
    key_dts: NDArray[np.int64]
    key_at: NDArray[np.int64]
    """(k,) of each keyframe's packet, ascending."""

    def position_of(self, pts: int | None) -> int | None:
        """Position of the packet stamped ``pts``; None if no frame or keyframe is."""
        if pts is None:
            return None
        at = int(np.searchsorted(self.pts, pts))
        if at < len(self.pts) and self.pts[at] == pts:
            return int(self.position[at])
        # A keyframe before the start of an edit is decoded but not displayed.
        hidden = np.flatnonzero(self.key_pts == pts)
        return int(self.key_at[hidden[0]]) if len(hidden) else None

    def key_before(self, index: int) -> int | None:
        """The last keyframe from which frame ``index`` can be decoded; None for the start.

        It precedes the frame in decoding order and in presentation order: frames that follow a
        keyframe in the file but are shown before it (open GOP) build upon the previous one.
        """
        position, pts = int(self.position[index]), int(self.pts[index])
        key = int(np.searchsorted(self.key_at, position, side="right")) - 1
        for candidate in range(key, max(key - KEY_SEARCH, -1), -1):
            if self.key_pts[candidate] <= pts:
                return candidate
        return None

    def key_position(self, key: int | None) -> int:
        return 0 if key is None else int(self.key_at[key])

    def earlier(self, key: int | None) -> int | None:
        """The keyframe two before ``key``; None for the start."""
        return None if key is None or key < 2 else key - 2

    def seek_stamps(self, key: int | None) -> list[int]:
        """Timestamps to seek to, in the order to be tried, to stand at ``key`` or before it.

        Containers index by presentation or by decoding time; in a transport stream, which has no
        index, a seek may land behind the keyframe meant.
        """
        if key is None:
            return []
        pts, dts = int(self.key_pts[key]), int(self.key_dts[key])
        return [pts, min(pts, dts), int(self.key_dts[max(key - 1, 0)])]

    def touches(self, index: int, position: int, pts: int | None) -> bool:
        """Whether damage to the packet at ``position``, stamped ``pts``, may show in ``index``."""
        key = self.key_before(index)
        if not self.key_position(key) <= position <= int(self.position[index]):
            return False
        return key is None or pts is None or pts >= int(self.key_pts[key])


def h264_nal_length(extradata: bytes | None) -> int:
    """Bytes of the length before each NAL unit (ISO/IEC 14496-15, 5.3.3.1); 0 for start codes."""
    if extradata and len(extradata) >= 7 and extradata[0] == 1:
        return (extradata[4] & 3) + 1
    return 0


def h264_disposable(packet: bytes, nal_length: int) -> bool:
    """Whether no other picture refers to the H.264 picture in ``packet``.

    ``nal_ref_idc`` of its first slice, which all slices of a picture share in being zero or not
    (ITU-T H.264, 7.4.1). False where no slice is found.
    """
    at = 0
    while True:
        if nal_length:
            length = int.from_bytes(packet[at : at + nal_length], "big")
            at += nal_length
        else:
            start = packet.find(b"\0\0\1", at)
            length = 0
            at = start + 3 if start >= 0 else len(packet)
        if at >= len(packet):
            return False
        if 1 <= packet[at] & 0x1F <= 5:
            return not packet[at] & 0x60
        at += length


class TableBuilder:
    """Collects the packets of one stream in the order in which they are read."""

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._doubtful = False
        self._pts, self._dts, self._at = array("q"), array("q"), array("q")
        self._key_pts, self._key_dts, self._key_at = array("q"), array("q"), array("q")
        self._count = 0
        self._last = -(1 << 63)
        self.last_duration = 0
        """Duration of the frame shown last, in the time base; 0 if not stated."""

    def __len__(self) -> int:
        return self._count

    def add(self, packet: Packet[VideoStream]) -> None:
        """Note one packet that holds data."""
        position, self._count = self._count, self._count + 1
        pts = packet.pts
        if pts is None:
            self._doubtful = True
            return
        dts = pts if packet.dts is None else packet.dts
        if packet.is_keyframe:
            self._key_pts.append(pts)
            self._key_dts.append(dts)
            self._key_at.append(position)
        if packet.is_discard or self._hidden(packet):
            return
        self._pts.append(pts)
        self._dts.append(dts)
        self._at.append(position)
        if pts >= self._last:
            self._last, self.last_duration = pts, packet.duration or 0

    def _hidden(self, packet: Packet[VideoStream]) -> bool:
        if self._codec == "mpeg4" and packet.size <= MPEG4_LARGEST_UNCODED:
            self._doubtful = True
        # RFC 6386, 9.1: bit 4 of a VP8 frame's first byte is show_frame.
        return self._codec in ("vp8", "libvpx") and not bytes(packet)[0] & 0x10

    def build(
        self,
        stream: VideoStream,
        trial: Sequence[int | None],
        *,
        trust_damaged: bool,
        sound: bool,
        indexed: bool,
        max_frames: int,
    ) -> PacketTable | None:
        """The table, or None where the packets do not tell what a decoder will output.

        ``trial``: timestamps of the first frames decoded, compared with the table's first.
        ``sound``: they came without an error; if not, the packets are believed only with
        ``trust_damaged``. ``indexed``: the container's index lists every frame, so that those
        beyond the end of a truncated file are known. Raises ``MediaTooLarge``.
        """
        pts = np.array(self._pts, dtype=np.int64)
        order = np.argsort(pts, kind="stable")
        ascending = pts[order]
        if self._doubtful or not len(pts) or bool((np.diff(ascending) == 0).any()):
            return None
        expected = ascending[: len(trial)].tolist()
        if not (expected == list(trial) if sound else trust_damaged):
            return None
        position = np.array(self._at, dtype=np.int64)[order]
        lost = np.zeros(len(pts), dtype=np.bool_)
        if indexed and (missing := self._missing(stream, max_frames)) is not None:
            ascending = np.concatenate([ascending, missing])
            position = np.concatenate([position, self._count + np.arange(len(missing))])
            lost = np.concatenate([lost, np.ones(len(missing), dtype=np.bool_)])
        return PacketTable(
            ascending,
            position,
            lost,
            np.array(self._key_pts, dtype=np.int64),
            np.array(self._key_dts, dtype=np.int64),
            np.array(self._key_at, dtype=np.int64),
        )

    def _missing(self, stream: VideoStream, max_frames: int) -> NDArray[np.int64] | None:
        """Estimated timestamps of the frames that the index lists beyond the last packet read."""
        entries = stream.index_entries
        if len(entries) <= self._count:
            return None
        if len(entries) > max_frames:
            raise MediaTooLarge(f"the limit is {max_frames} frames")
        listed = [e.timestamp for e in entries[self._count :] if not e.is_discard]
        if not listed:
            return None
        pts, dts = np.array(self._pts, dtype=np.int64), np.array(self._dts, dtype=np.int64)
        shifted = np.array(sorted(listed), dtype=np.int64) + int(np.median(pts - dts))
        ordinal = np.arange(len(listed))
        # Strictly ascending, after the last frame read.
        return np.maximum.accumulate(np.maximum(shifted, pts.max() + 1) - ordinal) + ordinal
