"""The whole way of three links: captured, examined, reviewed, noticed, looked at, and counted.

One is removed, one stays up and is escalated, and one returns.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from deepfake_service.capture.readers import CaptureReaders
from deepfake_service.platform.db.enums import Role, WatchState
from deepfake_service.platform.pages import Pages
from tests.support import exhibits
from tests.support.captures import captured
from tests.support.fake_platform import FakePlatform, shows, status
from tests.support.fake_posts import clip, says_post
from tests.support.jobs import decide, end
from tests.support.looking import lane_of, pass_time, sent, watch_of
from tests.support.notices import GOOD, updated
from tests.unit.service.conftest import Service, Starter

pytest.importorskip("yt_dlp", reason="the extra capture-link is not installed")


async def read(service: Service, path: str) -> dict[str, Any]:
    answer = await service.client.get(path)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.slow
async def test_three_posts_on_their_way(
    start: Starter,
    platform: FakePlatform,
    pages: Pages,
    readers: CaptureReaders,
) -> None:
    async with start(looks_from="KR", capture_links=True) as service:
        paths = ["/v/100001", "/v/200002", "/v/300003"]
        copied, other = exhibits.video(), clip()
        urls = [
            says_post(platform, path, video)
            for path, video in zip(paths, (copied, other, copied), strict=True)
        ]
        captures = await captured(service, readers, platform, *urls, role=Role.PIPELINE)
        assert [each["state"] for each in captures] == ["captured"] * 3
        case_id = captures[0]["case_id"]
        jobs = [each["media"][0]["job_id"] for each in captures]
        assert jobs[0] == jobs[2] != jobs[1], "a copy at another link is the same item"
        for job, video in zip(jobs[:2], (copied, other), strict=True):
            end(service, job, exhibits.material(video))
            assert (await read(service, f"/v1/jobs/{job}"))["result"]["verdict"]
            assert (await decide(service, {"id": job}, "confirmed")).is_success

        seen = (await read(service, f"/v1/cases/{case_id}/occurrences"))["occurrences"]
        by_url = {each["source_url"]: each["id"] for each in seen}
        removed, stays, returns = (by_url[url] for url in urls)
        assert {each["state"] for each in await lines(service, case_id, by_url.values())} == {None}

        notice = await sent(service, case_id, [removed, stays, returns])
        lane = lane_of(service, pages)
        pass_time(service, lane, 4)
        assert {s["state"] for s in await lines(service, case_id, by_url.values())} == {"up"}

        platform.says(paths[0], status(404, "<title>Not found</title>"))
        pass_time(service, lane, 9)
        platform.says(paths[2], status(410))
        pass_time(service, lane, 40)
        assert watch_of(service, removed).state is WatchState.GONE
        assert watch_of(service, returns).state is WatchState.GONE
        (late,) = (await read(service, "/v1/notices/overdue"))["notices"]
        assert late["id"] == notice["id"]

        says_post(platform, paths[2], copied)
        pass_time(service, lane, 30)
        assert watch_of(service, returns).state is WatchState.RETURNED
        await service.sign_in(Role.PIPELINE)
        assert 'class="card alarm"' in (await service.client.get("/notices")).text
        platform.others = shows("<title>Page not found</title>")
        platform.says(paths[2], platform.others)
        pass_time(service, lane, 24 * 4, step_h=0.5)
        assert watch_of(service, returns).state is WatchState.GONE

        service.client.headers["Accept-Language"] = "en"
        await service.sign_in(Role.PIPELINE)
        page = (await service.client.get(f"/notices/{notice['id']}")).text
        address = f"/cases/{case_id}/notices/us-ftc?after={notice['id']}"
        assert address in page
        form = (await service.client.get(address)).text
        assert re.search(rf'value="{stays}"\s+checked', form)
        assert not re.search(rf'value="{removed}"\s+checked', form)
        assert "still there at look" in form
        content = {
            "kind": "us-ftc", "language": "en", "occurrence_ids": [stays],
            "fields": GOOD["us-ftc"], "recipient": "Federal Trade Commission",
        }  # fmt: skip
        made = await service.client.post(
            f"/v1/cases/{case_id}/notices",
            json=content,
            headers={"Authorization": f"Bearer {service.keys[Role.PIPELINE]}"},
        )
        assert made.status_code == 201, made.text
        await updated(service, made.json()["id"], sent_at=service.clock().isoformat())
        platform.says(paths[1], status(410))
        pass_time(service, lane, 30, step_h=0.5)
        lane.close()

        first = await read(service, f"/v1/notices/{notice['id']}")
        assert first["gone_at"] is not None
        assert first["state"] == "sent"  # until a person confirms it
        for each in (notice["id"], made.json()["id"]):
            assert (await updated(service, each, outcome="removed"))["state"] == "removed"
        found = await read(service, "/v1/statistics/removals?by=kind")
        assert found["total"]["counts"]["sent"] == 4
        assert found["total"]["counts"]["removed"] == 4
        assert found["total"]["counts"]["returned"] == 1
        assert found["total"]["counts"]["past_deadline"] >= 2
        assert found["total"]["median_h"] > 1
        service.clock.advance(timedelta(seconds=1))


async def lines(service: Service, case_id: str, posts: Any) -> list[dict[str, Any]]:
    return [
        (await read(service, f"/v1/cases/{case_id}/occurrences/{each}/looks"))["post"]
        for each in posts
    ]
