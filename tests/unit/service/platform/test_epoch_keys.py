"""Keys of an epoch: a deletion renews those of all other cases, and destroys its own."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from deepfake_service.platform.db import Case
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import DataDirError, DecryptionFailed
from deepfake_service.platform.storage import EpochKeys
from deepfake_service.platform.storage.envelope import MasterKeys, new_key
from tests.support.jobs import VIDEO, delete_case, headers, submit


async def test_a_deletion_renews_the_keys_of_all_other_cases_and_nothing_else_does(
    start: Any,
) -> None:
    async with start() as service:
        jobs = [await submit(service, VIDEO + bytes([n]), case_reference=str(n)) for n in range(3)]
        epochs = service.app.state.shared.services.key_epochs

        def prefixes() -> set[bytes]:
            with service.database.read() as session:
                wrapped = session.scalars(select(Case.wrapped_key)).all()
            return {(w or b"")[:16] for w in wrapped}

        first = prefixes()
        for _ in range(3):
            service.clock.advance(timedelta(days=2))
            epochs.advance()
        assert prefixes() == first
        assert (await delete_case(service, jobs[0])).status_code == 204
        epochs.advance()
        assert prefixes() != first
        service.clock.advance(timedelta(minutes=1))
        epochs.advance()
        renewed = prefixes()
        assert (await delete_case(service, jobs[1])).status_code == 204
        service.clock.advance(timedelta(hours=23, minutes=58))
        epochs.advance()
        assert prefixes() == renewed  # an epoch lasts a day
        service.clock.advance(timedelta(minutes=2))
        epochs.advance()
        assert prefixes().isdisjoint(renewed)
        assert (await service.client.get(f"/v1/cases/{jobs[2]['case_id']}")).status_code == 200


@pytest.mark.usefixtures("epochs_end_at_once")
async def test_a_case_key_that_does_not_unwrap_keeps_no_others_from_being_renewed(
    start: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async with start() as service:
        jobs = [await submit(service, VIDEO + bytes([n]), case_reference=str(n)) for n in range(3)]
        damaged, deleted, kept = (job["case_id"] for job in jobs)
        with service.database.write() as session:
            case = session.get_one(Case, damaged)
            assert case.wrapped_key is not None
            case.wrapped_key = before = case.wrapped_key[:-1] + bytes([case.wrapped_key[-1] ^ 1])
        assert (await delete_case(service, jobs[1])).status_code == 204
        epochs = service.app.state.shared.services.key_epochs
        for _ in range(2):
            epochs.advance()
        with service.database.read() as session:
            wrapped = {case.id: case.wrapped_key or b"" for case in session.scalars(select(Case))}
        assert deleted not in wrapped
        assert wrapped[damaged] == before
        assert wrapped[kept][:16] != before[:16]
        assert (await service.client.get(f"/v1/cases/{kept}")).status_code == 200
    assert "case_key_unreadable" in capsys.readouterr().out


async def test_a_service_does_not_start_without_its_epoch_keys(start: Any, tmp_path: Path) -> None:
    async with start() as service:
        job = await submit(service)
    folder = tmp_path / "var" / "epoch-keys"
    folder.rename(tmp_path / "kept")
    with pytest.raises(DataDirError, match="epoch"):
        async with start():
            pass
    shutil.rmtree(folder, ignore_errors=True)
    (tmp_path / "kept").rename(folder)
    async with start() as service:
        path = f"/v1/cases/{job['case_id']}/media/{job['media_id']}/content"
        answer = await service.client.get(path, headers=headers(service, Role.ADMIN))
        assert answer.content == VIDEO


def test_a_destroyed_epoch_key_is_not_on_the_disk_and_the_others_are(tmp_path: Path) -> None:
    master = MasterKeys(new_key())
    keys = EpochKeys(tmp_path / "epoch-keys", master)
    key = new_key()
    wrapped = keys.wrap(key, b"case-key/1")
    old = keys.current()
    file = keys.folder / old.id.hex()
    os.link(file, tmp_path / "blocks")  # what the file system keeps of it
    assert old.wrapped.hex() in file.read_text()
    keys.begin(7)
    again = keys.wrap(keys.unwrap(wrapped, b"case-key/1"), b"case-key/1")
    keys.destroy(old.id)
    assert old.wrapped.hex().encode() not in (tmp_path / "blocks").read_bytes()
    assert not file.exists()
    other = EpochKeys(keys.folder, master)  # as in another process
    assert other.unwrap(again, b"case-key/1") == key
    assert other.current().audit_number == 7
    for reader in (keys, other):
        with pytest.raises(DecryptionFailed):
            reader.unwrap(wrapped, b"case-key/1")
    with pytest.raises(ValueError, match="current"):
        keys.destroy(keys.current().id)
    assert {path.stat().st_mode & 0o777 for path in keys.folder.iterdir()} == {0o600}


def test_a_changed_master_key_loses_no_epoch(tmp_path: Path) -> None:
    old_master, master = new_key(), new_key()
    keys = EpochKeys(tmp_path / "epoch-keys", MasterKeys(old_master))
    wrapped = keys.wrap(b"k" * 32, b"c")
    before = keys.current()
    os.link(keys.folder / before.id.hex(), tmp_path / "blocks")
    moved = EpochKeys(keys.folder, MasterKeys(master, (old_master,)))
    assert (moved.rewrap(), moved.rewrap()) == ((1, []), (0, []))
    assert EpochKeys(keys.folder, MasterKeys(master)).unwrap(wrapped, b"c") == b"k" * 32
    assert before.wrapped.hex().encode() not in (tmp_path / "blocks").read_bytes()


def test_an_epoch_whose_master_key_is_lost_does_not_lock_the_others(tmp_path: Path) -> None:
    lost, old, master = new_key(), new_key(), new_key()
    first = EpochKeys(tmp_path / "epoch-keys", MasterKeys(lost))
    under_lost = first.wrap(b"k" * 32, b"c")
    # The next epoch begins under another master key, as after an incomplete rotation.
    second = EpochKeys(first.folder, MasterKeys(old))
    second.begin(0)
    wrapped = second.wrap(b"k" * 32, b"c")
    moved = EpochKeys(first.folder, MasterKeys(master, (old,)))
    assert moved.unwrap(wrapped, b"c") == b"k" * 32
    unreadable = [moved.ids()[0]]
    assert (moved.rewrap(), moved.rewrap()) == ((1, unreadable), (0, unreadable))
    alone = EpochKeys(first.folder, MasterKeys(master))
    assert alone.unwrap(wrapped, b"c") == b"k" * 32
    with pytest.raises(DecryptionFailed):
        alone.unwrap(under_lost, b"c")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    keys = EpochKeys(tmp_path / "epoch-keys", MasterKeys(new_key()))
    path = keys.folder / keys.current().id.hex()
    path.write_text("torn")
    with pytest.raises(DataDirError, match=path.name):
        keys.current()
