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


def track(content: bytes, kind: str) -> list[bytes]:
    """Return the ``video`` or the ``audio`` of a video as segments in MP4 (ISO 14496-12), the first
    of which begins it, without encoding it again."""
    out = io.BytesIO()
    options = {"movflags": "empty_moov+default_base_moof", "frag_duration": "500000"}
    with (
        av.open(io.BytesIO(content)) as source,
        av.open(out, "w", format="mp4", container_options=options) as target,
    ):
        chosen = next(each for each in source.streams if each.type == kind)
        stream = target.add_stream_from_template(chosen)
        for packet in source.demux(chosen):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    made, at, segments = out.getvalue(), 0, [b""]
    while at < len(made):
        size = int.from_bytes(made[at : at + 4], "big")
        if made[at + 4 : at + 8] == b"moof":
            segments.append(b"")
        segments[-1] += made[at : at + size]
        at += size
    return segments


def says_dash(
    platform: FakePlatform, path: str, tracks: dict[str, list[bytes]], *, in_files: bool
) -> str:
    """Let a platform send picture and sound apart, as DASH (ISO 23009-1); return the address of its
    description. Each track is one file or in segments."""
    sets = []
    for kind, segments in tracks.items():
        base, mime = f"{path}/{kind}", f"{kind}/mp4"
        codecs = {"video": "avc1.64001e", "audio": "mp4a.40.2"}[kind]
        if in_files:
            platform.says(base, says_bytes(b"".join(segments), mime))
            first = len(segments[0])
            where = (
                f"<BaseURL>{base}</BaseURL><SegmentBase indexRange='{first}-{first + 99}'>"
                f"<Initialization range='0-{first - 1}'/></SegmentBase>"
            )
        else:
            for number, segment in enumerate(segments):
                platform.says(f"{base}/{number}.m4s", says_bytes(segment, mime))
            where = (
                f"<SegmentTemplate initialization='{base}/0.m4s' media='{base}/$Number$.m4s' "
                f"startNumber='1' duration='1' timescale='1'/>"
            )
        sets.append(
            f"<AdaptationSet contentType='{kind}'><Representation id='{kind}' mimeType='{mime}' "
            f"codecs='{codecs}' bandwidth='90000'>{where}</Representation></AdaptationSet>"
        )
    seconds = max(map(len, tracks.values())) - 1
    described = (
        "<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static' "
        f"mediaPresentationDuration='PT{seconds}S'><Period>{''.join(sets)}</Period></MPD>"
    )
    return platform.says(f"{path}.mpd", says_bytes(described.encode(), "application/dash+xml"))


def segments_of(content: bytes, count: int = 3) -> list[bytes]:
    """Cut a transport stream between packets."""
    packets = len(content) // 188
    size = -(-packets // count) * 188
    return [content[at : at + size] for at in range(0, len(content), size)]


def says_playlist(
    platform: FakePlatform, path: str, segments: Sequence[bytes], *, encrypted: bool = False
) -> str:
    """Let a platform send a video as HLS (RFC 8216); return the address of its playlist. Segments
    in MP4 begin with the one that is sent once."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:10", "#EXT-X-MEDIA-SEQUENCE:0"]
    is_mp4 = segments[0][4:8] == b"ftyp"
    if encrypted:
        platform.says(f"{path}/key", says_bytes(KEY, "application/octet-stream"))
        lines.append(f'#EXT-X-KEY:METHOD=AES-128,URI="{path}/key",IV=0x{IV.hex()}')
    for number, segment in enumerate(segments):
        sent = _encrypted(segment) if encrypted else segment
        name = f"{path}/{number}.{'m4s' if is_mp4 else 'ts'}"
        platform.says(name, says_bytes(sent, "video/mp4" if is_mp4 else "video/mp2t"))
        begins = is_mp4 and number == 0
        lines += [f'#EXT-X-MAP:URI="{name}"'] if begins else ["#EXTINF:2.0,", name]
    playlist = "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()
    return platform.says(f"{path}.m3u8", says_bytes(playlist, "application/vnd.apple.mpegurl"))


def says_renditions(
    platform: FakePlatform, path: str, tracks: dict[str, list[bytes]], *, encrypted: bool = False
) -> str:
    """Let a platform send picture and sound apart, as HLS; return the address of its playlist."""
    for kind, segments in tracks.items():
        says_playlist(platform, f"{path}/{kind}", segments, encrypted=encrypted)
    lines = [
        "#EXTM3U",
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",DEFAULT=YES,URI="{path}/audio.m3u8"',
        '#EXT-X-STREAM-INF:BANDWIDTH=90000,CODECS="avc1.64001e,mp4a.40.2",AUDIO="a"',
        f"{path}/video.m3u8",
        "",
    ]
    playlist = "\n".join(lines).encode()
    return platform.says(f"{path}.m3u8", says_bytes(playlist, "application/vnd.apple.mpegurl"))


def _encrypted(segment: bytes) -> bytes:
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(KEY), modes.CBC(IV)).encryptor()
    padded = padder.update(segment) + padder.finalize()
    return encryptor.update(padded) + encryptor.finalize()


def clip(frames: int = 12, *, sound: bool = False) -> bytes:
    """Return a video in MP4."""
    return footage.encode(footage.panning(frames), sound=sound)


def says_post(platform: FakePlatform, path: str, video: bytes) -> str:
    """Let a platform show a post that names itself and its video; return its address."""
    url, file = platform.url(path), platform.says(f"{path}.mp4", says_bytes(video, "video/mp4"))
    words = " ".join(map(str, range(90)))
    return platform.says(
        path,
        shows(
            f"<title>Post {path} - Video</title><meta property='og:url' content='{url}'>"
            f"<meta property='og:video' content='{file}'><h1>Post {path}</h1>"
            f"<video src='{file}'></video><p>seen by {words}</p>"
        ),
    )
