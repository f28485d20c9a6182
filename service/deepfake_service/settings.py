"""All settings in one class, built once in the entry point and passed down.

Each setting is read from the environment variable ``DEEPFAKE_`` plus its name in capitals, or from
a file of that name in ``$CREDENTIALS_DIRECTORY``, has a default and describes itself;
``settings_table`` renders ``docs/settings.md`` from that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator

from deepfake_service.errors import SettingsError
from deepfake_service.resource_limits import PREFIX, CallbackHostList, ResourceLimits, networks_of

RECORDS_FILE = "records.sqlite"
EPOCH_KEYS_FILE = "epoch-keys"
JOURNAL_FILE = "journal.jsonl"
CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Variable with the folder of secrets, which systemd sets (``LoadCredential=``)."""
MIN_ADMIN_KEY_CHARS = 20
MIN_ADMIN_KEY_VARIETY = 10
"""Minimum number of distinct characters in a chosen admin key; rejects "aaaa..." and "1234..."."""

ScoreDetail = Literal["full", "rounded", "verdicts"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "console"]


def _contact(what: str) -> Any:
    text = f"{what} of the organisation that sends notices, until it is edited in the console."
    return Field(default=None, max_length=200, description=text)


class Settings(ResourceLimits):
    """Configuration of the service."""

    data_dir: Path = Field(
        default=Path("var"),
        description="Folder for the database, sealed media, keys and everything else that must "
        "survive a restart. If missing, it is created with access for its owner only.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="URL of the database of accounts, cases, jobs and the audit log, for example "
        "`postgresql://user:password@host/name`. Unset: SQLite in the data directory, which "
        "serves one machine.",
    )
    blob_url: str | None = Field(
        default=None,
        description="Where encrypted media and results are stored: `s3://bucket/prefix`, `gs://`, "
        "`az://` (credentials come from each provider's own variables) or `file:///folder`. "
        "Unset: a folder in the data directory.",
    )
    journal: Path | None = Field(
        default=None,
        description="File to which revoked keys, flags, legal holds and deletions are also "
        "appended, by their ids, so that `deepfake restore` can replay them on an older database. "
        "Put it on another disk than the database. Unset: `journal.jsonl` in the data directory.",
    )
    master_key: SecretStr | None = Field(
        default=None,
        description="32 random bytes in base64 (`openssl rand -base64 32`) that wrap the key of "
        "every case. Unset: generated on the first start and saved as `master-key` in the data "
        "directory, readable by its owner only. If this key is lost, no case can be decrypted.",
    )
    older_master_keys: SecretStr | None = Field(
        default=None,
        description="Previous master keys, separated by commas. Cases wrapped by them can still "
        "be decrypted until `deepfake keys rewrap` has wrapped them with the current key.",
    )
    key_wrapper: str | None = Field(
        default=None,
        description="`package.module:function` that returns a `KeyWrapper` of "
        "`deepfake_service.storage.envelope` backed by a key management service. Replaces the "
        "master key.",
    )
    epoch_keys: Path | None = Field(
        default=None,
        description="File of the epoch keys, which wrap the keys of cases and are destroyed after "
        "deletions, on a file system that overwrites in place (ext4 or XFS, not Btrfs, ZFS or a "
        "network file system). Unset: `epoch-keys` in the data directory with SQLite; with "
        "PostgreSQL none, and the master key wraps the keys of cases. Processes on several "
        "machines cannot share it.",
    )
    epoch_hours: Annotated[float, Field(ge=0.0, le=8760.0)] = Field(
        default=1.0,
        description="Minimum age in hours of an epoch key before it is destroyed because a case "
        "was deleted. The remaining cases are then wrapped again, which takes one or two seconds "
        "for 10,000 of them.",
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. The default is the loopback address because the "
        "service speaks plain HTTP: put a TLS-terminating reverse proxy in front of it for remote "
        "access.",
    )
    port: int = Field(
        default=8000,
        ge=0,
        le=65535,
        description="Port to listen on; 0 chooses a free one.",
    )
    bundle_dir: Path | None = Field(
        default=None,
        description="Folder of the model bundle. Unset: the bundle included in the package.",
    )
    admin_key: SecretStr | None = Field(
        default=None,
        description="Administrator key to use instead of generating one on the first start, for "
        "containers. At least 20 characters; use a random value (`openssl rand -base64 32`), "
        "because only a fast hash of it is stored. A new value replaces the previous one, and "
        "removing the variable revokes it.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="Device that runs the model: `cpu`, `cuda`, or `auto`, which uses CUDA if the "
        "installed onnxruntime and the machine support it.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Threads that search frames for faces and score them, each one frame or face "
        "at a time; 0 uses one per core that the process may use. Fewer threads leave cores to the "
        "decoders.",
    )
    sandbox: Literal["available", "require"] = Field(
        default="available",
        description="Layers of the sandbox in which untrusted files are parsed. `available` uses "
        "those that the kernel and the container grant, and reports the others as missing at the "
        "start, in `/readyz` and in evidence; `require` refuses to start unless all are granted.",
    )
    worker_metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Prometheus port of `deepfake worker`; 0 disables it. (The service itself "
        "serves `/metrics`.)",
    )
    operations_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port of a separate listener for `/healthz`, `/readyz` and `/metrics`, which "
        "clients of the API cannot block. `DEEPFAKE_PORT` then no longer serves `/metrics`. 0 "
        "disables the listener.",
    )
    operations_host: str = Field(
        default="127.0.0.1",
        description="Address of that listener. It needs no key, so choose one that only operators "
        "can reach.",
    )
    media_days_after_verdict: Annotated[float, Field(gt=0.0, le=365.0)] = Field(
        default=7.0,
        description="Maximum number of days that media are kept after the verdict, unless a legal "
        "hold keeps them longer.",
    )
    media_days_unexamined: Annotated[float, Field(gt=0.0, le=365.0)] = Field(
        default=7.0,
        description="Maximum number of days that media are kept if no worker examines them. Their "
        "job then becomes `expired`. Without this limit, media would be kept forever if no worker "
        "runs.",
    )
    media_hours_after_review: Annotated[float, Field(gt=0.0, le=8760.0)] = Field(
        default=24.0,
        description="Number of hours that media are kept after their whole case has been "
        "reviewed, unless a legal hold keeps them longer.",
    )
    system_scores: ScoreDetail = Field(
        default="full",
        description="Values that the API and the console tell accounts of systems. `rounded`: "
        "only the log likelihood ratio, in whole numbers; `verdicts`: none. Evidence stays exact.",
    )
    organisation_name: str | None = _contact("Name")
    organisation_email: str | None = _contact("E-mail address")
    organisation_phone: str | None = _contact("Telephone number")
    issuer: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        default="Deepfake detection service",
        description="Name of the organisation that issues evidence and notices. It appears in "
        "reports and in the certificate that signs them.",
    )
    timestamp_url: str | None = Field(
        default=None,
        description="URL of an RFC 3161 time-stamp authority that stamps every edition of the "
        "evidence. It receives a digest and no content. Unset: evidence has no trusted time "
        "stamp.",
    )
    timestamp_roots: Path | None = Field(
        default=None,
        description="PEM file of the root certificates trusted for time stamps when an evidence "
        "bundle is verified.",
    )
    audit_checkpoints: str | None = Field(
        default=None,
        description="Where signed checkpoints of the audit log are sent, separated by commas: "
        "`s3://bucket/prefix`, `gs://`, `az://`, `syslog://host:514` (UDP), "
        "`syslog+tcp://host:601` or `syslog:///dev/log`. Unset: none are sent.",
    )
    audit_checkpoint_minutes: Annotated[float, Field(gt=0.0, le=10080.0)] = Field(
        default=60.0, description="Minutes between two checkpoints, if the audit log has grown."
    )
    report_certificate: Path | None = Field(
        default=None,
        description="PEM file of the certificate chain that signs reports, the signer's "
        "certificate first. Replaces the certificate that the service generates. Requires "
        "`DEEPFAKE_REPORT_KEY`.",
    )
    report_key: Path | None = Field(
        default=None,
        description="PEM file of the private key of `DEEPFAKE_REPORT_CERTIFICATE`: P-256, not "
        "encrypted.",
    )
    content_credential_anchors: Path | None = Field(
        default=None,
        description="PEM file of the root certificates that make Content Credentials (C2PA) of "
        "submitted files `trusted`. Unset: intact credentials are `valid` at most.",
    )
    pinned_keys: Path | None = Field(
        default=None,
        description="Folder of PEM files with the public keys of other services whose evidence "
        "`POST /v1/verify` and `deepfake verify` trust.",
    )
    evidence_days: Annotated[float, Field(gt=0.0, le=36500.0)] = Field(
        default=1095.0,
        description="Number of days that evidence is kept after the verdict or the last notice of "
        "its case, whichever is later, unless a legal hold keeps it longer. The default is three "
        "years, because proceedings that follow a notice can take that long.",
    )
    case_days: Annotated[float, Field(gt=0.0, le=36500.0)] = Field(
        default=365.0,
        description="Number of days that a case, with its results, notes, occurrences and notices, "
        "is kept beyond `DEEPFAKE_EVIDENCE_DAYS` after the last thing that happened in it, unless "
        "a legal hold keeps it longer.",
    )
    public_url: str | None = Field(
        default=None,
        description="URL at which browsers reach the service, for example "
        "`https://centre.example`, if a TLS-terminating reverse proxy is in front of it. Cookies "
        "are then sent over TLS only.",
    )
    trusted_proxies: str | None = Field(
        default=None,
        description="Addresses or networks of the reverse proxies in front of the service, "
        "separated by commas. Their `X-Forwarded-For` says from which address a sign-in comes.",
    )
    log_client_addresses: bool = Field(
        default=False,
        description="Log the network address from which a sign-in failed.",
    )
    session_hours: Annotated[float, Field(gt=0.0, le=168.0)] = Field(
        default=10.0,
        description="Hours after which a console user must sign in again. The default is a "
        "working day.",
    )
    support_contact: Annotated[str, Field(max_length=200)] | None = Field(
        default=None,
        description="Support line for victims, shown on the console's help page in both languages. "
        "Unset: 1366, the Korean Women's Emergency Hotline, named in the language of the page.",
    )
    two_person_review: bool = Field(
        default=False,
        description="Require confirmation by two people before a finding counts as confirmed.",
    )
    submitter_confirms: Literal["if_alone", "always", "never"] = Field(
        default="if_alone",
        description="Whether the account that submitted an item can confirm its finding without a "
        "second person. `if_alone`: only while no other person could review, so that a centre of "
        "one person can work.",
    )
    matching: bool = Field(
        default=False,
        description="Keep perceptual hashes of confirmed cases and link new submissions to the "
        "earlier cases they resemble. This never changes a verdict.",
    )
    known_hash_days: Annotated[float, Field(gt=0.0, le=36500.0)] = Field(
        default=365.0,
        description="Days after which those hashes are deleted.",
    )
    flagged_hash_days: Annotated[float, Field(gt=0.0, le=36500.0)] = Field(
        default=1825.0,
        description="Days for which perceptual hashes of a case that was flagged for a possible "
        "minor are retained after its deletion, so that copies are flagged as well.",
    )
    callback_hosts: CallbackHostList = Field(
        default=None,
        description="Receivers of webhooks that need not have public addresses, separated by "
        "commas: exact host names, addresses, and networks such as `10.20.0.0/16`. They are called "
        "on any port. Every account can make the service send requests to them, so list only "
        "machines that expect webhooks.",
    )
    log_level: LogLevel = Field(
        default="info",
        description="Least severe log level written: `debug`, `info`, `warning` or `error`. No "
        "level logs content.",
    )
    log_format: LogFormat = Field(
        default="json",
        description="`json`: one object per line on standard error, for machines; `console`: for "
        "people.",
    )

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
    def epoch_keys_path(self) -> Path | None:
        """Return the file of the epoch keys, or ``None`` if the master key wraps cases."""
        if self.epoch_keys is None and self.database_url is None:
            return self.data_dir / EPOCH_KEYS_FILE
        return self.epoch_keys

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: str | None) -> str | None:
        try:
            networks_of(value)
        except ValueError:
            raise ValueError("must be addresses or networks, separated by commas") from None
        return value

    @field_validator("public_url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("must be a URL, for example https://centre.example")
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
    def _check_report_signer(self) -> Settings:
        if (self.report_certificate is None) != (self.report_key is None):
            raise ValueError(
                f"set both {PREFIX}REPORT_CERTIFICATE and {PREFIX}REPORT_KEY, or neither"
            )
        return self


def load_settings() -> Settings:
    """Return the settings from the environment and from the files of ``CREDENTIALS``.

    A variable that is set comes before the file of its name.

    Raises:
        SettingsError: a variable or a file is invalid. The message names each one, without its
            value.
    """
    folder = os.environ.get(CREDENTIALS) or None
    try:
        if folder:
            next(Path(folder).iterdir(), None)
        return Settings(_secrets_dir=folder)
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


if __name__ == "__main__":
    import sys

    from deepfake_service.settings_table import settings_markdown

    sys.stdout.write(settings_markdown(Settings))
