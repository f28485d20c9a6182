"""Everything that can be set, in one class. Built once, in the entry point, and passed down.

Each setting is read from the environment as ``DEEPFAKE_`` and its name in capitals. Each has a
default and says why it is there; ``settings_markdown`` writes that down for ``docs/settings.md``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import limits
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from deepfake_service.errors import SettingsError

PREFIX = "DEEPFAKE_"
MIB = 1024 * 1024
RECORDS_FILE = "records.sqlite"
MIN_ADMIN_KEY_CHARS = 20
MIN_ADMIN_KEY_VARIETY = 10
"""Different characters that a chosen admin key must hold: refuses "aaaa..." and "12341234..."."""

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "console"]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1024)]
Seconds = Annotated[float, Field(gt=0.0, le=86400.0)]


class Settings(BaseSettings):
    """How the service runs."""

    # hide_input_in_errors: a refused admin key must not be printed with the reason.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,  # compose files pass an unset variable on as an empty one
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    data_dir: Path = Field(
        default=Path("var"),
        description="Folder for keys and everything else that outlives a restart. Made, readable "
        "by its owner alone, when it is not there.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="Database of accounts, cases, jobs and the audit log, for instance "
        "`postgresql://user:password@host/name`. Unset: SQLite in the data directory, which serves "
        "one machine.",
    )
    blob_url: str | None = Field(
        default=None,
        description="Where media and results lie, sealed: `s3://bucket/prefix`, `gs://`, `az://` "
        "(credentials by each provider's own variables) or `file:///folder`. Unset: a folder in "
        "the data directory.",
    )
    master_key: SecretStr | None = Field(
        default=None,
        description="32 random bytes in base64 (`openssl rand -base64 32`) under which every "
        "case's key is wrapped. Unset: made on the first start, in `master-key` in the data "
        "directory, readable by its owner alone. Who loses it loses every case.",
    )
    older_master_keys: SecretStr | None = Field(
        default=None,
        description="Former master keys, separated by commas: cases that they wrapped can still "
        "be opened, until `deepfake keys rewrap` has wrapped them anew.",
    )
    key_wrapper: str | None = Field(
        default=None,
        description="`package.module:function` that gives a `KeyWrapper` of "
        "`deepfake_service.storage.envelope`, for a key management service. In place of a master "
        "key.",
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. The loopback address by default, because the service "
        "speaks plain HTTP: let a proxy with TLS stand before it when others are to reach it.",
    )
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one."
    )
    bundle_dir: Path | None = Field(
        default=None,
        description="Folder of the model bundle. Unset: the bundle that ships with the package.",
    )
    admin_key: SecretStr | None = Field(
        default=None,
        description="Sets the administrator's key instead of having one made on the first start, "
        "for containers. At least 20 characters; take a random one (`openssl rand -base64 32`), "
        "because only a fast hash of it is kept. A changed value replaces the earlier one, and "
        "taking it away withdraws it.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="Where the model runs. `auto` takes CUDA where the installed onnxruntime and "
        "the machine have it.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Threads of one model operation; 0 takes one a core. Fewer leave cores to the "
        "decoders.",
    )
    max_video_bytes: Bytes = Field(
        default=4096 * MIB,
        description="Bytes of one `POST /v1/videos`: two hours of 1080p at 4 Mbit/s. Sealed into "
        "the blob store as they arrive; memory holds a few MiB of them.",
    )
    video_upload_timeout_s: Seconds = Field(
        default=3600.0,
        description="Seconds within which a video must have arrived.",
    )
    jobs_at_once: Count = Field(
        default=2,
        description="Videos that one worker examines at a time. Each takes a decoder and up to "
        "50 MB for frames. Of several workers with one database, the one that was started last "
        "sets it for all.",
    )
    worker_metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port on which `deepfake worker` answers Prometheus; 0: it does not. (The "
        "service has `/metrics`.)",
    )
    submissions_per_account: str = Field(
        default="600/minute",
        description="How many requests that submit media an account may send, for instance "
        "`100/hour` or `10/second`. Beyond it they get 429 with `Retry-After`. Counted by each "
        "process of the service for itself.",
    )
    min_free_bytes: Annotated[int, Field(ge=0)] = Field(
        default=2048 * MIB,
        description="Free space in the data directory below which `/readyz` fails and nothing is "
        "submitted any more: half of a long video must not be what fills the disk.",
    )
    max_attempts: Count = Field(
        default=10,
        description="How often one step of a job, some frames, is begun, by whichever worker, "
        "before the job is failed. A video that kills its worker each time must not do so for "
        "ever.",
    )
    media_days_after_verdict: Annotated[float, Field(gt=0.0, le=365.0)] = Field(
        default=7.0,
        description="Days after its verdict at which a medium is deleted at the latest, unless a "
        "legal hold keeps it.",
    )
    media_days_unexamined: Annotated[float, Field(gt=0.0, le=365.0)] = Field(
        default=7.0,
        description="Days after which a job that nobody has examined is given up (`expired`) and "
        "its medium deleted: without a worker media would otherwise stay for ever.",
    )
    media_hours_after_review: Annotated[float, Field(gt=0.0, le=8760.0)] = Field(
        default=24.0,
        description="Hours after the review of its case at which a medium is deleted.",
    )
    issuer: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        default="Deepfake detection service",
        description="Name of the body that issues evidence and notices: stated in reports, and in "
        "the certificate that is made for their signatures.",
    )
    timestamp_url: str | None = Field(
        default=None,
        description="Address of a time-stamp authority (RFC 3161) that stamps every edition of "
        "evidence. Unset: none does. It gets a digest, nothing of the content.",
    )
    timestamp_roots: Path | None = Field(
        default=None,
        description="PEM file of the certificates that time stamps are trusted by when a bundle is "
        "verified.",
    )
    report_certificate: Path | None = Field(
        default=None,
        description="PEM file of the certificate chain that reports are signed with, the signer's "
        "first, in place of one made here. With `DEEPFAKE_REPORT_KEY`.",
    )
    report_key: Path | None = Field(
        default=None,
        description="PEM file of that certificate's private key: P-256, not encrypted.",
    )
    content_credential_anchors: Path | None = Field(
        default=None,
        description="PEM file of the certificates by which Content Credentials (C2PA) of submitted "
        "files are `trusted`. Unset: intact ones are `valid` at the most.",
    )
    pinned_keys: Path | None = Field(
        default=None,
        description="Folder of PEM files of other services' public keys whose evidence "
        "`POST /v1/verify` and `deepfake verify` trust.",
    )
    evidence_days: Annotated[float, Field(gt=0.0, le=36500.0)] = Field(
        default=1095.0,
        description="Days after the verdict, or after the last notice of its case, at which "
        "evidence is deleted, unless a legal hold keeps it. Three years: what follows a notice can "
        "take as long.",
    )
    public_url: str | None = Field(
        default=None,
        description="Address by which browsers reach the service, for instance "
        "`https://centre.example`, where a proxy with TLS stands before it: cookies are then sent "
        "over TLS alone.",
    )
    session_hours: Annotated[float, Field(gt=0.0, le=168.0)] = Field(
        default=10.0,
        description="Hours after which somebody who signed in to the console must do so again: a "
        "working day.",
    )
    support_contact: Annotated[str, Field(max_length=200)] = Field(
        default="1366 (여성긴급전화, 24시간)",
        description="Where a victim finds support, as the console's help page says.",
    )
    two_person_review: bool = Field(
        default=False,
        description="Whether a finding is confirmed only once two people have confirmed it.",
    )
    matching: bool = Field(
        default=False,
        description="Whether perceptual hashes of confirmed cases are kept, and submissions linked "
        "to the earlier cases that they look like. It never changes a verdict.",
    )
    known_hash_days: Annotated[float, Field(gt=0.0, le=36500.0)] = Field(
        default=365.0, description="Days after which those hashes are forgotten."
    )
    callbacks_to_private_addresses: bool = Field(
        default=False,
        description="Whether webhooks may go to loopback, private and link-local addresses. Only "
        "where every account is trusted with what the service can reach.",
    )
    max_connections: Count = Field(
        default=512,
        description="Connections open at a time, idle ones and those without a key included. "
        "Beyond it every request, `/healthz` too, gets 503 from the server itself, in plain text. "
        "Half of the 1024 files that a process usually may open, so that decoders can still be "
        "started; idle connections are for a proxy to end.",
    )
    max_frames_per_request: Count = Field(
        default=64,
        description="Pictures in one `POST /v1/frames`. It answers at once, so its time has to "
        "stay within what a client waits; more pictures belong into more requests.",
    )
    max_picture_bytes: Bytes = Field(
        default=32 * MIB,
        description="Bytes of one picture. A noisy 50-megapixel JPEG of quality 95 has 19 MiB; a "
        "PNG of that size can have 70, so raise this where such are sent.",
    )
    max_request_bytes: Bytes = Field(
        default=256 * MIB,
        description="Bytes of one request: 64 pictures of 4 MiB. Uploads are held in memory, for "
        "plaintext media never touches the disk, so this bounds what one client can take.",
    )
    max_buffered_bytes: Bytes = Field(
        default=1024 * MIB,
        description="Bytes of all uploads held in memory at a time. Beyond it requests get 503 "
        "with `Retry-After`, instead of the machine running out of memory.",
    )
    max_pending_requests: Count = Field(
        default=32,
        description="Requests for scores received or judged at a time. Beyond it a request gets "
        "503 with `Retry-After` at once, instead of waiting longer than its client does.",
    )
    upload_timeout_s: Seconds = Field(
        default=120.0,
        description="Seconds within which a request's body must have arrived; slower ones get "
        "408. Bounds how long an idle or very slow client holds memory and a place.",
    )
    max_pixels: Count = Field(
        default=50_000_000,
        description="Pixels of one picture or frame. An 8K frame has 33 million, a 50-megapixel "
        "phone picture just fits; each pixel takes 3 bytes decoded.",
    )
    decode_workers: Annotated[int, Field(ge=1, le=256)] = Field(
        default=2,
        description="Decoder processes, and pictures decoded and searched for faces at a time. "
        "At the pixel limit a decoded picture has 150 MB, held with copies: a 50-megapixel picture "
        "raised the server's peak by about 350 MB, two at once by 570 MB.",
    )
    decode_timeout_s: Seconds = Field(
        default=30.0,
        description="Seconds that one picture may take to decode; then its decoder process is "
        "replaced. The largest picture allowed takes about 2 s on one slow core.",
    )
    batch_max_size: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=32,
        description="Face crops classified together, over all requests. Past 32 a CPU gains "
        "nothing more.",
    )
    batch_max_delay_ms: Annotated[float, Field(ge=0.0, le=1000.0)] = Field(
        default=10.0,
        description="Milliseconds that the first crop of a batch waits for company. Small beside "
        "the time that decoding takes; 0 batches only what is already waiting.",
    )
    batch_max_queue: Count = Field(
        default=1024,
        description="Crops that may wait for the classifier (150 kB each). While it is full new "
        "requests get 503 with `Retry-After`.",
    )
    shutdown_timeout_s: Seconds = Field(
        default=30.0,
        description="Seconds that running requests get to finish when the service is stopped.",
    )
    log_level: LogLevel = Field(
        default="info", description="Least severe log lines written. No level logs content."
    )
    log_format: LogFormat = Field(
        default="json",
        description="`json`: one object a line on standard error, for machines; `console`: for "
        "people.",
    )

    @property
    def records_url(self) -> str:
        """The URL of the database."""
        if self.database_url:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data_dir / RECORDS_FILE).absolute()}"

    @field_validator("submissions_per_account")
    @classmethod
    def _a_rate(cls, value: str) -> str:
        try:
            limits.parse(value)
        except ValueError:
            raise ValueError("a number and a time, for instance 600/minute") from None
        return value

    @field_validator("public_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("an address, for instance https://centre.example")
        return value

    @field_validator("admin_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        text = value.get_secret_value()
        if len(text) < MIN_ADMIN_KEY_CHARS:
            raise ValueError(f"must have at least {MIN_ADMIN_KEY_CHARS} characters")
        if not (text.isascii() and text.isprintable() and " " not in text):
            raise ValueError("must be printable ASCII without spaces, as it travels in a header")
        if len(set(text)) < MIN_ADMIN_KEY_VARIETY:
            raise ValueError(f"must hold at least {MIN_ADMIN_KEY_VARIETY} different characters")
        return value

    @model_validator(mode="after")
    def _both_or_neither(self) -> Settings:
        if (self.report_certificate is None) != (self.report_key is None):
            raise ValueError(
                f"{PREFIX}REPORT_CERTIFICATE and {PREFIX}REPORT_KEY: give both or neither"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
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


def load_settings() -> Settings:
    """The settings that the environment gives.

    Raises:
        SettingsError: naming each variable that is wrong, without its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = [
            ": ".join(
                [PREFIX + ".".join(str(p) for p in e["loc"]).upper()] * bool(e["loc"])
                + [e["msg"].removeprefix("Value error, ")]
            )
            for e in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("; ".join(wrong)) from None


def unknown_variables(environment: Iterable[str] | None = None) -> list[str]:
    """Names in the environment (by default this process's) that look like settings and are none.

    A misspelt limit would otherwise silently be the default.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    names = os.environ if environment is None else environment
    return sorted(n for n in names if n.upper().startswith(PREFIX) and n.upper() not in known)


def settings_markdown() -> str:
    """The content of ``docs/settings.md``."""
    lines = [
        "# Settings",
        "",
        "Every setting is an environment variable. This page is written by",
        "`python -m deepfake_service.settings`; a test compares the two.",
        "",
        "| Variable | Default | What it does, and why |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default is None else f"`{field.default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(settings_markdown())
