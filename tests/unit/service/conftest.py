"""A small scorer and decoder that stand for the model, which these tests are not about.

A "picture" is the text ``still FACES VALUE``; other first words are other kinds of input.
"""

from __future__ import annotations

import contextlib
import functools
import math
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import numpy as np
import pytest
from dbos import DBOS
from fastapi import FastAPI
from numpy.typing import NDArray
from pydantic import SecretStr

from deepfake_models.bundle import Bundle
from deepfake_models.classifier import Classifier, FaceScore
from deepfake_models.cropped_faces import CroppedFace
from deepfake_models.decode.base import FailedFrame, Frame
from deepfake_models.decode.credentials import not_read
from deepfake_models.decode.decoder import Decoder
from deepfake_models.errors import NotAPicture, UndecodableMedia
from deepfake_models.results import (
    Face,
    MediaFacts,
    Quality,
    Reason,
    ReasonCode,
    Verdict,
    VerdictCode,
)
from deepfake_models.scorer import Scorer
from deepfake_service.app import create_app
from deepfake_service.db import Database
from deepfake_service.db.enums import Role
from deepfake_service.security.accounts import Accounts
from deepfake_service.security.records import open_database
from deepfake_service.settings import RECORDS_FILE, Settings
from tests.support import judgingkit, pgkit
from tests.support.bundlekit import small_bundle, small_bundle_dir
from tests.support.clocks import AdjustableClock

SIZE = 8
POISON = 13
"""A crop of this value makes the whole batch fail."""


class SmallClassifier(Classifier):
    """Computes the logit of a crop from its first pixel."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def scores(self, crops: Sequence[NDArray[np.uint8]]) -> list[FaceScore]:
        self.batches.append(len(crops))
        values = [int(crop[0, 0, 0]) for crop in crops]
        if POISON in values:
            raise RuntimeError("secret-name.jpg")
        return [FaceScore((value - 100) / 10) for value in values]


@functools.cache
def _small_files() -> dict[str, str]:
    """Return the digests of a folder whose card and error rates pages show."""
    return small_bundle().spec.files


class SmallScorer(Scorer):
    """Sees as many faces in a picture as its first pixel says; their value is the second pixel."""

    def __init__(self) -> None:  # without a detector, because ``observe`` is replaced
        spec = judgingkit.spec(name="small", terms="tests-only", files=_small_files())
        self.bundle = Bundle(small_bundle_dir(), spec, "0" * 64, {})
        self.classifier: SmallClassifier = SmallClassifier()
        self.observe_error: Exception | None = None

    @property
    def batches(self) -> list[int]:
        """Return the sizes of the batches that were classified."""
        return self.classifier.batches

    def observe(
        self, pictures: Sequence[NDArray[np.uint8]], times: Sequence[float]
    ) -> list[list[CroppedFace]]:
        if self.observe_error is not None:
            raise self.observe_error
        return [
            [self._face(i, int(p[0, 1, 0]), t) for i in range(int(p[0, 0, 0]))]
            for p, t in zip(pictures, times, strict=True)
        ]

    def _face(self, index: int, value: int, time_s: float) -> CroppedFace:
        crop = np.full((SIZE, SIZE, 3), value, np.uint8)
        face = Face(
            time_s=time_s,
            box=(0.0, 0.0, 50.0 + index, 60.0),
            confidence=0.99,
            quality=Quality(50.0 + index, 1.0, 1.0, 0.5),
        )
        return CroppedFace(face, crop)

    def judge_picture(
        self,
        facts: MediaFacts,
        observations: Sequence[CroppedFace],
        scores: Sequence[FaceScore | None],
    ) -> Verdict:
        logits = [None if s is None else s.logit for s in scores]
        faces = tuple(_judged(o.face, z) for o, z in zip(observations, logits, strict=True))
        known = [z for z in logits if z is not None]
        if not known:
            reason = Reason(ReasonCode.NO_FACE, "no face was found")
            return Verdict(VerdictCode.NOT_APPLICABLE, reasons=(reason,), media=facts, faces=faces)
        top = max(known)
        return Verdict(_code(top), _sigmoid(top), top / math.log(10), media=facts, faces=faces)


def _judged(face: Face, logit: float | None) -> Face:
    return replace(
        face,
        verdict=_code(logit) if logit is not None else VerdictCode.UNABLE_TO_EVALUATE,
        score=_sigmoid(logit) if logit is not None else None,
        log_likelihood_ratio=logit / math.log(10) if logit is not None else None,
    )


def _code(logit: float) -> VerdictCode:
    return VerdictCode.LIKELY_MANIPULATED if logit > 0 else VerdictCode.NO_MANIPULATION_FOUND


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


class SmallMedia:
    def __init__(self, kind: str, pixels: NDArray[np.uint8] | None) -> None:
        self.facts = MediaFacts(kind, SIZE, SIZE, None, 1, 0)
        self.times = np.zeros(1)
        self._pixels = pixels

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        for index in indices:
            if self._pixels is None:
                yield FailedFrame(index, 0.0, "torn")
            else:
                yield Frame(index, 0.0, self._pixels)

    def __enter__(self) -> SmallMedia:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class SmallDecoder(Decoder):
    """Reads inputs made of words; ``gate`` holds back inputs that say ``slow`` until it is set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.opened = 0
        self.entered = threading.Semaphore(0)

    @contextlib.contextmanager
    def open(self, source: BinaryIO, *, stills_only: bool = False) -> Iterator[SmallMedia]:
        words = source.read(200).split()
        self.opened += 1
        self.entered.release()
        if words[:1] == [b"slow"]:
            assert self.gate.wait(60)
            words = words[1:]
        match words:
            case [b"still", faces, value, *_]:
                pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
                pixels[0, 0, 0], pixels[0, 1, 0] = int(faces), int(value)
                yield SmallMedia("image", pixels)
            case [b"torn", *_]:
                yield SmallMedia("image", None)
            case [b"moving", *_]:
                if stills_only:
                    raise NotAPicture
                yield SmallMedia("video", None)
            case [b"bug", *_]:
                raise RuntimeError("secret-name.jpg")
            case _:
                raise UndecodableMedia

    def read_credentials(
        self, source: BinaryIO, mime: str | None, anchors: str | None = None
    ) -> dict[str, Any]:
        return not_read("test media have none")

    def confinement(self) -> None:
        return None

    def close(self) -> None:
        return None


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


