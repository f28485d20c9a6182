"""The page of a case: which file each row, each post and each choice is about."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import text

from deepfake_service.platform.db import Listing
from deepfake_service.platform.enums import Role
from tests.support.jobs import VIDEO
from tests.unit.service.conftest import Service


@pytest.fixture
async def named(service: Service) -> dict[str, dict[str, Any]]:
    """Return the jobs of two files of one case by their names, for a signed-in analyst."""
    jobs = {}
    for number, name in enumerate(("시위 현장.mp4", "<b>&.png")):
        answer = await service.client.post(
            "/v1/videos",
            files={"file": (name, VIDEO + bytes([number]))},
            data={"case_reference": "R", "source_url": f"https://example.org/{number}"},
            headers={"Authorization": f"Bearer {service.keys[Role.ANALYST]}"},
        )
        assert answer.is_success, answer.text
        jobs[name] = answer.json()
    service.client.headers.pop("Authorization", None)
    await service.sign_in(Role.ANALYST)
    return jobs


async def case_page(service: Service, jobs: dict[str, dict[str, Any]]) -> str:
    (case_id,) = {job["case_id"] for job in jobs.values()}
    answer = await service.client.get(f"/cases/{case_id}", headers={"Accept-Language": "en"})
    assert answer.status_code == 200
    return str(answer.text)


async def test_items_posts_and_choices_name_their_file(
    service: Service, named: dict[str, dict[str, Any]]
) -> None:
    page = await case_page(service, named)
    assert "<b>" not in page
    # A record of a post never changes, so nobody is to attach it to the first file by mistake.
    assert '<select id="media_id" name="media_id" required><option value="">' in page
    for number, (name, job) in enumerate(named.items()):
        shown = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        link = f'<a href="/items/{job["id"]}"><bdi class="free">{shown}</bdi></a>'
        assert page.count(link) == 1
        option = re.search(rf'<option value="{job["media_id"]}">([^<]*)</option>', page)
        assert option
        assert option[1].startswith(f"{shown} · ")
        assert option[1].endswith(f" · {job['sha256'][:8]}")
        post = re.search(rf"<li>.*?example\.org/{number}<.*?</li>", page)
        assert post
        assert f'File: <bdi class="free">{shown}</bdi>' in post[0]


async def test_a_file_whose_name_was_altered_is_called_by_its_digest(
    service: Service, named: dict[str, dict[str, Any]]
) -> None:
    job = next(iter(named.values()))
    with service.database.write() as session:
        session.execute(
            text(f"UPDATE {Listing.__tablename__} SET sealed = :sealed WHERE id = :id"),
            {"sealed": b"altered", "id": job["id"]},
        )
    page = await case_page(service, named)
    assert f'<bdi class="free">{job["sha256"][:12]}</bdi></a>' in page


async def test_notices_in_the_readers_language_are_offered_first(
    service: Service, named: dict[str, dict[str, Any]]
) -> None:
    case_id = named["<b>&.png"]["case_id"]
    for language, first in (("ko", "kr-tba-22-5"), ("en", "eu-dsa-16")):
        service.client.headers["Accept-Language"] = language
        page = (await service.client.get(f"/cases/{case_id}")).text
        assert re.findall(r'/notices/([\w-]+)"', page)[0] == first
