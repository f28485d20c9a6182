"""Posts of the fake platform with videos, sent in the ways that platforms send them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import av
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.support import footage
from tests.support.fake_platform import Answer, FakePlatform, Handler, shows

KEY, IV = bytes(range(16)), bytes(16)


def says_bytes(content: bytes, mime: str, **headers: str) -> Answer:
    """Return an answer with a body."""

    def answer(handler: Handler) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        size = {} if "Transfer-Encoding" in named else {"Content-Length": str(len(content))}
        handler.head(200, {"Content-Type": mime, **size, **named})
        handler.wfile.write(content)

    return answer


def says_chunks(content: bytes, mime: str, size: int = 5000) -> Answer:
    """Return an answer with a body in chunks."""
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    coded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    return says_bytes(coded, mime, Transfer_Encoding="chunked")


def page_with(video: str, title: str = "A post") -> Answer:
    """Return the page of a post that plays a video."""
    text = f"<p>seen by {' '.join(map(str, range(90)))}</p>"
    return shows(f"<title>{title}</title><h1>{title}</h1><video src='{video}'></video>{text}")


def transport_stream(content: bytes) -> bytes:
    """Return a video in packets of MPEG-2 (ISO 13818-1), without encoding it again."""
    out = io.BytesIO()
    with av.open(io.BytesIO(content)) as source, av.open(out, "w", format="mpegts") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return out.getvalue()


def segments_of(content: bytes, count: int = 3) -> list[bytes]:
    """Cut a transport stream between packets."""
    packets = len(content) // 188
    size = -(-packets // count) * 188
    return [content[at : at + size] for at in range(0, len(content), size)]


def says_playlist(
    platform: FakePlatform, path: str, segments: Sequence[bytes], *, encrypted: bool = False
) -> str:
    """Let a platform send a video as HLS (RFC 8216); return the address of its playlist."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:10", "#EXT-X-MEDIA-SEQUENCE:0"]
    if encrypted:
        platform.says(f"{path}/key", says_bytes(KEY, "application/octet-stream"))
        lines.append(f'#EXT-X-KEY:METHOD=AES-128,URI="{path}/key",IV=0x{IV.hex()}')
    for number, segment in enumerate(segments):
        sent = _encrypted(segment) if encrypted else segment
        platform.says(f"{path}/{number}.ts", says_bytes(sent, "video/mp2t"))
        lines += ["#EXTINF:2.0,", f"{path}/{number}.ts"]
    playlist = "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()
    return platform.says(f"{path}.m3u8", says_bytes(playlist, "application/vnd.apple.mpegurl"))


def _encrypted(segment: bytes) -> bytes:
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(KEY), modes.CBC(IV)).encryptor()
    padded = padder.update(segment) + padder.finalize()
    return encryptor.update(padded) + encryptor.finalize()


def clip(frames: int = 12) -> bytes:
    """Return a video in MP4."""
    return footage.encode(footage.panning(frames))
