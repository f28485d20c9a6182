"""Services under test, with the small scorer and decoder of ``stand_ins`` in place of the model."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from dbos import DBOS
from fastapi import FastAPI
from pydantic import SecretStr

from deepfake_service.accounts.accounts import Accounts
from deepfake_service.app import create_app
from deepfake_service.audit.records import open_database
from deepfake_service.capture.readers import CaptureReaders
from deepfake_service.container import Services
from deepfake_service.examination.submissions import Submission
from deepfake_service.examination.webhook_deliveries import WebhookDeliveries, release_callbacks
from deepfake_service.platform import logs, outbound, webhooks
from deepfake_service.platform.db import Database, Job
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.pages import Pages
from deepfake_service.platform.settings import RECORDS_FILE, Settings
from deepfake_service.platform.webhooks import Callback
from deepfake_service.retention import sweeps
from tests.support import databases
from tests.support.fake_platform import FakePlatform, resolving
from tests.support.stand_ins import (
    AdjustableClock,
    Receiver,
    SmallDecoder,
    SmallScorer,
    compact_pages,
    deliveries_of,
    do_due,
)


class Service:
    """An app that runs, and a client that calls it."""

    def __init__(
        self,
        app: FastAPI,
        scorer: SmallScorer,
        decoder: SmallDecoder,
        database: Database,
        clock: AdjustableClock,
        keys: dict[Role, str],
    ) -> None:
        self.app = app
        self.scorer = scorer
        self.decoder = decoder
        self.database = database
        self.clock = clock
        self.accounts = Accounts(database)
        self.keys = keys
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=True),
            base_url="http://service",
            headers={"Authorization": f"Bearer {self.keys[Role.PIPELINE]}"},
            event_hooks={"response": [compact_pages]},
        )

    async def sign_in(self, role: Role) -> httpx.Response:
        """Sign the client in, as a browser does."""
        origin = {"Origin": str(self.client.base_url)}
        return await self.client.post("/sign-in", data={"key": self.keys[role]}, headers=origin)

    async def post(self, *contents: bytes, **options: Any) -> httpx.Response:
        files = [("files", (f"{i}.jpg", c, "image/jpeg")) for i, c in enumerate(contents)]
        return await self.client.post("/v1/frames", files=files, **options)


Starter = Callable[..., AbstractAsyncContextManager[Service]]


def create_keys(database: Database) -> dict[Role, str]:
    """Create an account of each role, and return their keys."""
    accounts, keys = Accounts(database), {}
    for role in Role:
        name = f"{role} {secrets.token_hex(4)}"  # services may share a database
        accounts.create(name, "person", role)
        keys[role] = accounts.create_key(name).text
    return keys


MIGRATED = frozenset({"test_database"})
"""Modules whose databases are all migrated from nothing, because that is their subject."""


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an SQLite file with the tables of this version, those of the queue included."""
    path = tmp_path_factory.mktemp("template") / "records.sqlite"
    database = Database(f"sqlite:///{path}")
    DBOS.migrate(database.url)
    database.close()
    return path


@pytest.fixture(autouse=True, scope="module")
def copied_tables(request: pytest.FixtureRequest, migrated_file: Path) -> Iterator[None]:
    """Let new SQLite databases begin as copies of one that the migrations have made.

    The migrations take longer than most tests do.
    """
    migrate = Database._migrate

    def copy(database: Database) -> None:
        path = database._file
        if path is not None and path.stat().st_size == 0:
            shutil.copyfile(migrated_file, path)
        else:
            migrate(database)

    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__.rpartition(".")[2] not in MIGRATED:
            patch.setattr(Database, "_migrate", copy)
        yield


@pytest.fixture
def epochs_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a deletion destroy even an epoch key that was just created."""
    monkeypatch.setattr("deepfake_service.retention.key_epochs.EPOCH_KEY_AGE", timedelta(0))


@pytest.fixture(autouse=True)
def confirmed_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sweeps rely on the clocks of tests, which advance by years."""
    if request.module.__name__.rpartition(".")[2] != "test_clock_check":
        monkeypatch.setattr(sweeps, "is_clock_confirmed", lambda _: True)


@dataclass(frozen=True)
class Installation:
    """A data directory as the first start leaves it, with an account of each role."""

    folder: Path
    keys: dict[Role, str]
    database_url: SecretStr | None = None
    """Unset: a file in the folder."""

    def copy(self, settings: Settings, copied_url: SecretStr | None) -> dict[Role, str] | None:
        """Let a service that has nothing yet begin with a copy; return the keys of its accounts.

        ``copied_url`` names a copy of the database, if it is not in the folder. Opening an empty
        database and creating the accounts and secrets take longer than most tests do.
        """
        if settings.master_key or settings.database_url != copied_url or settings.data_dir.exists():
            return None
        shutil.copytree(self.folder, settings.data_dir)
        return dict(self.keys)


