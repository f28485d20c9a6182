"""Build the table of a video's frames from its packets, without decoding them."""

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
"""An MPEG-4 packet of up to this many bytes may be a VOP that is not coded, a start code and some
22 to 40 bits, which shows no new frame (ISO/IEC 14496-2, 6.2.5)."""

MAX_DELAY = 32
"""Packets after a frame's own within which every decoder outputs it: H.264 and HEVC reorder by at
most 16, and one frame may consist of two packets."""

KEY_SEARCH = 256
"""Keyframes to search backwards for one that precedes a frame in both orders."""


@dataclass(frozen=True, slots=True)
class PacketTable:
    """Displayed frames in presentation order and keyframes in decoding order. Timestamps are in the
    stream's time base; positions count packets in decoding order."""

    pts: NDArray[np.int64]
    """(n,) timestamps of the displayed frames; strictly ascending."""
    position: NDArray[np.int64]
    """(n,) positions of their packets."""
    lost: NDArray[np.bool_]
    """(n,) True for frames that the container lists but no longer holds; their times are
    estimates."""
    key_pts: NDArray[np.int64]
    key_dts: NDArray[np.int64]
    key_at: NDArray[np.int64]
    """(k,) positions of the keyframes' packets, ascending."""

    def position_of(self, pts: int | None) -> int | None:
        """Return the position of the packet with timestamp ``pts``; None if there is none."""
        if pts is None:
            return None
        at = int(np.searchsorted(self.pts, pts))
        if at < len(self.pts) and self.pts[at] == pts:
            return int(self.position[at])
        # A keyframe before the start of an edit is decoded but not displayed.
        hidden = np.flatnonzero(self.key_pts == pts)
        return int(self.key_at[hidden[0]]) if len(hidden) else None

    def key_before(self, index: int) -> int | None:
        """Return the last keyframe from which frame ``index`` can be decoded; None for the start.

        It precedes the frame in decoding order and in presentation order, because frames that
        follow a keyframe in the file but are shown before it (open GOP) depend on the previous one.
        """
        position, pts = int(self.position[index]), int(self.pts[index])
        key = int(np.searchsorted(self.key_at, position, side="right")) - 1
        for candidate in range(key, max(key - KEY_SEARCH, -1), -1):
            if self.key_pts[candidate] <= pts:
                return candidate
        return None

    def key_position(self, key: int | None) -> int:
        """Return the position of keyframe ``key``; None stands for the start."""
        return 0 if key is None else int(self.key_at[key])

    def earlier(self, key: int | None) -> int | None:
        """Return the keyframe two before ``key``; None for the start."""
        return None if key is None or key < 2 else key - 2

    def seek_stamps(self, key: int | None) -> list[int]:
        """Return timestamps that may seek to ``key`` or before it, in the order to try them.

        Containers index by presentation or by decoding time. A transport stream has no index, and a
        seek may land after the keyframe that was meant.
        """
        if key is None:
            return []
        pts, dts = int(self.key_pts[key]), int(self.key_dts[key])
        return [pts, min(pts, dts), int(self.key_dts[max(key - 1, 0)])]

    def touches(self, index: int, position: int, pts: int | None) -> bool:
        """Return whether damage to the packet at ``position`` may show in frame ``index``. ``pts``
        is the timestamp of the packet, if it has one."""
        key = self.key_before(index)
        if not self.key_position(key) <= position <= int(self.position[index]):
            return False
        return key is None or pts is None or pts >= int(self.key_pts[key])


def h264_nal_length(extradata: bytes | None) -> int:
    """Return the size in bytes of the length before each NAL unit; 0 if start codes are used. See
    ISO/IEC 14496-15, 5.3.3.1."""
    if extradata and len(extradata) >= 7 and extradata[0] == 1:
        return (extradata[4] & 3) + 1
    return 0


def h264_disposable(packet: bytes, nal_length: int) -> bool:
    """Return whether no other picture refers to the H.264 picture in ``packet``.

    The ``nal_ref_idc`` of its first slice tells: it is zero in all slices of a picture or in none
    (ITU-T H.264, 7.4.1). The result is False if there is no slice.
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
        """Duration of the frame that is shown last, in the time base; 0 if unknown."""
        self._places = array("q")

    def __len__(self) -> int:
        return self._count

    def shown(self) -> int:
        """Return how many packets of the file are shown. An edit list may show one repeatedly."""
        places = np.sort(np.array(self._places, dtype=np.int64))
        return int((np.diff(places, prepend=-2) != 0).sum())

    def add(self, packet: Packet[VideoStream]) -> None:
        """Add the next packet, which must hold data."""
        position, self._count = self._count, self._count + 1
        if not packet.is_discard:
            self._places.append(-1 if packet.pos is None else packet.pos)
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
        """Return the table, or None if the packets do not tell what a decoder will output.

        Args:
            stream: where the packets are from.
            trial: timestamps of the first decoded frames, which must be the first of the table.
            trust_damaged: whether to trust the packets if decoding those frames gave an error.
            sound: whether decoding them gave no error.
            indexed: whether the container's index lists every frame, so that frames beyond the end
                of a truncated file are known.
            max_frames: the limit.

        Raises:
            MediaTooLarge: the index lists more frames than ``max_frames``.
        """
        pts = np.array(self._pts, dtype=np.int64)
        order = np.argsort(pts, kind="stable")
        ascending = pts[order]
        if self._doubtful or not len(pts) or bool((np.diff(ascending) == 0).any()):
            return None
        # In recordings that were joined, timestamps begin again, and those of two may interleave.
        if int(np.abs(order - np.arange(len(order))).max()) > MAX_DELAY:
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
        """Return estimated timestamps of the frames that the index lists after the last packet."""
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
        # They must ascend strictly and follow the last frame that was read.
        return np.maximum.accumulate(np.maximum(shifted, pts.max() + 1) - ordinal) + ordinal
