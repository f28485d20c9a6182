"""Checkpoints of the audit log that leave the machine, so that nobody there can rewrite the log.

A destination is an object store, whose objects a lock makes immutable, or a syslog collector. Where
a time-stamp authority is configured, it attests the checkpoint as well.
"""

from __future__ import annotations

import functools
import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deepfake_service.db import Database
from deepfake_service.errors import SettingsError, StorageError
from deepfake_service.evidence import timestamps
from deepfake_service.evidence.timestamps import TimestampFailed
from deepfake_service.observability.logs import describe, logger
from deepfake_service.security.audit_log import Checkpoint, head
from deepfake_service.settings import Settings
from deepfake_service.storage import installation_secret, open_checkpoint_store
from deepfake_service.storage.blobs import Blobs
from deepfake_service.storage.envelope import KeyWrapper

SYSLOG_PORT = 514
"""The port for syslog over UDP (RFC 5426) and, by convention, over TCP."""
TIMEOUT_S = 10.0
_PRIORITY = 13 * 8 + 5
"""Facility 13, "log audit", and severity 5, "notice" (RFC 5424, 6.2.1)."""

_log = logger("deepfake_service.checkpoints")


class Destination(Protocol):
    """Where checkpoints go."""

    def send(self, point: Checkpoint, document: str) -> None:
        """Deliver a signed checkpoint.

        Raises:
            OSError, StorageError: it was not delivered.
        """
        ...


class StoreDestination:
    """An object store. Every checkpoint is an object of its own, which is never replaced."""

    def __init__(self, store: Blobs) -> None:
        self._store = store

    def send(self, point: Checkpoint, document: str) -> None:
        """Store the checkpoint, unless another process has stored one of the same entry."""
        name = f"audit-checkpoint-{point.number:012}-{point.hash[:16]}.json"
        self._store.create_bytes(name, document.encode())


class SyslogDestination:
    """A syslog collector (RFC 5424), over UDP, TCP (RFC 6587, octet counting) or a local socket."""

    def __init__(self, url: str) -> None:
        wrong = SettingsError(
            "DEEPFAKE_AUDIT_CHECKPOINTS: a syslog destination has the form syslog://host:port, "
            "syslog+tcp://host:port or syslog:///dev/log."
        )
        try:
            parts = urlsplit(url)
            port = parts.port or SYSLOG_PORT
        except ValueError as error:  # the port is no number, or too large
            raise wrong from error
        self._is_tcp = parts.scheme == "syslog+tcp"
        self._address = (parts.hostname, port) if parts.hostname else None
        self._path = parts.path
        if self._address is None and (self._is_tcp or not self._path):
            raise wrong

    def send(self, point: Checkpoint, document: str) -> None:
        """Send the checkpoint as one message."""
        content = json.dumps(json.loads(document), separators=(",", ":"))
        host = socket.gethostname()[:255] or "-"
        header = f"<{_PRIORITY}>1 {point.at} {host} deepfake-service {os.getpid()} checkpoint -"
        message = f"{header} {content}".encode()
        if self._address is None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
                local.settimeout(TIMEOUT_S)
                local.connect(self._path)
                local.send(message)
        elif self._is_tcp:
            with socket.create_connection(self._address, timeout=TIMEOUT_S) as stream:
                stream.sendall(f"{len(message)} ".encode() + message)
        else:
            (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
                *self._address, type=socket.SOCK_DGRAM
            )
            with socket.socket(family, kind, protocol) as datagrams:
                datagrams.sendto(message, address)


class Checkpoints:
    """Signs checkpoints of a log and sends them to every destination."""

    def __init__(
        self,
        database: Database,
        key: Callable[[], Ed25519PrivateKey],
        destinations: Sequence[Destination],
        *,
        stamp: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._database = database
        self._key = key
        self._destinations = destinations
        self._stamp = stamp
        self._sent: tuple[int, str] | None = None

    def send(self) -> None:
        """Send a checkpoint, if the log has grown since the last one.

        A destination that fails is logged. The next checkpoint covers what it missed.

        Raises:
            AuditBroken: the last entry of the log was altered.
        """
        if not self._destinations:
            return
        with self._database.read() as session:
            point = head(session)
        if (point.number, point.hash) == self._sent:
            return
        document = self._stamped(point).signed(self._key())
        is_sent = True
        for destination in self._destinations:
            try:
                destination.send(point, document)
            except (OSError, StorageError) as error:
                is_sent = False
                _log.error("checkpoint_not_sent", number=point.number, failure=describe(error))
        if is_sent:
            self._sent = point.number, point.hash

    def _stamped(self, point: Checkpoint) -> Checkpoint:
        if self._stamp is None:
            return point
        try:
            return replace(point, time_stamp=self._stamp(point.payload()))
        except TimestampFailed as error:
            _log.error("checkpoint_not_stamped", number=point.number, failure=describe(error))
            return point


def audit_key(database: Database, keys: KeyWrapper) -> Ed25519PrivateKey:
    """Return the key that signs checkpoints. It is created on first use.

    Raises:
        DecryptionFailed: the master key is another one.
    """
    secret = installation_secret(database, keys, "audit-checkpoints")
    return Ed25519PrivateKey.from_private_bytes(secret)


def open_checkpoints(settings: Settings, database: Database, keys: KeyWrapper) -> Checkpoints:
    """Open the destinations that ``settings`` name.

    Raises:
        SettingsError: a destination is invalid. StorageError: the URL of a store is invalid.
    """
    destinations: list[Destination] = []
    for url in (settings.audit_checkpoints or "").split(","):
        if url.strip().startswith(("syslog:", "syslog+tcp:")):
            destinations.append(SyslogDestination(url.strip()))
        elif url.strip():
            destinations.append(StoreDestination(open_checkpoint_store(url.strip())))
    stamp = None
    if settings.timestamp_url:
        stamp = functools.partial(timestamps.request, settings.timestamp_url)
    return Checkpoints(
        database,
        lambda: audit_key(database, keys),
        destinations,
        stamp=stamp,
    )
