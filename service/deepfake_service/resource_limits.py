"""Settings that bound memory, time and work, so that no client can exhaust the service."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Self

import limits
from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "DEEPFAKE_"
MIB = 1024 * 1024
MAX_SIMILAR_PICTURES = 4000

Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1024)]
Seconds = Annotated[float, Field(gt=0.0, le=86400.0)]


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")


@dataclass(frozen=True, slots=True)
class CallbackHosts:
    """Receivers of webhooks that need not have public addresses."""

    names: frozenset[str] = frozenset()
    """Host names in lower case."""
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, text: str | None) -> CallbackHosts:
        """Return the hosts and networks in a list that is separated by commas.

        Raises:
            ValueError: a part of it is neither; a network must not have bits of a host set.
        """
        names, networks = set(), []
        for part in filter(None, (part.strip().lower() for part in (text or "").split(","))):
            # A name whose last label is a number would be read as an IPv4 address.
            if _HOST.fullmatch(part) and not part.rpartition(".")[2].isdigit():
                names.add(part)
                continue
            try:
                networks.append(ipaddress.ip_network(part))
            except ValueError:
                raise ValueError(
                    "must be host names (international ones in Punycode), addresses or networks "
                    "such as 10.20.0.0/16, separated by commas"
                ) from None
        return cls(frozenset(names), tuple(networks))

    def has_name(self, host: str) -> bool:
        """Return whether a host is listed by its name, whatever its address is."""
        return host.lower().removesuffix(".") in self.names

    def has_address(self, ip: Address) -> bool:
        """Return whether an address is in a listed network, also one that is mapped into IPv6."""
        inner = getattr(ip, "ipv4_mapped", None) or ip
        return any(inner in network for network in self.networks)


def _checked_hosts(text: str | None) -> str | None:
    CallbackHosts.of(text)
    return text


CallbackHostList = Annotated[str | None, AfterValidator(_checked_hosts)]


class ResourceLimits(BaseSettings):
    """Limits of the service; part of ``Settings``."""

    # hide_input_in_errors: a rejected admin key must not be printed with the reason.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,  # compose files pass unset variables as empty ones
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    max_video_bytes: Bytes = Field(
        default=4096 * MIB,
        description="Maximum size of one `POST /v1/videos`: two hours of 1080p at 4 Mbit/s. "
        "Uploads are encrypted into the blob store as they arrive; memory holds a few MiB of "
        "them.",
    )
    video_upload_timeout_s: Seconds = Field(
        default=3600.0,
        description="Seconds within which a video upload must complete.",
    )
    max_uploads_per_account: Count = Field(
        default=64,
        description="Maximum number of `POST /v1/videos` that one account sends concurrently, so "
        "that it cannot occupy every connection; further ones get 429 with `Retry-After`. "
        "`deepfake submit` sends at most 32, and the console three. Each process of the service "
        "counts separately.",
    )
    max_event_streams_per_account: Count = Field(
        default=32,
        description="Maximum number of jobs that one account follows concurrently by "
        "`GET /v1/jobs/{id}/events`. Each stream reads the database twice every half second. "
        "Further ones get 429 with `Retry-After`. Each process of the service counts separately.",
    )
    jobs_at_once: Count = Field(
        default=2,
        description="Videos that one worker examines concurrently. Each needs a decoder process "
        "and up to 50 MB for frames.",
    )
    jobs_at_once_per_account: Count | None = Field(
        default=None,
        description="Videos of one account that all workers together examine concurrently. Further "
        "ones wait while other accounts' are examined. Unset: no limit; accounts take turns in any "
        "case. Give the service and every worker the same value.",
    )
    take_over_minutes: Annotated[float, Field(ge=0.0, le=10080.0)] = Field(
        default=10.0,
        description="Minutes that a job which was begun waits for a worker with its model bundle "
        "and version. After that, a worker with another one examines it anew from the beginning.",
    )
    target_wait_s: Seconds = Field(
        default=60.0,
        description="Seconds within which a job should begin. `deepfake_workers_wanted` in "
        "`/metrics` is computed from it, from the waiting jobs and from their average duration; "
        "autoscalers can use it. See [Scaling](jobs.md#scaling).",
    )
    submissions_per_account: str = Field(
        default="600/minute",
        description="Rate limit of requests that submit media, per account, for example "
        "`100/hour` or `10/second`. Requests above it get 429 with `Retry-After`. Each process of "
        "the service counts separately.",
    )
    similar_pictures_per_account: str | None = Field(
        default=None,
        description="Limit on pictures in `POST /v1/frames` that nearly equal earlier ones of the "
        "same account within the time that it names (PDQ distance of at most 31), for example "
        "`200/hour`; at most 4000. Further ones get 429, and the first is audited. Frames of one "
        "video nearly equal each other too, so this is unset, and they are only counted in "
        "`/metrics`. Requires the extra `perceptual`. Each process of the service counts "
        "separately.",
    )
    reads_per_account: str = Field(
        default="3000/minute",
        description="Rate limit of all requests that submit nothing, per account: those that read, "
        "review, or show a page of the console. A person at the console never reaches it. Each "
        "process of the service counts separately.",
    )
    failed_sign_ins_per_address: str = Field(
        default="10/minute",
        description="Rate limit of failed sign-ins, per client address (IPv6: per /64 network). "
        "Further sign-ins from it get 429; valid keys of the API are not affected. Set "
        "`DEEPFAKE_TRUSTED_PROXIES` if the service is behind a proxy, or all clients share one "
        "address.",
    )
    min_free_bytes: Annotated[int, Field(ge=0)] = Field(
        default=2048 * MIB,
        description="Free space in the data directory below which submissions and exports are "
        "refused, so that a long video cannot fill the disk. Everything else still works, and "
        "`/readyz` has `accepts_submissions` for it. Below twice this value, an account whose "
        "media there take more than the space that is left gets 429, so that others can submit.",
    )
    max_attempts: Count = Field(
        default=10,
        description="How many times one step of a job (a few frames) may be started, by any "
        "worker, before the job fails. This stops a video that kills its worker from doing so "
        "forever.",
    )
    max_connections: Count = Field(
        default=512,
        description="Maximum number of open connections, including idle and unauthenticated ones. "
        "Above it a new connection replaces one that is idle, or that waits for the body of a "
        "request whose key was not checked yet. If every other connection has a request in "
        "progress, further requests get a plain-text 503 from the server itself, except "
        "`/healthz`, `/readyz` and `/metrics`, for which eight more connections are accepted. The "
        "default is half of the 1024 files that a process may usually open, which leaves room to "
        "start decoders.",
    )
    head_timeout_s: Seconds = Field(
        default=10.0,
        description="Seconds within which the request line and the headers must arrive; after "
        "that the connection is closed.",
    )
    stall_timeout_s: Seconds = Field(
        default=60.0,
        description="Seconds after which a client that accepts nothing more of a response is "
        "disconnected.",
    )
    min_upload_rate: Annotated[int, Field(ge=0)] = Field(
        default=8192,
        description="Minimum rate of a request body in bytes per second, after its first 20 "
        "seconds, or five for a form or JSON; slower requests get 408. Time that the service "
        "itself takes does not count. 0 disables it.",
    )
    max_frames_per_request: Count = Field(
        default=64,
        description="Maximum number of pictures in one `POST /v1/frames`. The request is answered "
        "synchronously, so it must finish before clients time out; send more pictures in more "
        "requests.",
    )
    max_picture_bytes: Bytes = Field(
        default=32 * MIB,
        description="Maximum size of one picture. A noisy 50-megapixel JPEG of quality 95 is 19 "
        "MiB; a PNG of that size can be 70 MiB, so raise this limit if you receive such files.",
    )
    max_request_bytes: Bytes = Field(
        default=256 * MIB,
        description="Maximum size of one request: 64 pictures of 4 MiB. Uploads are held in "
        "memory because plaintext media are never written to disk, so this bounds the memory that "
        "one client can take.",
    )
    max_buffered_bytes: Bytes = Field(
        default=1024 * MIB,
        description="Maximum total size of uploads held in memory. Requests above it get 503 with "
        "`Retry-After`, so the machine does not run out of memory. Half of it, but at least "
        "`DEEPFAKE_MAX_REQUEST_BYTES`, is open to the requests of one account together; further "
        "ones get 429.",
    )
    max_pending_requests: Count = Field(
        default=32,
        description="Maximum number of scoring requests received or processed concurrently. A "
        "request above it gets 503 with `Retry-After` at once instead of waiting longer than its "
        "client does.",
    )
    max_pending_requests_per_account: Count = Field(
        default=8,
        description="Of these, requests of one account; further ones get 429. So no account can "
        "occupy the service alone.",
    )
    upload_timeout_s: Seconds = Field(
        default=120.0,
        description="Seconds within which a request body must arrive; slower requests get 408. "
        "Bounds how long an idle or slow client can hold memory and a place in the queue.",
    )
    max_pixels: Count = Field(
        default=50_000_000,
        description="Maximum number of pixels of one picture or frame. An 8K frame has 33 "
        "million, a 50-megapixel photo just fits; each pixel takes 3 bytes decoded.",
    )
    decode_workers: Annotated[int, Field(ge=1, le=256)] = Field(
        default=2,
        description="Number of decoder processes, and of pictures decoded and searched for faces "
        "concurrently. A decoded picture at the pixel limit takes 150 MB plus copies: one "
        "50-megapixel picture raised the server's peak memory by about 350 MB, two at once by 570 "
        "MB.",
    )
    decode_timeout_s: Seconds = Field(
        default=30.0,
        description="Seconds that decoding one picture may take; after that its decoder process "
        "is replaced. The largest picture allowed takes about 2 s on one slow core.",
    )
    video_decode_timeout_s: Seconds = Field(
        default=900.0,
        description="Seconds that a decoder process may spend on a video in one step of its job, "
        "without the time for reading it from the store; after that the process is replaced. The "
        "longest step hashes up to 1800 frames: about 10 minutes for two hours of 1080p on one "
        "slow core. A video that takes longer in that step gets its verdict, but no perceptual "
        "hashes.",
    )
    batch_max_size: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=32,
        description="Maximum number of face crops classified in one batch, over all requests. "
        "Larger batches gain nothing on a CPU.",
    )
    batch_max_delay_ms: Annotated[float, Field(ge=0.0, le=1000.0)] = Field(
        default=10.0,
        description="Milliseconds that the first crop of a batch waits for others. Small compared "
        "with decoding time; 0 batches only what is already waiting.",
    )
    batch_max_queue: Count = Field(
        default=1024,
        description="Maximum number of faces waiting for the classifier (150 kB for each square "
        "that the model sees). While the queue is full, new requests get 503 with `Retry-After`.",
    )
    shutdown_timeout_s: Seconds = Field(
        default=30.0,
        description="Seconds that running requests get to finish when the service stops.",
    )

    @field_validator(
        "submissions_per_account",
        "similar_pictures_per_account",
        "reads_per_account",
        "failed_sign_ins_per_address",
    )
    @classmethod
    def _check_rate(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            limits.parse(value)
        except ValueError:
            raise ValueError(
                "must be a number and a unit of time, for example 600/minute"
            ) from None
        return value

    @field_validator("similar_pictures_per_account")
    @classmethod
    def _check_similar_pictures(cls, value: str | None) -> str | None:
        if value is not None and limits.parse(value).amount > MAX_SIMILAR_PICTURES:
            raise ValueError(f"must allow at most {MAX_SIMILAR_PICTURES} pictures")
        return value

    @model_validator(mode="after")
    def _check_size_limits(self) -> Self:
        for lower, upper in (
            ("max_picture_bytes", "max_request_bytes"),
            ("max_request_bytes", "max_buffered_bytes"),
        ):
            if getattr(self, lower) > getattr(self, upper):
                raise ValueError(
                    f"{PREFIX}{lower.upper()} ({getattr(self, lower)}) must not exceed "
                    f"{PREFIX}{upper.upper()} ({getattr(self, upper)})"
                )
        return self

    @property
    def max_buffered_bytes_per_account(self) -> int:
        """The maximum size of the uploads of one account held in memory: one request always fits
        in, and otherwise half of the memory stays free for other accounts."""
        return max(self.max_buffered_bytes // 2, self.max_request_bytes)


def networks_of(text: str | None) -> tuple[Network, ...]:
    """Return the networks in a list that is separated by commas.

    Raises:
        ValueError: one of them is not an address or a network.
    """
    parts = [part.strip() for part in (text or "").split(",")]
    return tuple(ipaddress.ip_network(part, strict=False) for part in parts if part)
