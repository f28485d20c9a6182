"""All settings in one class, built once in the entry point and passed down.

Each setting is read from the environment variable ``DEEPFAKE_`` plus its name in capitals, or from
a file of that name in ``$CREDENTIALS_DIRECTORY``, has a default, and is described by the text below
it; ``python -m deepfake_service.platform.settings`` renders ``docs/settings.md`` from that. A value
that no two operators would choose differently is not a setting but a constant beside its use.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote

import limits
from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from deepfake_service.platform.errors import SettingsError
from deepfake_service.platform.networks import CallbackHosts, networks_of

PREFIX = "DEEPFAKE_"
CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Variable with the folder of secrets, which systemd sets (``LoadCredential=``)."""
RECORDS_FILE = "records.sqlite"
EPOCH_KEYS_FOLDER = "epoch-keys"
JOURNAL_FILE = "journal.json"
MIN_ADMIN_KEY_CHARS = 20
MIN_ADMIN_KEY_VARIETY = 10
"""Minimum number of distinct characters in a chosen admin key; rejects "aaaa..." and "1234..."."""
MIB = 1024 * 1024
MAX_REQUEST_BYTES = 256 * MIB
"""Of one ``POST /v1/frames``: 64 pictures of 4 MiB, which are held in memory."""
SECTIONS = {
    "data_dir": "Storage and keys",
    "host": "Network",
    "bundle_dir": "Model and work",
    "media_days_after_verdict": "Retention",
    "two_person_review": "Review",
    "issuer": "Evidence",
    "max_video_bytes": "Limits",
}
"""Headings of ``docs/settings.md``, by the setting that each begins with."""

_URL = re.compile("https?://").match, "must be a URL, for example https://centre.example"
_RATE = limits.parse, "must be a number and a unit of time, for example 600/minute"
_FILE = (lambda name: Path(name).read_bytes()), "must be a file that can be read"
CHECKS: dict[str, tuple[Callable[[str], object], str]] = {
    # SQLite elsewhere would have neither backups nor keys that are destroyed after deletions.
    "database_url": (
        re.compile("postgresql").match,
        f"must be a postgresql:// URL. For SQLite, unset it and set {PREFIX}DATA_DIR",
    ),
    "public_url": _URL,
    "trusted_proxies": (networks_of, "must be addresses or networks, separated by commas"),
    "callback_hosts": (
        CallbackHosts.of,
        "must be host names (international ones in Punycode), addresses or networks such as "
        "10.20.0.0/16, separated by commas",
    ),
    "looks_from": (re.compile("[A-Z]{2}").fullmatch, "must be two capital letters, as in KR"),
    "timestamp_url": _URL,
    "timestamp_roots": _FILE,
    "content_credential_anchors": _FILE,
    "pinned_keys": (os.listdir, "must be a folder that can be read"),
    "submissions_per_account": _RATE,
    "reads_per_account": _RATE,
}
"""What is called with a setting's value, and what is said if that fails or returns ``None``."""

Sandbox = Literal["available", "require"]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1024)]
Port = Annotated[int, Field(ge=0, le=65535)]
Days = Annotated[float, Field(gt=0.0, le=36500.0)]