@dataclass(frozen=True)
class Installation:
    """A data directory as it is before the first start, with an account of each role."""

    folder: Path
    keys: dict[Role, str]
    database_url: SecretStr | None = None
    """Unset: a file in the folder."""

    def copy(self, settings: Settings, copied_url: SecretStr | None) -> dict[Role, str] | None:
        """Let a service that has nothing yet begin with a copy; return the keys of its accounts.

        ``copied_url`` names a copy of the database, if it is not in the folder. Opening an empty
        database and creating the accounts take longer than most tests do.
        """
        own_keys = settings.master_key or settings.key_wrapper
        if own_keys or settings.database_url != copied_url or settings.data_dir.exists():
            return None
        shutil.copytree(self.folder, settings.data_dir)
        return dict(self.keys)


def install(folder: Path, database_url: SecretStr | None = None) -> Installation:
    """Create an account of each role in an installation with this data directory."""
    settings = Settings(data_dir=folder, database_url=database_url)
    with contextlib.closing(open_database(settings)) as database:
        return Installation(folder, create_keys(database), database_url)


@pytest.fixture(scope="session")
def installation(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Make the data directory that the services of this worker copy."""
    folder = tmp_path_factory.mktemp("installation") / "var"
    folder.mkdir(mode=0o700)
    shutil.copyfile(migrated_file, folder / RECORDS_FILE)
    return install(folder)


@pytest.fixture(scope="session")
def postgres_installation(
    postgres: pgkit.Server, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    """Make the data directory and the database that services on PostgreSQL copy."""
    folder = tmp_path_factory.mktemp("postgres-installation") / "var"
    return install(folder, SecretStr(postgres.new_database()))


ON_BOTH = frozenset(
    {
        "test_account_limit", "test_accounts", "test_altered_rows", "test_audit", "test_backlog",
        "test_database", "test_legal_holds", "test_take_over", "test_videos_api",
    }
)  # fmt: skip
"""Modules whose tests run on SQLite and on PostgreSQL."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames and metafunc.module.__name__.split(".")[-1] in ON_BOTH:
        on_postgres = pytest.param("postgresql", marks=pytest.mark.postgres)
        metafunc.parametrize("backend", ["sqlite", on_postgres], indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings that choose the database."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return {}
    server: pgkit.Server = request.getfixturevalue("postgres")
    if "start" not in request.fixturenames:
        return {"database_url": SecretStr(server.new_database())}
    copied = request.getfixturevalue("postgres_installation").database_url
    return {"database_url": SecretStr(server.copy_of(copied.get_secret_value()))}


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
        app = create_app(settings, scorer=scorer, decoder=decoder, database=database)
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