def install(folder: Path, database_url: SecretStr | None = None) -> Installation:
    """Open an installation with this data directory once, with an account of each role."""
    settings = Settings(data_dir=folder, database_url=database_url)
    with contextlib.closing(open_database(settings)) as database:
        keys = create_keys(database)
        with contextlib.closing(Services(settings, database, "0" * 64, SmallDecoder(), Metrics())):
            return Installation(folder, keys, database_url)


@pytest.fixture(scope="session")
def installation(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Make the data directory that the services of this worker copy."""
    folder = tmp_path_factory.mktemp("installation") / "var"
    folder.mkdir(mode=0o700)
    shutil.copyfile(migrated_file, folder / RECORDS_FILE)
    return install(folder)


@pytest.fixture(scope="session")
def postgres_installation(
    postgres: databases.Server, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    """Make the data directory and the database that services on PostgreSQL copy."""
    folder = tmp_path_factory.mktemp("postgres-installation") / "var"
    return install(folder, SecretStr(postgres.new_database()))


ON_BOTH = frozenset(
    {
        "test_accounts", "test_altered_rows", "test_audit", "test_backlog", "test_copies",
        "test_cases_api", "test_database", "test_job_deletion", "test_jobs_api", "test_legal_holds",
        "test_media_expiry", "test_repeated_requests", "test_stored_results",
        "test_upload_limits", "test_videos_api", "test_workers",
    }
)  # fmt: skip
"""Modules whose tests run on SQLite and on PostgreSQL."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames and metafunc.module.__name__.split(".")[-1] in ON_BOTH:
        on_postgres = pytest.param("postgresql", marks=pytest.mark.postgres)
        metafunc.parametrize("backend", ["sqlite", on_postgres], indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Settings that choose the database."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield {}
        return
    server: databases.Server = request.getfixturevalue("postgres")
    if "start" in request.fixturenames:
        copied = request.getfixturevalue("postgres_installation").database_url
        url = server.copy_of(copied.get_secret_value())
    else:
        url = server.new_database()
    yield {"database_url": SecretStr(url)}
    server.drop(url)


@pytest.fixture
def settings(tmp_path: Path, backend: dict[str, Any]) -> Settings:
    """Settings with a data directory of the test's own."""
    return Settings(data_dir=tmp_path / "var", **backend)


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path: Path, backend: dict[str, Any]) -> Starter:
    """Starts an app with the settings given: ``async with start(port=1) as service``."""
    copied_url: SecretStr | None = backend.get("database_url")
    name = "postgres_installation" if copied_url else "installation"
    installation: Installation = request.getfixturevalue(name)

    @contextlib.asynccontextmanager
    async def started(**values: Any) -> AsyncIterator[Service]:
        settings = Settings(data_dir=tmp_path / "var", **{**backend, **values})
        scorer, decoder, clock = SmallScorer(), SmallDecoder(), AdjustableClock()
        keys = installation.copy(settings, copied_url)
        database = open_database(settings, clock)
        app = create_app(settings, database, scorer, decoder, worker=False)
        keys = keys or create_keys(database)
        service = Service(app, scorer, decoder, database, clock, keys)
        with contextlib.closing(database):
            async with app.router.lifespan_context(app), service.client:
                yield service

    return started


@pytest.fixture
async def service(start: Starter) -> AsyncIterator[Service]:
    async with start() as running:
        yield running


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    logs.configure(stream)
    logging.getLogger().setLevel("DEBUG")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@pytest.fixture
async def stranger(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client without a key."""
    transport = httpx.ASGITransport(service.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Receiver:
    stand_in = Receiver()
    monkeypatch.setattr(outbound, "check", lambda url, **_: url)
    monkeypatch.setattr(webhooks, "send", stand_in.send)
    return stand_in


@pytest.fixture
async def deliveries(service: Service, receiver: Receiver) -> WebhookDeliveries:
    """A job that has ended and whose webhook is due."""
    services = service.app.state.shared.services

    async def chunks() -> AsyncIterator[bytes]:
        yield b"video"

    submission = Submission(callback=Callback("https://hooks.example/a"))
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    sealed = await services.submissions.seal(chunks())
    accepted = await services.submissions.accept(caller, submission, sealed)
    opened = deliveries_of(service)
    assert do_due(opened) == 0  # the job has not ended
    with service.database.write() as session:
        session.get_one(Job, accepted.job_id).state = JobState.FAILED
        release_callbacks(session, accepted.job_id)
    return opened


@pytest.fixture(scope="session")
def platform_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("platform")


@pytest.fixture
def platform(platform_folder: Path) -> Iterator[FakePlatform]:
    """Return a platform on loopback whose posts are looked at or fetched."""
    made = FakePlatform(platform_folder)
    with resolving({"warning.or.kr": "127.0.0.1"}):
        yield made
    made.close()


@pytest.fixture(scope="module")
def readers() -> Iterator[CaptureReaders]:
    """Return the processes that read captures."""
    reading = CaptureReaders(require=False)
    yield reading
    reading.close()


@pytest.fixture
def pages(platform: FakePlatform) -> Pages:
    """Fetches from the platform, and from no other address that is not public."""
    return Pages(allowed=CallbackHosts.of("127.0.0.1"), tls=platform.tls())
