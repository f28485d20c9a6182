"""Answers that are being sent when the key or the session of their reader ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pyrage
import pytest
from fastapi import Request

from deepfake_service.http import auth
from deepfake_service.platform.db import KnownHashes, new_id
from deepfake_service.platform.enums import Role
from tests.support.jobs import headers, submit
from tests.unit.service.conftest import Service, Starter

Read = Callable[[Service, dict[str, Any]], Awaitable[httpx.Response]]


async def read_table(service: Service, _: dict[str, Any]) -> httpx.Response:
    """The client sends a valid key of another account as well, which opens no page."""
    await service.sign_in(Role.ANALYST)
    assert "Authorization" in service.client.headers
    return await service.client.get("/results.csv")


async def search_table(service: Service, _: dict[str, Any]) -> httpx.Response:
    """Nothing is found, which the end of the answer would say."""
    await submit(service, b"another")
    await service.sign_in(Role.ANALYST)
    return await service.client.get("/results.csv", params={"q": "nothing"})


async def read_medium(service: Service, job: dict[str, Any]) -> httpx.Response:
    path = f"/v1/cases/{job['case_id']}/media/{job['media_id']}/content"
    return await service.client.get(path, headers=headers(service, Role.ANALYST))


async def export(service: Service, job: dict[str, Any]) -> httpx.Response:
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    return await service.client.post(
        f"/v1/cases/{job['case_id']}/media/{job['media_id']}/export",
        json={"recipient": recipient},
        headers=headers(service, Role.ANALYST),
    )


async def read_hashes(service: Service, job: dict[str, Any]) -> httpx.Response:
    bank = service.app.state.shared.services.hash_bank
    jobs = [job, await submit(service, b"another"), await submit(service, b"a third")]
    with service.database.write() as session:
        for job in jobs:
            entry = KnownHashes(
                id=new_id(), case_id=job["case_id"], job_id=job["id"],
                created_at=service.clock(), expires_at=service.clock(),
            )  # fmt: skip
            bank.hashes.seal(entry, {"pdq": ["ab" * 32], "vpdq": []})
            session.add(entry)
    return await service.client.get("/v1/known-hashes", headers=headers(service, Role.ANALYST))


@pytest.mark.parametrize("read", [read_table, search_table, read_medium, export, read_hashes])
async def test_an_answer_is_cut_off_when_its_readers_key_is_revoked(
    start: Starter, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They went on to their end: a whole video, or the results of all cases."""
    monkeypatch.setattr(auth, "CHECKED_EVERY_S", 0.0)
    monkeypatch.setattr("deepfake_service.http.answers.PIECE_BYTES", 1024)
    still, checks = auth.check_still_authenticated, []

    async with start() as service:
        job = await submit(service, case_reference="R")
        reader = service.accounts.authenticate(service.keys[Role.ANALYST])

        def second(request: Request) -> None:
            checks.append(request)
            if len(checks) == 2:
                service.accounts.revoke(reader.key_id)
            still(request)

        monkeypatch.setattr(auth, "check_still_authenticated", second)
        with pytest.raises(AssertionError):  # of the transport: the answer has no end
            await read(service, job)
        assert len(checks) == 2
        exports = service.app.state.shared.settings.data_dir / "exports"
        assert not list(exports.glob("*"))


async def test_an_answer_to_a_valid_key_is_whole_and_checked_now_and_then(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.http.answers.PIECE_BYTES", 16)
    checks: list[Request] = []
    monkeypatch.setattr(auth, "check_still_authenticated", checks.append)
    answer = await read_medium(service, await submit(service))
    assert len(answer.content) == int(answer.headers["content-length"])
    assert len(checks) < len(answer.content) / 16 / 2
