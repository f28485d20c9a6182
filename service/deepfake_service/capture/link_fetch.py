"""One link that is fetched: its page, and the pictures and videos of its post.

The page and its pictures are fetched by ``page_client.py``, which records them as they were sent.
The videos are fetched by yt-dlp, a program that an operator renews without this package: what is
read of it are its exit code, the JSON that it is told to print, and its files. This runs in the
enclosure of ``fetcher.py``.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from urllib.parse import urlsplit

import av
from av.stream import Stream
from pydantic import BaseModel, ConfigDict, ValidationError

from deepfake_models.media.decoder import mime_of
from deepfake_service.capture.page_client import BLOCK, Exchange, PageClient, named, now
from deepfake_service.capture.warc import head_of, record
from deepfake_service.platform.enums import LookResult
from deepfake_service.platform.pages import KEPT, PLAIN_AGENT, Answer, Failure, Page, text_of
from deepfake_service.post_pages.reading import ShownPage, read_page
from deepfake_service.post_pages.signs import DATA_NAMES, PostMemory, PostVisit, judge

MAX_MEDIA = 10
"""Videos of one post."""
SHELL_CHARS = 200
"""A page that shows less text than this, and no medium, is one that scripts would have filled."""
FOLDER = Path("/tmp/media")  # noqa: S108 - in the memory of the enclosure
_AGE = re.compile(r"\bage\b|adult", re.IGNORECASE)
_VIDEO = re.compile(r"<video\b|VideoObject|og:video|twitter:player", re.IGNORECASE)


class Post(BaseModel):
    """What yt-dlp prints of a post before it fetches what the post shows."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    title: str | None = None
    uploader: str | None = None
    uploader_id: str | None = None
    extractor: str | None = None
    timestamp: float | None = None
    is_live: bool | None = None
    live_status: str | None = None

    @property
    def is_sent_live(self) -> bool:
        return bool(self.is_live) or self.live_status in ("is_live", "is_upcoming")

    def named(self) -> dict[str, str]:
        """Return what the site says of the post."""
        said = {"title": self.title, "uploader": self.uploader, "uploader_id": self.uploader_id,
                "extractor": self.extractor}  # fmt: skip
        if self.timestamp and 0 < self.timestamp < 1 << 33:
            said["uploaded_at"] = datetime.fromtimestamp(int(self.timestamp), UTC).isoformat()
        return {name: value[:500] for name, value in said.items() if value}


class Track(BaseModel):
    """What yt-dlp prints of a file that it has fetched: a video, or its picture or sound."""

    model_config = ConfigDict(frozen=True)

    url: str
    protocol: str
    filepath: Path
    vcodec: str | None = None
    """``none`` if it is sound alone."""
    playlist_index: int = 0


OPTIONS = (
    "--ignore-config", "--no-plugin-dirs", "--no-cache-dir", "--no-js-runtimes",
    "--no-remote-components", "--ffmpeg-location", "/nonexistent", "--fixup", "never",
    "--no-progress", "--no-mtime", "--no-playlist", "--flat-playlist",
    "--playlist-items", f"1:{MAX_MEDIA}", "--use-extractors", "default", "--xff", "never",
    "--default-search", "error", "--user-agent", PLAIN_AGENT,
    # A server may have ended each connection that is kept open, and each costs an attempt.
    "--socket-timeout", "20", "--retries", "3", "--fragment-retries", "3", "--extractor-retries",
    "0", "--abort-on-unavailable-fragments", "--ignore-no-formats-error",
    # What the site itself sends as one file is rather taken than what is put together here.
    "--format", "b/(bv*,ba)", "--format-sort", "res:1080",
    "--match-filters", "!is_live & live_status!=?is_live & live_status!=?is_upcoming",
    "--paths", str(FOLDER), "--output", "%(playlist_index|0)s.%(format_id)s.%(ext)s",
    "--no-simulate",
    "--print", f"pre_process:post %(.{{{','.join(Post.model_fields)}}})j",
    "--print", f"after_move:track %(.{{{','.join(Track.model_fields)}}})j",
    "--print", "playlist:post %(.{title,uploader,uploader_id,extractor})j",
)  # fmt: skip
"""Of yt-dlp, all in its manual."""


