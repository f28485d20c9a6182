"""One link that is fetched, by yt-dlp: its page, and the pictures and videos of its post.

This runs in the sandbox, where ``fetcher.py`` imports it.
"""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import av
from yt_dlp.downloader.dash import DashSegmentsFD
from yt_dlp.downloader.hls import HlsFD
from yt_dlp.networking import Request
from yt_dlp.networking.exceptions import CertificateVerifyError, HTTPError, RequestError
from yt_dlp.utils import DownloadError, GeoRestrictedError, UnsupportedError

from deepfake_service.capture.recorder import Sink, named, now, recording
from deepfake_service.evidence.bundle.artifacts import mime_of
from deepfake_service.evidence.bundle.warc import head_fields
from deepfake_service.platform.db.enums import LookResult
from deepfake_service.platform.pages import KEPT, Answer, Failure, Page, text_of
from deepfake_service.post_pages.reading import ShownPage, read_page
from deepfake_service.post_pages.signs import DATA_NAMES, PostMemory, PostVisit, judge

MAX_PAGE_BYTES = 4 << 20
"""Of a page, unpacked. More of it is not read."""
MAX_MEDIA = 10
"""Videos of one post."""
SHELL_CHARS = 200
"""A page that shows less text than this, and no medium, is one that scripts would have filled."""
OPTIONS: dict[str, Any] = {
    "quiet": True, "no_warnings": True, "noprogress": True, "cachedir": False, "noplaylist": True,
    "ignoreerrors": False, "default_search": "error", "extract_flat": "in_playlist",
    "playlistend": MAX_MEDIA, "hls_prefer_native": True, "ffmpeg_location": "/nonexistent",
    "external_downloader": {"default": "native"}, "fixup": "never", "retries": 1,
    "extractor_retries": 0, "skip_unavailable_fragments": False,
    "socket_timeout": 20, "js_runtimes": {}, "remote_components": [], "geo_bypass": False,
    # What the site itself sends as one file is rather taken than what is put together here.
    "format": "b/bv*+ba/bv*", "format_sort": ["res:1080"], "allowed_extractors": ["default"],
}  # fmt: skip
_AGE = re.compile(r"\bage\b|adult", re.IGNORECASE)
_SAYINGS = tuple(
    (re.compile(pattern, re.IGNORECASE), reason)
    for pattern, reason in (
        (r"\bbot\b|captcha|cloudflare|rate.?limit|too many requests|impersonat", "challenged"),
        (r"your (country|region|location)|geo.?restrict", "geo_blocked"),
        (_AGE.pattern, "age_gate"),
        (r"\blive\b.*(not started|offline|begin)|premieres? in", "live"),
        (r"log ?-?in|sign ?-?in|cookies|registered users|account|private|subscri|members",
         "login_required"),
        (r"removed|deleted|no longer|not exist|suspended|terminated|unavailable|not found", "gone"),
    )
)  # fmt: skip
"""What yt-dlp's errors say, in this order: its extractors tell these apart by their words."""


class Silent:
    """What yt-dlp says: addresses and titles, which are for no log."""

    def debug(self, _text: str) -> None:
        """Say nothing."""

    info = warning = error = stdout = stderr = debug


class _Joining:
    """yt-dlp's reader of a playlist, with segments joined in memory: its own writes files."""

    ydl: Any

    def __init__(self, client: Any) -> None:
        super().__init__(client, client.params)  # type: ignore[call-arg]
        self.joined = bytearray()

    def _prepare_frag_download(self, ctx: dict[str, Any]) -> None:
        ctx.setdefault("live", False)
        ctx.update(fragment_index=0, tmpfilename="-")

    def _start_frag_download(self, ctx: dict[str, Any], _info: Any) -> None:
        ctx["started"] = 0

    def _download_fragment(
        self, ctx: dict[str, Any], frag_url: str, info_dict: Any, headers: Any = None,
        request_data: Any = None,
    ) -> bool:  # fmt: skip
        asked = Request(frag_url, request_data, headers or info_dict.get("http_headers"))
        try:
            try:
                ctx["segment"] = _body_of(self.ydl, asked)
            except RequestError:  # one of hundreds may fail once
                ctx["segment"] = _body_of(self.ydl, asked)
        except RequestError as error:  # after its own attempts, yt-dlp forgets the cause
            raise DownloadError(str(error)) from error
        return True

    def _read_fragment(self, ctx: dict[str, Any]) -> Any:
        return ctx.pop("segment", None)

    def _append_fragment(self, _ctx: Any, frag_content: bytes) -> None:
        self.joined.extend(frag_content)

    def _finish_frag_download(self, _ctx: Any, _info: Any) -> bool:
        return True


class _Hls(_Joining, HlsFD):  # type: ignore[misc]
    """Joins the segments of an HLS playlist."""


class _Dash(_Joining, DashSegmentsFD):  # type: ignore[misc]
    """Joins the segments of a DASH manifest."""