class Settings(BaseSettings):
    """Configuration of the service."""

    # hide_input_in_errors: a rejected admin key must not be printed with the reason.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,  # compose files pass unset variables as empty ones
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    # Storage and keys

    data_dir: Path = Path("var")
    """Folder for the database, sealed media, keys and everything else that must survive a restart.
    If missing, it is created with access for its owner only."""
    database_url: SecretStr | None = None
    """URL of the database of accounts, cases, jobs and the audit log, for example
    `postgresql://user:password@host/name`. Unset: SQLite in the data directory, which serves one
    machine."""
    blob_url: str | None = None
    """Where encrypted media and results are stored: `s3://bucket/prefix`, `gs://`, `az://`
    (credentials come from each provider's own variables) or `file:///folder`. Unset: a folder in
    the data directory."""
    journal: Path | None = None
    """File that also has revoked keys, flags, legal holds and deletions, by their ids, so that they
    hold again where an older database is restored. Put it on another disk than the database. Unset:
    `journal.json` in the data directory."""
    master_key: SecretStr | None = None
    """32 random bytes in base64 (`openssl rand -base64 32`) that wrap the key of every case. Behind
    it, separated by commas, previous master keys: cases wrapped by them can still be decrypted
    until `deepfake keys rewrap` has wrapped them with the first one. Unset: generated on the first
    start and saved as `master-key` in the data directory, readable by its owner only. If this key
    is lost, no case can be decrypted."""
    admin_key: SecretStr | None = None
    """Administrator key to use instead of generating one on the first start, for containers. At
    least 20 characters; use a random value (`openssl rand -base64 32`), because only a fast hash of
    it is stored. A new value replaces the previous one, and removing the variable revokes it."""

    # Network

    host: str = "127.0.0.1"
    """Address to listen on. The default is the loopback address because the service speaks plain
    HTTP: put a TLS-terminating reverse proxy in front of it for remote access."""
    port: Port = 8000
    """Port to listen on; 0 chooses a free one."""
    operations_host: str = "127.0.0.1"
    """Address of the listener at `DEEPFAKE_OPERATIONS_PORT`. It needs no key, so choose one that
    only operators can reach."""
    operations_port: Port = 0
    """Port of a separate listener for `/healthz`, `/readyz` and `/metrics`, which clients of the
    API cannot block; that of `deepfake worker` has `/metrics` alone. Each process on a machine
    needs its own. 0 disables the listener; `DEEPFAKE_PORT` then serves `/metrics` as well, if
    `DEEPFAKE_HOST` is on loopback."""
    public_url: str | None = None
    """URL at which browsers reach the service, for example `https://centre.example`, if a
    TLS-terminating reverse proxy is in front of it. Cookies are then sent over TLS only."""
    trusted_proxies: str | None = None
    """Addresses or networks of the reverse proxies in front of the service, separated by commas.
    Their `X-Forwarded-For` says from which address a sign-in comes."""
    callback_hosts: str | None = None
    """Receivers of webhooks that need not have public addresses, separated by commas: exact host
    names, addresses, and networks such as `10.20.0.0/16`. They are called on any port. Every
    account can make the service send requests to them, so list only machines that expect webhooks.
    """
    looks_from: str | None = None
    """Two-letter code of the country from which this machine sends requests, for example `KR`.
    Workers then look at the posts of notices that were sent, to see whether they are gone; the code
    is in the record of each look. Unset: nothing is sent to any platform, and only people look."""
    capture_links: bool = False
    """Whether workers open links that are to be captured, in an enclosure without a network but a
    gate to public addresses. It needs the extra `capture-link` (yt-dlp). Off: captures are files
    that people hand in."""
    capture_browser: Path | None = None
    """Path of Chromium's headless shell, which takes pictures of the pages that links lead to. It
    runs their scripts, enclosed: in namespaces of its own, with a root directory that holds nothing
    but its folder, its libraries and fonts, and without a network but the same gate. Unset: links
    have no pictures of pages."""

    # Model and work

    bundle_dir: Path | None = None
    """Folder of the model bundle. Unset: the bundle included in the package."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that runs the model: `cpu`, `cuda`, or `auto`, which uses CUDA if the installed
    onnxruntime and the machine support it."""
    jobs_at_once: Annotated[int, Field(ge=1, le=256)] = 2
    """Videos that one worker examines concurrently, and pictures that are decoded and searched for
    faces. Each needs a decoder process; a video up to 50 MB for frames, a picture at the limit of
    50 megapixels 150 MB plus copies: one raised the server's peak memory by about 350 MB, two at
    once by 570 MB."""
    sandbox: Sandbox = "available"
    """Layers of the sandbox in which untrusted files are parsed. `available` uses those that the
    kernel and the container grant, and reports the others as missing at the start, in `/readyz` and
    in evidence; `require` refuses to start unless all are granted."""

    # Retention

    media_days_after_verdict: Annotated[float, Field(gt=0.0, le=365.0)] = 7.0
    """Maximum number of days that media are kept after the verdict, unless a legal hold keeps them
    longer."""
    media_hours_after_review: Annotated[float, Field(gt=0.0, le=8760.0)] = 24.0
    """Number of hours that media are kept after their whole case has been reviewed, unless a legal
    hold keeps them longer."""
    evidence_days: Days = 1095.0
    """Number of days that evidence is kept after the verdict or the last notice of its case,
    whichever is later, unless a legal hold keeps it longer. The default is three years, because
    proceedings that follow a notice can take that long."""
    case_days: Days = 365.0
    """Number of days that a case, with its results, notes, occurrences and notices, is kept beyond
    `DEEPFAKE_EVIDENCE_DAYS` after the last thing that happened in it, unless a legal hold keeps it
    longer."""

    # Review

    two_person_review: bool = False
    """Require confirmation by two people before a finding counts as confirmed."""
    submitter_confirms: Literal["if_alone", "always", "never"] = "if_alone"
    """Whether the account that submitted an item can confirm its finding without a second person.
    `if_alone`: only while no other person could review, so that a centre of one person can work."""
    support_contact: Annotated[str, Field(max_length=200)] | None = None
    """Support line for victims, shown on the console's help page in both languages. Unset: 1366,
    the Korean Women's Emergency Hotline, named in the language of the page."""

    # Evidence

    issuer: Annotated[str, Field(min_length=1, max_length=64)] = "Deepfake detection service"
    """Name of the service in evidence and in authenticators. It stands for the organisation, in
    reports and in the certificate that signs them, until an administrator enters that."""
    timestamp_url: str | None = None
    """URL of an RFC 3161 time-stamp authority that stamps every edition of the evidence. It
    receives a digest and no content. Unset: evidence has no trusted time stamp."""
    timestamp_roots: Path | None = None
    """PEM file of the root certificates trusted for time stamps when an evidence bundle is
    verified."""
    report_certificate: Path | None = None
    """PEM file of the certificate chain that signs reports and notices, the signer's certificate
    first. Unset: the PDF files are not signed. Requires `DEEPFAKE_REPORT_KEY`."""
    report_key: Path | None = None
    """PEM file of the private key of `DEEPFAKE_REPORT_CERTIFICATE`: P-256, not encrypted."""
    content_credential_anchors: Path | None = None
    """PEM file of the root certificates that make Content Credentials (C2PA) of submitted files
    `trusted`. Unset: intact credentials are `valid` at most."""
    pinned_keys: Path | None = None
    """Folder of PEM files with the public keys of other services whose evidence `POST /v1/verify`
    and `deepfake verify` trust."""
    audit_checkpoints: str | None = None
    """Where signed checkpoints of the audit log are stored, separated by commas:
    `s3://bucket/prefix`, `gs://` or `az://`. Unset: they are only logged."""

    # Limits

    max_video_bytes: Bytes = 4096 * MIB
    """Maximum size of one `POST /v1/videos`: two hours of 1080p at 4 Mbit/s. Uploads are encrypted
    into the blob store as they arrive; memory holds a few MiB of them."""
    max_buffered_bytes: Bytes = 1024 * MIB
    """Maximum total size of uploads held in memory. Requests above it get 503 with `Retry-After`,
    so the machine does not run out of memory. One `POST /v1/frames` may have 256 MiB of it."""
    submissions_per_account: str = "600/minute"
    """Rate limit of requests that submit media, per account, for example `100/hour` or `10/second`.
    Requests above it get 429 with `Retry-After`. Each process of the service counts separately."""
    reads_per_account: str = "3000/minute"
    """Rate limit of all requests that submit nothing, per account: those that read, review, or show
    a page of the console. A person at the console never reaches it. Each process of the service
    counts separately."""

    @property
    def records_url(self) -> str:
        """Return the URL of the database."""
        if self.database_url:
            return self.database_url.get_secret_value()
        # "%", "?" and "#" have a meaning in URLs, and the folder may have them in its name.
        return f"sqlite:///{quote(str((self.data_dir / RECORDS_FILE).absolute()), safe='/ +')}"

    @property
    def journal_path(self) -> Path:
        """Return the file of the journal."""
        return self.journal or self.data_dir / JOURNAL_FILE

    @property
    def max_request_bytes(self) -> int:
        """Return the maximum size of one request with pictures."""
        return min(MAX_REQUEST_BYTES, self.max_buffered_bytes)

    @field_validator(*CHECKS)
    @classmethod
    def _check_form(cls, value: object, info: ValidationInfo[object]) -> object:
        check, says = CHECKS[str(info.field_name)]
        plain = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        try:
            refused = value is not None and check(plain) is None
        except (OSError, ValueError):
            refused = True
        if refused:
            raise ValueError(says)
        return value

    @field_validator("admin_key")
    @classmethod
    def _check_admin_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        text = value.get_secret_value()
        if len(text) < MIN_ADMIN_KEY_CHARS:
            raise ValueError(f"must have at least {MIN_ADMIN_KEY_CHARS} characters")
        if not (text.isascii() and text.isprintable() and " " not in text):
            raise ValueError(
                "must be printable ASCII without spaces, because it is sent in a header"
            )
        if len(set(text)) < MIN_ADMIN_KEY_VARIETY:
            raise ValueError(f"must contain at least {MIN_ADMIN_KEY_VARIETY} different characters")
        return value

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if (self.report_certificate is None) != (self.report_key is None):
            raise ValueError(
                f"set both {PREFIX}REPORT_CERTIFICATE and {PREFIX}REPORT_KEY, or neither"
            )
        if self.operations_port and self.operations_port == self.port:
            raise ValueError(f"{PREFIX}OPERATIONS_PORT must be another port than {PREFIX}PORT")
        return self


