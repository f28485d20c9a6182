"""Sealed storage: one suite for every implementation, and keys that can be lost or exchanged."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import obstore
import pytest
from moto.server import ThreadedMotoServer
from obstore.exceptions import GenericError
from obstore.store import MemoryStore
from pydantic import SecretStr

from deepfake_service.audit.records import open_database
from deepfake_service.cli.check import try_store
from deepfake_service.platform.db import Case
from deepfake_service.platform.errors import (
    DecryptionFailed,
    NotFound,
    SettingsError,
    StorageError,
    StorageUnavailable,
)
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import (
    Blobs,
    Vault,
    context_of,
    open_blobs,
    open_keys,
    rewrapped,
)
from deepfake_service.platform.storage.blobs import BlobMissing, open_checkpoint_store
from deepfake_service.platform.storage.envelope import CHUNK_BYTES, MasterKeys, new_key
from tests.support.jobs import run_command
from tests.support.loopback import serving
from tests.support.servers import files_containing

KEY = new_key()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server (moto) with one bucket, ``evidence``."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    httpx.put(f"http://{host}:{port}/evidence").raise_for_status()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "memory", "url", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    if request.param == "memory":
        return Blobs(MemoryStore())
    if request.param == "s3":
        for name, value in {
            "AWS_ENDPOINT_URL": request.getfixturevalue("s3"),
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "something",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        return open_blobs(f"s3://evidence/{tmp_path.name}", tmp_path)
    if request.param == "url":
        (tmp_path / "there").mkdir()
        return open_blobs(f"file://{tmp_path}/there", tmp_path)
    return open_blobs(None, tmp_path / "blobs")


def test_credentials_of_an_object_store_can_be_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    class Relay(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            seen.append(self.headers["Authorization"])
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    (tmp_path / "aws_access_key_id").write_text("from-a-file\n")
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text("something\n")
    (tmp_path / "deepfake_admin_key").write_text("not a credential of the store")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Relay)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        open_blobs("s3://evidence/a", tmp_path).put_bytes("media/1", b"x")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-a-variable")
        open_blobs("s3://evidence/a", tmp_path).put_bytes("media/1", b"x")
        open_checkpoint_store("s3://evidence/a").put_bytes("checkpoints/1", b"x")
    owners = [text.partition("Credential=")[2].partition("/")[0] for text in seen]
    assert owners == ["from-a-file", "from-a-variable", "from-a-variable"]


@pytest.mark.parametrize("blobs", ["s3"], indirect=True)
def test_a_bucket_that_is_missing_is_no_missing_blob(blobs: Blobs, tmp_path: Path) -> None:
    """Jobs wait while the store is away, and fail without a blob."""
    blobs.put_bytes("media/1", b"x")
    elsewhere = open_blobs("s3://misspelt/a", tmp_path)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"

    for write in (
        lambda: elsewhere.put_bytes("media/1", b"x"),
        lambda: elsewhere.create_bytes("media/1", b"x"),
        lambda: asyncio.run(elsewhere.put("media/1", chunks())),
    ):
        with pytest.raises(StorageUnavailable, match="is missing"):
            write()
    with pytest.raises(BlobMissing):
        blobs.open("media/2")


@pytest.mark.parametrize("blobs", ["s3"], indirect=True)
def test_the_store_is_tried_by_a_command(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://evidence/{tmp_path.name}"
    try_store(Settings(data_dir=tmp_path / "var", blob_url=url))
    assert not list(blobs.older_than("", datetime.now(UTC) + timedelta(days=1)))
    misspelt = Settings(data_dir=tmp_path / "var", blob_url="s3://misspelt/a")
    with pytest.raises(StorageError, match=r"reported: (?s:.*)NoSuchBucket"):
        try_store(misspelt)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"reported: (?s:.*)Connection refused"):
        try_store(misspelt)
    assert not (tmp_path / "var").exists()


def test_a_trial_of_the_store_that_fails_leaves_no_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> list[str]:
        raise StorageUnavailable  # as for an account that may not list

    monkeypatch.setattr(Blobs, "older_than", refused)
    with pytest.raises(StorageError, match="reported"):
        try_store(Settings(data_dir=tmp_path, blob_url=f"file://{tmp_path}"))
    assert not list(tmp_path.iterdir())


def test_a_wrong_data_directory_is_not_tried(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        try_store(Settings(data_dir=tmp_path / "var"))
    assert not (tmp_path / "var").exists()
    open_database(Settings(data_dir=tmp_path / "var")).close()
    done = run_command(Settings(data_dir=tmp_path / "var"), "check")
    assert (done.exit_code, "The store works" in done.output) == (0, True)


@pytest.fixture
def vault(blobs: Blobs) -> Vault:
    return Vault(blobs, MasterKeys(new_key()))


async def pieces(data: bytes, size: int = 70_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def test_what_is_stored_comes_back_and_its_plaintext_is_nowhere(
    vault: Vault, tmp_path: Path
) -> None:
    data = random.Random(0).randbytes(3 * CHUNK_BYTES + 5)
    stored = await vault.store("media/1", KEY, pieces(data))
    assert stored.size == len(data)
    with vault.open("media/1", KEY) as file:
        assert file.read() == data
        file.seek(CHUNK_BYTES - 3)
        assert file.read(6) == data[CHUNK_BYTES - 3 : CHUNK_BYTES + 3]
    assert not files_containing(tmp_path, data[:64])


async def test_an_upload_that_breaks_off_leaves_nothing(vault: Vault) -> None:
    async def torn() -> AsyncIterator[bytes]:
        yield bytes(20_000_000)
        raise ConnectionError

    with pytest.raises((ConnectionError, StorageUnavailable)):
        await vault.store("media/1", KEY, torn())
    with pytest.raises(BlobMissing):
        vault.open("media/1", KEY)


async def test_a_blob_under_another_name_does_not_open(vault: Vault, blobs: Blobs) -> None:
    await vault.store("media/1", KEY, pieces(b"media"))
    blob = blobs.open("media/1")
    blobs.put_bytes("media/2", blob.read_at(0, blob.size))
    with pytest.raises(DecryptionFailed):
        vault.open("media/2", KEY)


async def test_deleting_is_final_and_may_be_repeated(vault: Vault, blobs: Blobs) -> None:
    await vault.store("media/1", KEY, pieces(b"media"))
    for _ in range(2):
        blobs.delete("media/1")
    with pytest.raises(BlobMissing):
        vault.open("media/1", KEY)


def test_small_values_are_sealed_too(vault: Vault) -> None:
    vault.write("work/1", KEY, b"first")
    vault.write("work/1", KEY, b"second")
    assert vault.read("work/1", KEY) == b"second"
    with pytest.raises(DecryptionFailed):
        vault.read("work/1", new_key())


def test_old_blobs_are_found_by_prefix(blobs: Blobs) -> None:
    blobs.put_bytes("work/1", b"x")
    blobs.put_bytes("media/1", b"x")
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert list(blobs.older_than("work/", later)) == ["work/1"]
    assert not list(blobs.older_than("work/", later - timedelta(hours=1)))


def test_without_its_wrapped_key_a_case_is_shredded(vault: Vault) -> None:
    key, wrapped = vault.new_case_key("1")
    assert vault.case_key(Case(id="1", wrapped_key=wrapped)) == key
    with pytest.raises(NotFound):
        vault.case_key(Case(id="1", wrapped_key=None))
    with pytest.raises(DecryptionFailed):
        vault.case_key(Case(id="2", wrapped_key=wrapped))


def test_rotation_wraps_anew_what_the_old_key_wrapped(blobs: Blobs) -> None:
    old, new = new_key(), new_key()
    key, wrapped = Vault(blobs, MasterKeys(old)).new_case_key("1")
    keys, context = MasterKeys(new, (old,)), context_of("case-key", "1")
    again = rewrapped(keys, wrapped, context)
    assert again is not None
    assert rewrapped(keys, again, context) is None
    assert Vault(blobs, MasterKeys(new)).case_key(Case(id="1", wrapped_key=again)) == key


def test_a_master_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    wrapped = open_keys(settings).wrap(KEY, b"")
    assert open_keys(settings).unwrap(wrapped, b"") == KEY
    path = tmp_path / "var" / "master-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("short\n")
    with pytest.raises(SettingsError, match="master-key in the data directory"):
        open_keys(settings)


def test_master_keys_from_the_environment(tmp_path: Path) -> None:
    old, new = (base64.b64encode(new_key()).decode() for _ in range(2))
    first = Settings(data_dir=tmp_path, master_key=SecretStr(old))
    wrapped = open_keys(first).wrap(KEY, b"")
    rotated = Settings(data_dir=tmp_path, master_key=SecretStr(f"{new}, {old}"))
    assert not open_keys(rotated).is_current(wrapped)
    assert open_keys(rotated).unwrap(wrapped, b"") == KEY
    assert not list(tmp_path.iterdir())
    short = "dG9vIHNob3J0"
    for text in (short, f"{new},{short}", f"{new},", f",{old}", f"{new},,{old}", f"{new} {old}"):
        with pytest.raises(SettingsError, match="Each key in DEEPFAKE_MASTER_KEY") as raised:
            open_keys(Settings(data_dir=tmp_path, master_key=SecretStr(text)))
        assert not any(key in str(raised.value) for key in (new, old, short))


@pytest.mark.parametrize("url", ["nowhere://x", "file://another-machine/folder", "file:folder"])
def test_a_url_that_is_none_is_an_error(tmp_path: Path, url: str) -> None:
    with pytest.raises(StorageError, match="URL"):
        open_blobs(url, tmp_path)


def test_a_folder_that_does_not_exist_is_not_created_by_its_url(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="DEEPFAKE_BLOB_URL does not exist"):
        open_blobs((tmp_path / "not mounted").as_uri(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("by_url", [True, False])
async def test_remains_of_uploads_to_a_folder_are_deleted_once_they_are_old(
    tmp_path: Path, by_url: bool
) -> None:
    folder = tmp_path / "media store"
    folder.mkdir()
    blobs = open_blobs(folder.as_uri(), tmp_path) if by_url else open_blobs(None, folder)
    blobs.put_bytes("media/1", b"stored")
    remains = folder / "media" / "2#1"  # as a process that was killed leaves it
    remains.write_bytes(b"part of an upload")
    now = datetime.now(UTC)
    blobs.delete_unfinished(now - timedelta(hours=1))
    assert remains.exists()
    blobs.delete_unfinished(now + timedelta(seconds=5))
    assert not remains.exists()
    assert blobs.open("media/1").size == len(b"stored")


async def test_a_file_that_the_disk_cannot_read_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = Vault(open_blobs(None, tmp_path), MasterKeys(new_key()))
    await vault.store("media/1", KEY, pieces(b"content"))

    def fails(*_: object, **__: object) -> bytes:
        text = "Generic LocalFileSystem error: Unable to access: Input/output error (os error 5)"
        raise GenericError(text)

    monkeypatch.setattr(obstore, "get_range", fails)
    with pytest.raises(StorageError, match="EIO") as raised:
        vault.read("media/1", KEY)
    assert not isinstance(raised.value, StorageUnavailable), "for which steps wait"


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() or os.system(f"mount -t tmpfs -o size=1m tmpfs {folder} 2>/dev/null"):
        pytest.skip("needs to be root and to mount a file system")
    yield folder
    os.system(f"umount {folder}")


async def test_a_full_disk_is_said_and_leaves_nothing(full_disk: Path) -> None:
    vault = Vault(open_blobs(None, full_disk), MasterKeys(new_key()))
    with pytest.raises(StorageUnavailable):
        await vault.store("media/1", KEY, pieces(bytes(4_000_000)))
    with pytest.raises(BlobMissing):
        vault.open("media/1", KEY)
    await vault.store("media/2", KEY, pieces(b"small"))
