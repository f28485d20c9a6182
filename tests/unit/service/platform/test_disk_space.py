"""Space on the disk: what needs it is refused without it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyrage
import pytest
from pydantic import SecretStr

from deepfake_service.platform import disk_space
from deepfake_service.platform.db import Job
from deepfake_service.platform.disk_space import DiskSpace
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import Overloaded
from deepfake_service.platform.settings import Settings
from tests.support.answers import check_problem
from tests.support.jobs import VIDEO, headers, submit
from tests.unit.service.conftest import Service, Starter

PICTURE = b"still 1 120"


async def export(service: Service, job: dict[str, Any]) -> httpx.Response:
    answer: httpx.Response = await service.client.post(
        f"/v1/cases/{job['case_id']}/media/{job['media_id']}/export",
        json={"recipient": str(pyrage.x25519.Identity.generate().to_public())},
        headers=headers(service, Role.ANALYST),
    )
    return answer


async def test_an_export_needs_space_beyond_what_must_stay_free(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await submit(service)
    must_stay = disk_space.MIN_FREE_BYTES
    for beyond, status in ((100, 503), (2**20, 200)):
        free = must_stay + beyond
        monkeypatch.setattr(DiskSpace, "free_bytes", lambda _, free=free: free)
        assert (await export(service, job)).status_code == status
    folder = service.app.state.shared.settings.data_dir / "exports"
    assert not list(folder.glob("*"))


def test_a_small_data_directory_refuses_exports_alone_where_all_else_is_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        data_dir=tmp_path, database_url=SecretStr("postgresql://h/d"), blob_url="s3://bucket"
    )
    disk = DiskSpace(settings)
    monkeypatch.setattr(DiskSpace, "free_bytes", lambda _: 2**30)
    assert disk.has_room(2**31)
    disk.require(2**31)
    with pytest.raises(Overloaded, match="disk"):
        disk.require(2**31, exporting=True)


async def test_pictures_of_a_case_are_refused_while_the_disk_is_nearly_full(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_space, "MIN_FREE_BYTES", 10**18)
    async with start() as service:
        assert (await service.post(PICTURE)).status_code == 200, "nothing is stored"
        answer = await service.post(PICTURE, data={"case_reference": "R"})
        assert answer.status_code == 503
        assert "nearly full" in answer.json()["detail"]
        with service.database.read() as session:
            assert session.query(Job).count() == 0


async def test_a_client_is_not_asked_to_send_its_file_again_every_two_seconds(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_space, "MIN_FREE_BYTES", 10**18)
    async with start() as service:
        files = {"file": ("v.mp4", VIDEO)}
        answers = [await service.client.post("/v1/videos", files=files) for _ in range(2)]
    for answer in answers:
        check_problem(answer, 503, "disk_full")
        assert answer.headers["Retry-After"] == "60"
    # ``deepfake submit`` says once why it waits: the text must not change with the free space.
    assert len({answer.json()["detail"] for answer in answers}) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB, which only root may mount."""
    folder = tmp_path / "var"  # where the service has its data
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk, where mounting is allowed")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(("is_held", "status"), [(True, 204), (False, 503)])
async def test_a_case_can_be_deleted_on_a_full_disk_by_what_was_held_in_reserve(
    start: Starter,
    small_disk: Path,
    is_held: bool,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disk_space, "MIN_FREE_BYTES", 0)
    async with start() as service:
        job = await submit(service)
        path, by = f"/v1/cases/{job['case_id']}", headers(service, Role.ADMIN)
        service.database.purge_deleted()
        reserve = small_disk / "records.sqlite-reserve"
        if not is_held:
            reserve.unlink()
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        answers = [await service.client.delete(path, headers=by) for _ in range(2)]
        assert status in [answer.status_code for answer in answers]
        found = (await service.client.get(path, headers=by)).status_code
        assert found == (404 if is_held else 503)
        filler.unlink()
        service.database.purge_deleted()
    assert reserve.exists()