_WAYS: dict[str, Any] = {"m3u8": _Hls, "m3u8_native": _Hls, "http_dash_segments": _Dash}


def _body_of(client: Any, asked: Request) -> bytes:
    with contextlib.closing(client.urlopen(asked)) as answer:
        return bytes(answer.read())


class Fetch:
    """One link that is fetched."""

    def __init__(self, sink: Sink, url: str) -> None:
        self._sink, self._url = sink, url
        self._client = recording(sink, **OPTIONS, logger=Silent())

    def result(self) -> dict[str, Any]:
        """Fetch the page, then what the post shows; return the reason why there is none of it."""
        with self._client as client:
            agent = client.params["http_headers"].get("User-Agent", "")
            found: dict[str, Any] = {"reason": None, "user_agent": agent, "media": 0, "post": {}}
            try:
                self._url = named(self._url)
            except ValueError:
                return {**found, "reason": "no_such_name"}
            failed, content = self._get(self._url)
            # Of these answers: what is fetched from here on has others.
            page = self._page(content, is_whole=failed is None)
            if page.answers:
                found["host"] = urlsplit(page.answers[-1].url).hostname or ""
            reason = self._judged(page, failed)
            if reason is None and not _is_medium(content):
                reason = self._media(found)
                if not found["media"]:
                    found["media"] = self._pictures(page)
                    if found["media"]:
                        # A picture beside a video that did not come must not hide why. A page
                        # that shows one is there, whatever became of its video.
                        reason = {"no_media": None, "gone": "no_media"}.get(str(reason), reason)
                    elif reason == "gone" and found["post"]:  # a file of a post that is there
                        reason = "no_media"
                    elif reason == "no_media" and "<script" in page.answers[-1].text.lower():
                        is_shell = len(_shown(page.answers[-1]).text) < SHELL_CHARS
                        reason = "shell" if is_shell else reason
            found["reason"] = reason
        return found

    def _get(self, url: str, base: str = "") -> tuple[str | None, bytes]:
        """Fetch an address; return why there is no answer, and the unpacked body."""
        content = bytearray()
        try:
            asked = Request(named(url, base))
        except ValueError:
            return "no_such_name", b""
        try:
            try:
                answer = self._client.urlopen(asked)
            except HTTPError as error:
                if error.redirect_loop:
                    return "unreachable", b""
                answer = error.response
            with contextlib.closing(answer):
                while part := answer.read(1 << 16):
                    # A medium is in the record, and is not needed here.
                    content += part if len(content) < MAX_PAGE_BYTES else b""
                    if len(content) >= MAX_PAGE_BYTES and not _is_medium(bytes(content[:512])):
                        break
        except CertificateVerifyError:
            return "tls", b""
        except RequestError:
            if self._sink.limit:
                return "too_large", b""
            if self._sink.exchanges and not self._sink.failure:
                return (None if content else "unreachable"), bytes(content)
            return self._sink.failure or "unreachable", b""
        return None, bytes(content)

    def _page(self, content: bytes, *, is_whole: bool) -> Page:
        answers: list[Answer] = []
        for url, status, head, address in self._sink.exchanges:
            fields = head_fields(head.partition(b"\n")[2])
            kept = {name: fields[name][:2000] for name in KEPT if name in fields}
            answers.append(Answer(url, status, kept, address))
        if answers:
            kind = answers[-1].headers.get("content-type", "")
            answers[-1] = replace(answers[-1], text=text_of(content, kind, "identity"))
        return Page(tuple(answers), None if is_whole else Failure.UNREACHABLE)

    def _judged(self, page: Page, failed: str | None) -> str | None:
        """Return what the page, or why there is none, says against there being a post."""
        shown = _shown(page.answers[-1]) if page.answers else None
        visit = PostVisit(self._url, page, shown, PostMemory(), datetime.now(UTC), lambda: None)
        sight = judge(visit)
        if failed is not None:
            is_filter = sight.signals and sight.signals[0].kind == "national_filter"
            return "geo_blocked" if is_filter else failed
        if sight.result is LookResult.RESTRICTED:
            last = page.answers[-1]
            if last.status == 403:
                return "challenged"
            return "age_gate" if _AGE.search(last.url) else "login_required"
        return {
            LookResult.GONE: "gone",
            LookResult.BLOCKED_HERE: "geo_blocked",
            LookResult.CHALLENGED: "challenged",
            LookResult.UNREACHABLE: "unreachable",
        }.get(sight.result)

    def _media(self, found: dict[str, Any]) -> str | None:
        """Fetch the videos of the post; return why there are none, or why not all."""
        try:
            info = self._client.extract_info(self._url, download=False) or {}
            # A post with several videos has entries; those of a channel name other posts.
            posts = [each for each in info.get("entries") or [info] if each
                     and (each.get("url") or each.get("requested_formats"))
                     and each.get("_type", "video") == "video"]  # fmt: skip
            found["post"] = _post_of(posts[0] if posts else info)
            if any(
                post.get("is_live") or post.get("live_status") == "is_upcoming" for post in posts
            ):
                return "live"
            for post in posts[:MAX_MEDIA]:
                if not self._fetched(post):
                    return "no_media"
                found["media"] += 1
        except MemoryError:
            raise
        except Exception as error:  # of 1,800 extractors: what else there is must not be lost
            return self._reason_of(error)
        return None if found["media"] else "no_media"

    def _fetched(self, post: dict[str, Any]) -> bool:
        """Fetch one video; return whether it is one, and its way of being sent is known."""
        tracks = post.get("requested_formats") or [post]
        if len(tracks) == 1 and tracks[0].get("protocol") in ("http", "https"):
            return _is_medium(self._received(tracks[0])[:512])  # it is recorded as it was sent
        self._sink.joins = True
        try:
            received = [self._track(track) for track in tracks]
        finally:
            self._sink.joins = False
        if not all(received):
            return False
        video = _together(*received) if len(received) == 2 else received[0]
        mime = "video/mp2t" if video[:1] == b"G" else "video/mp4"
        fields = {"WARC-Target-URI": tracks[0]["url"], "WARC-Date": now(), "Content-Type": mime}
        self._sink.record("conversion", fields, memoryview(video))
        return True

    def _track(self, track: dict[str, Any]) -> bytes:
        """Fetch a video, or its picture or sound; return it, and nothing if it cannot be had."""
        protocol = track.get("protocol") or ""
        if protocol in ("http", "https"):
            return self._received(track)
        if protocol not in _WAYS:
            return b""
        downloader = _WAYS[protocol](self._client)
        return bytes(downloader.joined) if downloader.real_download("-", track) else b""

    def _received(self, track: dict[str, Any]) -> bytes:
        return _body_of(self._client, Request(track["url"], headers=track.get("http_headers")))

    def _pictures(self, page: Page) -> int:
        """Fetch the pictures that a page names as those of its post; return how many came."""
        answer, count = page.answers[-1], 0
        metas = _shown(answer).metas
        named = (metas.get(name) for name in ("og:image", "twitter:image"))
        for picture in dict.fromkeys(filter(None, named)):
            failed, received = self._get(picture, answer.url)
            count += failed is None and _is_medium(received)
        return count

    def _reason_of(self, error: BaseException) -> str:
        """Return why a video could not be fetched, by the first of the causes that tells."""
        if self._sink.limit:
            return "too_large"
        if self._sink.failure:  # of a medium's address: the page itself has come
            return "no_media"
        status, texts = None, []
        for cause in _causes(error):
            if isinstance(cause, UnsupportedError):
                return "no_media"
            if isinstance(cause, GeoRestrictedError):
                return "geo_blocked"
            if isinstance(cause, HTTPError):
                status = cause.status
            texts.append(str(cause)[:2000])
        said = " ".join(texts)
        if status in (404, 410):
            return "gone"
        if status in (401, 403, 429):
            return "login_required" if status == 401 else "challenged"
        told = (reason for pattern, reason in _SAYINGS if pattern.search(said))
        return next(told, "no_media")


