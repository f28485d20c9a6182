"""What was deleted cannot be carved from the disk."""

from __future__ import annotations

import base64
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from deepfake_service.platform.db import Database
from deepfake_service.platform.db.sqlite import overwrite_log
from deepfake_service.platform.enums import Role
from tests.support.carving import carve_case_keys, carve_media, image_of, loop_mount
from tests.support.jobs import VIDEO, all_entries, headers, submit


@pytest.fixture(autouse=True)
def small_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the service store on disks as small as those of these tests."""
    monkeypatch.setattr("deepfake_service.platform.disk_space.MIN_FREE_BYTES", 0)


@pytest.mark.usefixtures("epochs_end_at_once")
async def test_a_shredded_case_cannot_be_carved_from_the_disk(start: Any, tmp_path: Path) -> None:
    with loop_mount(tmp_path) as (image, mounted):
        (tmp_path / "var").symlink_to(mounted / "var")
        (mounted / "var").mkdir()
        async with start() as service:
            kept = await submit(service, VIDEO + b"of another case", case_reference="KEPT")
            job = await submit(service, case_reference="SHRED-ME")
            shot = {"screenshot": ("s.png", b"\x89PNG\r\n\x1a\n" + bytes(100))}
            path = f"/v1/cases/{job['case_id']}/occurrences"
            answer = await service.client.post(path, data={"note": "her name"}, files=shot)
            assert answer.status_code == 201
        # SQLite has deleted its log, in which the wrapped keys were.
        master_key = base64.b64decode((mounted / "var" / "master-key").read_text())
        before = image_of(image, mounted)
        keys = carve_case_keys(before, master_key, job["case_id"])
        assert len(keys) == 1
        assert carve_media(before, keys, job["media_id"], len(VIDEO)) == VIDEO
        async with start() as service:
            await service.client.delete(
                f"/v1/cases/{job['case_id']}", headers=headers(service, Role.ADMIN)
            )
            epochs = service.app.state.shared.services.key_epochs
            for _ in range(2):  # two sweeps
                epochs.advance()
            after = image_of(image, mounted)
            assert not carve_case_keys(after, master_key, job["case_id"])
            assert len(carve_case_keys(after, master_key, kept["case_id"])) == 1
            assert any(e.action == "case_keys.renewed" for e in all_entries(service))
            content = await service.client.get(
                f"/v1/cases/{kept['case_id']}/media/{kept['media_id']}/content",
                headers=headers(service, Role.ADMIN),
            )
            assert content.content == VIDEO + b"of another case"
        assert not carve_case_keys(image_of(image, mounted), master_key, job["case_id"])


@pytest.mark.usefixtures("epochs_end_at_once")
async def test_what_the_last_item_of_a_case_leaves_cannot_be_carved_from_the_disk(
    start: Any, tmp_path: Path
) -> None:
    with loop_mount(tmp_path) as (image, mounted):
        (tmp_path / "var").symlink_to(mounted / "var")
        (mounted / "var").mkdir()
        async with start() as service:
            job = await submit(service, case_reference="STAYS")
        master_key = base64.b64decode((mounted / "var" / "master-key").read_text())
        before = image_of(image, mounted)
        keys = carve_case_keys(before, master_key, job["case_id"])
        assert carve_media(before, keys, job["media_id"], len(VIDEO)) == VIDEO
        async with start() as service:
            path = f"/v1/jobs/{job['id']}"
            deleted = await service.client.delete(path, headers=headers(service, Role.ADMIN))
            assert deleted.status_code == 204
            epochs = service.app.state.shared.services.key_epochs
            for _ in range(2):
                epochs.advance()
            after = image_of(image, mounted)
            left = carve_case_keys(after, master_key, job["case_id"])
            assert len(left) == 1
            assert not left & keys
            path = f"/v1/cases/{job['case_id']}"
            case = (await service.client.get(path, headers=headers(service, Role.ADMIN))).json()
            assert case["case_reference"] == "STAYS"


def test_the_log_is_overwritten_before_it_is_truncated(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'records.sqlite'}")
    marker = b"a wrapped key that was deleted"
    path, log = tmp_path / "records.sqlite", tmp_path / "records.sqlite-wal"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("CREATE TABLE scratch (content BLOB)")
        for _ in range(300):
            connection.execute("INSERT INTO scratch VALUES (?)", (marker * 100,))
        connection.execute("DELETE FROM scratch")
        assert marker in log.read_bytes()
        connection.execute("PRAGMA wal_checkpoint(RESTART)")
        overwrite_log(connection, path)
        assert marker not in log.read_bytes()
        assert marker not in path.read_bytes()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("INSERT INTO scratch VALUES ('after')")
        database.purge_deleted()
        assert not log.stat().st_size
        assert connection.execute("SELECT content FROM scratch").fetchall() == [("after",)]
    database.close()