def load_settings() -> Settings:
    """Return the settings from the environment and from the files of ``CREDENTIALS``.

    A variable that is set comes before the file of its name.

    Raises:
        SettingsError: a variable or a file is invalid, and the message names each one, without its
            value; or root would write into the data directory of another user.
    """
    folder = os.environ.get(CREDENTIALS) or None
    try:
        if folder:
            next(Path(folder).iterdir(), None)
        settings = Settings(_secrets_dir=folder)
    except OSError as error:
        raise SettingsError(f"{CREDENTIALS}: {error.filename}: {error.strerror}") from None
    except ValidationError as error:
        problems = [
            ": ".join(
                [PREFIX + ".".join(str(p) for p in e["loc"]).upper()] * bool(e["loc"])
                + [e["msg"].removeprefix("Value error, ")]
            )
            for e in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("; ".join(problems)) from None
    _refuse_root(settings.data_dir)
    return settings


def _refuse_root(data_dir: Path) -> None:
    # Even a command that only lists writes the journal, and a backup begins an epoch key: the
    # service could not read them, would take no submissions, and not start again.
    if os.geteuid() == 0 and data_dir.exists() and (owner := data_dir.stat().st_uid) != 0:
        raise SettingsError(
            f"{data_dir} ({PREFIX}DATA_DIR) belongs to the user {owner}, who could not read what "
            f"root writes into it. Run this as that user, for example with `sudo -u '#{owner}'`."
        )


def unknown_variables(environment: Iterable[str] | None = None) -> list[str]:
    """Return the names in the environment that look like settings but are not. A misspelt limit
    would otherwise silently keep its default."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    folder = os.environ.get(CREDENTIALS)
    files = [path.name for path in Path(folder).iterdir()] if folder else []
    names = [*os.environ, *files] if environment is None else environment
    return sorted(n for n in names if n.upper().startswith(PREFIX) and n.upper() not in known)


def settings_markdown() -> str:
    """Return the content of ``docs/settings.md``."""
    lines = [
        "# Settings",
        "",
        "Every setting is an environment variable, or a file of the same name, in lower or upper",
        "case, in the folder `CREDENTIALS_DIRECTORY`. Use files for secrets: `LoadCredential=` of",
        "systemd and container engines provide them. This page is generated by",
        "`python -m deepfake_service.platform.settings`; a test keeps it up to date.",
    ]
    for name, field in Settings.model_fields.items():
        if name in SECTIONS:
            lines += ["", f"## {SECTIONS[name]}", ""]
            lines += ["| Variable | Default | Description |", "|---|---|---|"]
        default = "unset" if field.default is None else f"`{field.default}`"
        about = " ".join((field.description or "").split())
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {about} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(settings_markdown())