def _shown(answer: Answer) -> ShownPage:
    return read_page(answer.text, DATA_NAMES)


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and what it comes from. yt-dlp keeps that in several places."""
    found = [error]
    for cause in found:
        inner = (getattr(cause, "exc_info", None) or ())[1:2]
        named = (getattr(cause, "cause", None), cause.__cause__, cause.__context__, *inner)
        new = dict.fromkeys(e for e in named if isinstance(e, BaseException) and e not in found)
        found += list(new)[: 20 - len(found)]
    return found


def _is_medium(content: bytes) -> bool:
    return mime_of(content[:512]) is not None


def _together(video: bytes, sound: bytes) -> bytes:
    """Return picture and sound, which were sent apart, as one MP4 of the same packets: nothing is
    encoded again. The picture alone if they cannot be in one."""
    out = io.BytesIO()
    try:
        with (
            av.open(io.BytesIO(video)) as first,
            av.open(io.BytesIO(sound)) as second,
            av.open(out, "w", format="mp4") as target,
        ):
            packets: list[Any] = []
            parts: Any = (first, first.streams.video[0]), (second, second.streams.audio[0])
            for source, track in parts:
                stream = target.add_stream_from_template(track)
                for packet in source.demux(track):
                    if packet.dts is not None:
                        packet.stream = stream
                        packets.append(packet)
            for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
                target.mux(packet)
    except (av.FFmpegError, IndexError, ValueError):
        return video
    return out.getvalue()


def _post_of(info: dict[str, Any]) -> dict[str, str]:
    """Return what the site says of the post."""
    named = {name: info.get(name) for name in ("title", "uploader", "uploader_id", "extractor")}
    at = info.get("timestamp")
    if isinstance(at, int) and 0 < at < 1 << 33:
        named["uploaded_at"] = datetime.fromtimestamp(at, UTC).isoformat()
    return {name: str(value)[:500] for name, value in named.items() if value}