@dataclass(frozen=True, slots=True)
class Medium:
    """A picture or a video of a post, as a file."""

    url: str
    at: str
    path: Path
    mime: str
    is_as_sent: bool
    """Whether the site sends it as one file."""

    def record(self) -> Iterator[bytes]:
        """Yield its record of WARC in pieces."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            fields = {"WARC-Target-URI": self.url, "WARC-Date": self.at, "Content-Type": self.mime,
                      "WARC-Block-Digest": f"sha256:{digest}"}  # fmt: skip
            yield head_of("resource" if self.is_as_sent else "conversion", fields, size)
            file.seek(0)
            while piece := file.read(BLOCK):
                yield piece
        yield b"\r\n\r\n"


class YtDlp:
    """The program that fetches videos."""

    def __init__(self, program: str, proxy: str, environment: dict[str, str]) -> None:
        self._program, self._environment = program, environment
        self._options: tuple[str, ...] = (*OPTIONS, "--proxy", proxy)
        if "SSL_CERT_FILE" in environment:
            self._options += ("--compat-options", "no-certifi")

    def version(self) -> str:
        """Return its version; empty if it does not run."""
        return self._output("--version")[1].strip()[:100]

    def fetch(self, url: str) -> tuple[bool, list[Post], list[Track]]:
        """Fetch the videos of a post; return whether that succeeded, what the site says of them,
        and the files."""
        code, output = self._output(*self._options, "--", url)
        posts, tracks = [], []
        for line in output.splitlines():
            kind, _, content = line.partition(" ")
            try:
                if kind == "post":
                    posts.append(Post.model_validate_json(content))
                elif kind == "track":
                    tracks.append(Track.model_validate_json(content))
            except ValidationError:
                code = code or 1
        return code == 0, posts, tracks

    def _output(self, *options: str) -> tuple[int, str]:
        try:
            done = subprocess.run(  # noqa: S603 - the operator's program, and its own options
                [self._program, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                # What it says quotes addresses and titles.
                stderr=subprocess.DEVNULL, env=self._environment, encoding="utf-8",
                errors="replace", check=False,
            )  # fmt: skip
        except OSError:  # its interpreter is not within the enclosure
            return 127, ""
        return done.returncode, done.stdout


class LinkFetch:
    """One link that is fetched."""

    def __init__(self, client: PageClient, program: YtDlp, url: str) -> None:
        self._client, self._program, self._url = client, program, url
        self.host = ""
        """Of the page, after redirects."""
        self.post: dict[str, str] = {}
        self.media: list[Medium] = []

    def run(self) -> str | None:
        """Fetch the page, then what the post shows; return the reason why there is none of it."""
        try:
            self._url = named(self._url)
        except ValueError:
            return "no_such_name"
        failed, answers = self._client.get(self._url)
        page = _page(answers, is_whole=failed is None)
        if answers:
            self.host = urlsplit(answers[-1].url).hostname or ""
        shown = read_page(page.answers[-1].text, DATA_NAMES) if answers else None
        reason = self._judged(page, shown, failed)
        if reason is not None or shown is None or answers[-1].is_medium:
            return reason
        succeeded, posts, tracks = self._program.fetch(self._url)
        self.post = posts[0].named() if posts else {}
        self.media = list(_media(tracks))
        if any(post.is_sent_live for post in posts):
            return "live"
        if self.media:
            is_all = len(self.media) == len({track.playlist_index for track in tracks})
            return None if succeeded and is_all else "no_media"
        text = page.answers[-1].text
        if self._pictures(shown, answers[-1].url):
            # They must not hide that a video did not come.
            return "no_media" if posts or _VIDEO.search(text) else None
        is_shell = "<script" in text.lower() and len(shown.text) < SHELL_CHARS
        return "shell" if is_shell else "no_media"

    def _judged(self, page: Page, shown: ShownPage | None, failed: str | None) -> str | None:
        """Return what the page, or why there is none, says against there being a post."""
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

    def _pictures(self, shown: ShownPage, base: str) -> int:
        """Fetch the pictures that a page names as those of its post; return how many came."""
        metas = (shown.metas.get(name) for name in ("og:image", "twitter:image"))
        count = 0
        for picture in dict.fromkeys(filter(None, metas)):
            failed, answers = self._client.get(picture, base)
            count += failed is None and answers[-1].is_medium
        return count

    def records(self, version: str) -> Iterator[bytes]:
        """Yield what was received as a WARC file, in pieces; nothing if nothing was."""
        if not self._client.exchanges:
            return
        lines = f"software: yt-dlp {version}\r\nformat: WARC File Format 1.1\r\n"
        fields = {"WARC-Date": now(), "Content-Type": "application/warc-fields"}
        yield from record("warcinfo", fields, lines.encode())
        certificates = {each.certificate: each.at for each in self._client.exchanges}
        for der, at in certificates.items():
            if der:
                digest = hashlib.sha256(der).hexdigest()
                fields = {"WARC-Target-URI": f"urn:x-certificate:sha256:{digest}", "WARC-Date": at,
                          "Content-Type": "application/pkix-cert"}  # fmt: skip
                yield from record("resource", fields, der)
        for exchange in self._client.exchanges:
            yield from exchange.records()
        for medium in self.media:
            yield from medium.record()


def _page(exchanges: list[Exchange], *, is_whole: bool) -> Page:
    answers = []
    for each in exchanges:
        kept = {name: each.headers[name][:2000] for name in KEPT if name in each.headers}
        answers.append(Answer(each.url, each.status, kept, each.address))
    if answers:
        kind = answers[-1].headers.get("content-type", "")
        answers[-1] = replace(answers[-1], text=text_of(exchanges[-1].content, kind, "identity"))
    return Page(tuple(answers), None if is_whole else Failure.UNREACHABLE)


def _media(tracks: list[Track]) -> Iterator[Medium]:
    """Yield the videos whose files these are. Picture and sound that were sent apart become one."""
    for index, group in groupby(tracks, lambda track: track.playlist_index):
        files = list(group)
        path, is_as_sent = files[0].filepath, files[0].protocol in ("http", "https")
        if len(files) == 2:
            joined = FOLDER / f"{index}.joined"
            path = _together(files[0].filepath, files[1].filepath, joined)
            is_as_sent = False
        with path.open("rb") as file:
            mime = mime_of(file.read(512))
        if mime is not None and files[0].vcodec != "none":
            yield Medium(files[0].url, now(), path, mime, is_as_sent)


def _together(video: Path, sound: Path, joined: Path) -> Path:
    """Return picture and sound, which were sent apart, as one MP4 of the same packets: nothing is
    encoded again. The picture alone if they cannot be in one."""
    try:
        with (
            av.open(video) as first,
            av.open(sound) as second,
            av.open(joined, "w", format="mp4") as target,
        ):
            parts = (first, first.streams.video[0]), (second, second.streams.audio[0])
            packets: list[tuple[Fraction, av.Packet[Stream]]] = []
            for source, track in parts:
                stream = target.add_stream_from_template(track)
                for packet in source.demux(track):
                    if packet.dts is not None:
                        packets.append((packet.dts * packet.time_base, packet))
                        packet.stream = stream
            for _, packet in sorted(packets, key=itemgetter(0)):
                target.mux(packet)
    except (av.FFmpegError, IndexError, ValueError):
        return video
    return joined
