"""The page of a post, its line in the case, and the lists of notices by what became of posts."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from deepfake_service.platform.enums import LookResult, Role
from tests.support.looking import reported, saw, sent
from tests.unit.service.conftest import Service


@pytest.fixture
async def followed(service: Service) -> dict[str, Any]:
    """A post of a notice that was sent, as a signed-in submitter sees it in English."""
    case_id, (post,) = await reported(service, "https://video.example/<b>v")
    notice = await sent(service, case_id, [post])
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.PIPELINE)
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])

    def look(result: LookResult, after_h: float, **values: Any) -> None:
        service.clock.advance(timedelta(hours=after_h))
        service.app.state.shared.services.looks.record_for(
            caller, case_id, post, saw(service, result, **values)
        )

    return {"case_id": case_id, "post": post, "notice": notice, "look": look}


async def shown(service: Service, address: str) -> str:
    await service.sign_in(Role.PIPELINE)  # a session ends while days pass
    answer = await service.client.get(address)
    assert answer.status_code == 200, answer.text
    assert "<b>" not in answer.text
    return str(answer.text)


async def test_a_case_shows_the_way_of_each_post(
    service: Service, followed: dict[str, Any]
) -> None:
    address = f"/cases/{followed['case_id']}"
    page = await shown(service, address)
    assert "notice sent" in page
    assert "not yet checked for removal" in page
    assert "seen" not in page.partition('id="seen"')[2].partition("What became of it")[0]
    assert re.search(r"no time of capture \(recorded <time[^>]*>[^<]*</time>\)", page)
    assert re.search(r"video\.example/[^<]*</bdi> <button[^>]* data-copy", page)
    followed["look"](LookResult.UP, 1)
    followed["look"](LookResult.GONE, 1)
    followed["look"](LookResult.GONE, 2)
    page = await shown(service, address)
    assert "3 looks: gone (strong sign)" in page
    assert page.index("gone since") < page.index("notice sent")  # what counts comes first
    assert f'href="{address}/posts/{followed["post"]}"' in page


async def test_the_page_of_a_post_lists_its_looks(
    service: Service, followed: dict[str, Any]
) -> None:
    followed["look"](LookResult.RESTRICTED, 1, note="<b>my phone", screenshot=b"\x89PNG\r\n\x1a\n0")
    page = await shown(service, f"/cases/{followed['case_id']}/posts/{followed['post']}")
    assert "&lt;b&gt;my phone" in page
    assert "restricted or private (strong sign)" in page
    assert "/screenshot" in page
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    (name,) = (a.name for a in service.accounts.all() if a.id == caller.account_id)
    assert f'<td data-label="Made by"><bdi>{name}</bdi></td>' in page
    assert re.search(r"video\.example/[^<]*</bdi> <button[^>]* data-copy", page)
    assert "no time of capture (recorded" in page
    assert "Look now" not in page  # the service sends no requests
    other = await service.client.get(f"/cases/{followed['case_id']}/posts/nothing")
    assert other.status_code == 404


async def test_what_is_gone_is_proposed_and_what_returns_is_an_alarm(
    service: Service, followed: dict[str, Any]
) -> None:
    service.clock.advance(timedelta(hours=50))
    page = await shown(service, "/notices?part=overdue")
    assert followed["notice"]["id"] in page
    assert "past its deadline" in await shown(service, f"/cases/{followed['case_id']}")
    followed["look"](LookResult.GONE, 1)
    followed["look"](LookResult.GONE, 2)
    assert followed["notice"]["id"] not in await shown(service, "/notices?part=overdue")
    assert "all posts are gone" in await shown(service, "/notices")
    notice = await shown(service, f"/notices/{followed['notice']['id']}")
    assert "Looks found all posts of this notice gone" in notice
    assert '<option value="removed" selected>' in notice
    followed["look"](LookResult.UP, 2)
    notice = await shown(service, f"/notices/{followed['notice']['id']}")
    assert '<option value="removed" selected>' not in notice
    page = await shown(service, "/notices")
    assert 'aria-labelledby="returned"' in page
    assert "is there again" in await shown(service, f"/notices/{followed['notice']['id']}")
    assert followed["notice"]["id"] in await shown(service, "/notices?part=overdue")


async def test_the_next_notice_is_about_the_posts_that_are_still_there(service: Service) -> None:
    case_id, (gone, stays) = await reported(
        service, "https://video.example/1", "https://video.example/2"
    )
    notice = await sent(service, case_id, [gone, stays])
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    looks = service.app.state.shared.services.looks
    for post, result in ((gone, LookResult.GONE), (gone, LookResult.GONE), (stays, LookResult.UP)):
        service.clock.advance(timedelta(hours=2))
        looks.record_for(caller, case_id, post, saw(service, result))
    service.client.headers["Accept-Language"] = "en"
    address = f"/cases/{case_id}/notices/us-ftc?after={notice['id']}"
    assert address in await shown(service, f"/notices/{notice['id']}")
    form = await shown(service, address)
    assert re.findall(r'name="occurrences" value="(\w+)"\s+checked', form) == [stays]
    assert "still there at look" in form


async def test_a_look_can_be_asked_for_where_the_service_looks(start: Any, tmp_path: Any) -> None:
    async with start(looks_from="KR") as service:
        case_id, (post,) = await reported(service, "https://video.example/v/1")
        await sent(service, case_id, [post])
        service.client.headers["Accept-Language"] = "en"
        await service.sign_in(Role.PIPELINE)
        address = f"/cases/{case_id}/posts/{post}"
        page = await shown(service, address)
        assert "Look now" in page
        csrf = page.partition('name="csrf" content="')[2].partition('"')[0]
        answer = await service.client.post(f"{address}/look", data={"csrf": csrf})
        assert answer.status_code == 303
        line = (await service.client.get(f"/v1/cases/{case_id}/occurrences/{post}/looks")).json()
        assert line["post"]["next_look_at"] <= service.clock().isoformat()


async def test_where_the_service_does_not_look_no_next_look_is_announced(
    service: Service, followed: dict[str, Any]
) -> None:
    headers = {"Authorization": f"Bearer {service.keys[Role.PIPELINE]}"}
    place = f"/v1/cases/{followed['case_id']}/occurrences/{followed['post']}/looks"
    line = (await service.client.get(place, headers=headers)).json()
    assert (line["post"]["state"], line["post"]["next_look_at"]) == ("not_looked", None)


async def test_looks_are_recorded_through_the_api(
    service: Service, followed: dict[str, Any]
) -> None:
    place = f"/v1/cases/{followed['case_id']}/occurrences/{followed['post']}/looks"
    headers = {"Authorization": f"Bearer {service.keys[Role.PIPELINE]}"}
    picture = ("s.png", b"\x89PNG\r\n\x1a\n" + b"0" * 60, "image/png")

    async def post(files: Any) -> Any:
        return await service.client.post(place, files=files, headers=headers)

    made = await post({"result": (None, "gone"), "note": (None, "404"), "screenshot": picture})
    assert made.status_code == 201, made.text
    look = made.json()["looks"][0]
    assert (look["result"], look["note"], look["screenshot"]) == ("gone", "404", True)
    read = await service.client.get(f"{place}/{look['id']}/screenshot", headers=headers)
    assert read.content == picture[1]
    for wrong, status in (
        ({"result": (None, "removed")}, 422),
        ({"note": (None, "x")}, 422),
        ({"screenshot": picture}, 422),
        ({"result": (None, "gone"), "screenshot": ("s.html", b"<html>", "text/html")}, 422),
        ({"result": (None, "up"), "screenshot": picture}, 422),
        ({"result": (None, "gone"), "seen_at": (None, "2100-01-01T00:00:00Z")}, 422),
        ({"note": (None, "")}, 409),
    ):
        answer = await post(wrong)
        assert answer.status_code == status, (wrong, answer.text)
