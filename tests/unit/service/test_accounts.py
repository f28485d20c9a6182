from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from deepfake_service.accounts import (
    ADMIN_KEY_FILE,
    ENVIRONMENT_ID,
    KEY_FILE,
    MAX_KEY_CHARS,
    MAY_SUBMIT,
    FileKeyStore,
    FirstKey,
    Role,
    authenticate,
    authorize,
    create_key,
    ensure_admin_key,
)
from deepfake_service.errors import Forbidden, KeyStoreError, NotAuthenticated
from deepfake_service.settings import Settings

CHOSEN = "correct-horse-battery-staple"


@pytest.fixture
def store(tmp_path: Path) -> FileKeyStore:
    return FileKeyStore(tmp_path / "var")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "var")


def _with(settings: Settings, key: str) -> Settings:
    return settings.model_copy(update={"admin_key": SecretStr(key)})


def test_a_key_is_known_by_its_text_alone(store: FileKeyStore) -> None:
    new = create_key(store, Role.PIPELINE)
    assert new.text.startswith(f"dfk_{new.key.id}_")
    assert authenticate(store, new.text) == new.key
    assert new.text not in repr(new)


def test_only_the_hash_is_kept(store: FileKeyStore, tmp_path: Path) -> None:
    new = create_key(store, Role.ADMIN)
    path = tmp_path / "var" / KEY_FILE
    written = path.read_text()
    assert new.text.rpartition("_")[2] not in written
    assert json.loads(written)["keys"][0]["sha256"] == new.key.sha256
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(p.name for p in path.parent.iterdir()) == [KEY_FILE, "keys.lock"]


@pytest.mark.parametrize("change", ["secret", "id", "case", "short", "long", "empty", "huge"])
def test_every_other_text_is_refused_alike(store: FileKeyStore, change: str) -> None:
    text = create_key(store, Role.ADMIN).text
    other = create_key(store, Role.ADMIN).text
    last = "A" if text[-1] != "A" else "B"
    wrong = {
        "secret": text[:-1] + last,
        "id": other[:17] + text[17:],
        "case": text.upper(),
        "short": text[:-1],
        "long": text + "A",
        "empty": "",
        "huge": "A" * (MAX_KEY_CHARS + 1),
    }[change]
    with pytest.raises(NotAuthenticated) as caught:
        authenticate(store, wrong)
    assert caught.value.message == NotAuthenticated().message


def test_a_key_removed_elsewhere_stops_working_at_once(tmp_path: Path) -> None:
    here, elsewhere = FileKeyStore(tmp_path), FileKeyStore(tmp_path)
    new = create_key(here, Role.ANALYST)
    assert authenticate(elsewhere, new.text).role is Role.ANALYST
    assert elsewhere.remove(new.key.id)
    assert not elsewhere.remove(new.key.id)
    with pytest.raises(NotAuthenticated):
        authenticate(here, new.text)


_CREATE_TEN = """
import sys, pathlib
from deepfake_service.accounts import FileKeyStore, Role, create_key
store = FileKeyStore(pathlib.Path(sys.argv[1]))
for _ in range(10):
    create_key(store, Role.PIPELINE)
"""


def test_processes_that_write_at_once_lose_no_key(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", _CREATE_TEN, str(tmp_path)]
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [p.wait(60) for p in processes] == [0, 0, 0]
    assert len(FileKeyStore(tmp_path).all()) == 30


@pytest.mark.parametrize("content", ["", "{", '{"keys": [{"id": "a"}]}', '{"format_version": 2}'])
def test_a_damaged_store_is_an_error_and_not_an_empty_store(
    store: FileKeyStore, tmp_path: Path, content: str
) -> None:
    new = create_key(store, Role.ADMIN)
    (tmp_path / "var" / KEY_FILE).write_text(content)
    with pytest.raises(KeyStoreError, match=KEY_FILE):
        authenticate(store, new.text)
    with pytest.raises(KeyStoreError):
        create_key(store, Role.ADMIN)
    assert (tmp_path / "var" / KEY_FILE).read_text() == content


def test_a_data_directory_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyStoreError, match="data directory"):
        FileKeyStore(tmp_path / "file" / "var")


def test_only_submitting_roles_submit(store: FileKeyStore) -> None:
    for role in Role:
        key = create_key(store, role).key
        if role is Role.AUDITOR:
            with pytest.raises(Forbidden):
                authorize(key, MAY_SUBMIT)
        else:
            authorize(key, MAY_SUBMIT)


def test_the_first_start_on_a_terminal_shows_a_key_once(
    store: FileKeyStore, settings: Settings
) -> None:
    first = ensure_admin_key(store, settings, terminal=True)
    assert first is not None
    assert first.text is not None
    assert authenticate(store, first.text).role is Role.ADMIN
    assert not (settings.data_dir / ADMIN_KEY_FILE).exists()
    assert ensure_admin_key(store, settings, terminal=True) is None
    assert first.text not in repr(first)


def test_the_first_start_without_a_terminal_writes_a_key_file(
    store: FileKeyStore, settings: Settings
) -> None:
    first = ensure_admin_key(store, settings, terminal=False)
    assert first == FirstKey(None, settings.data_dir / ADMIN_KEY_FILE)
    path = settings.data_dir / ADMIN_KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert authenticate(store, path.read_text().strip()).role is Role.ADMIN


def test_the_environment_sets_replaces_and_withdraws_its_key(
    store: FileKeyStore, settings: Settings
) -> None:
    assert ensure_admin_key(store, _with(settings, CHOSEN), terminal=False) is None
    key = authenticate(store, CHOSEN)
    assert (key.id, key.role) == (ENVIRONMENT_ID, Role.ADMIN)
    assert CHOSEN not in (settings.data_dir / KEY_FILE).read_text()
    assert ensure_admin_key(store, _with(settings, CHOSEN), terminal=False) is None
    assert authenticate(store, CHOSEN) == key

    ensure_admin_key(store, _with(settings, CHOSEN + "2"), terminal=False)
    with pytest.raises(NotAuthenticated):
        authenticate(store, CHOSEN)
    assert authenticate(store, CHOSEN + "2").id == ENVIRONMENT_ID
    assert len(store.all()) == 1

    first = ensure_admin_key(store, settings, terminal=True)
    assert first is not None
    with pytest.raises(NotAuthenticated):
        authenticate(store, CHOSEN + "2")


def test_an_environment_key_may_have_the_form_of_a_made_one(
    store: FileKeyStore, settings: Settings, tmp_path: Path
) -> None:
    text = create_key(FileKeyStore(tmp_path / "other"), Role.ADMIN).text
    ensure_admin_key(store, _with(settings, text), terminal=False)
    assert authenticate(store, text).id == ENVIRONMENT_ID


def test_hashes_are_compared_in_constant_time(
    store: FileKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def watched(a: str, b: str) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr("deepfake_service.accounts.hmac.compare_digest", watched)
    with pytest.raises(NotAuthenticated):
        authenticate(store, "dfk_" + "0" * 12 + "_" + "A" * 43)
    ((given, expected),) = compared
    assert len(given) == len(expected) == 64
