"""Captured pages on the page of their case, in English and Korean."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from deepfake_service.capture.readers import CaptureReaders
from deepfake_service.platform.db import CapturedMedium
from deepfake_service.platform.enums import Role
from tests.support import archives
from tests.support.captures import hand_in, work
from tests.unit.service.conftest import Service

pytest.importorskip("warcio", reason="warcio writes the WARC files of these tests")
# warcio leaves temporary files open.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


async def test_a_captured_page_is_shown_and_its_pictures_are_chosen(
    service: Service, readers: CaptureReaders
) -> None:
    warc = archives.page().content()
    changed = archives.page().response("https://example.org/<b>", b"<b>", "text/plain").content()
    for content in (
        archives.wacz(warc, pages=[{"url": archives.PAGE, "title": "<b>", "ts": archives.AT}]),
        archives.wacz(warc, change={"archive/data.warc.gz": changed}),
        b"no archive",
    ):
        answer = await hand_in(service, content)
        assert answer.status_code == 202
    case_id, refused = answer.json()["case_id"], answer.json()["id"]
    service.client.headers.pop("Authorization", None)
    await service.sign_in(Role.ANALYST)
    waiting = await service.client.get(f"/cases/{case_id}", headers={"Accept-Language": "en"})
    assert waiting.text.count("It is being read.") == 3
    await work(service, readers)
    page = (await service.client.get(f"/cases/{case_id}", headers={"Accept-Language": "en"})).text
    assert "<b>" not in page
    assert "digests verified" in page
    assert "digests do not match" in page
    assert "Refused: It is no page (WACZ, WARC, MHTML), picture or video." in page
    assert page.count("Below the minimum of the Berkeley Protocol.") == 2
    assert "picture of the whole page with its address and the time." in page
    assert page.count('download="">') + page.count(" download>") >= 2
    korean = (await service.client.get(f"/cases/{case_id}", headers={"Accept-Language": "ko"})).text
    assert "버클리 프로토콜의 최소 기준에 미치지 못합니다." in korean
    assert "빠진 것: 주소와 시각이 보이는 페이지 전체 화면" in korean
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)
    action = re.search(r'action="(/cases/[^"]+/captures/[^"]+/examine)"', page)
    assert csrf
    assert action
    origin = {"Origin": str(service.client.base_url)}
    nothing = await service.client.post(action[1], data={"csrf": csrf[1]}, headers=origin)
    assert nothing.status_code == 422
    done = await service.client.post(
        action[1], data={"csrf": csrf[1], "media": ["1", "2"]}, headers=origin
    )
    assert done.status_code == 303, done.text
    with service.database.write() as session:
        session.scalars(select(CapturedMedium)).all()[0].failure = "failed"
    await work(service, readers)
    page = (await service.client.get(f"/cases/{case_id}", headers={"Accept-Language": "en"})).text
    assert page.count("examined as an item") == 1
    failed = re.search(r'name="media" value="(\d+)"[^<]*> <span class="bad">', page)
    assert failed
    again = {"csrf": csrf[1], "media": failed[1]}
    assert (await service.client.post(action[1], data=again, headers=origin)).status_code == 303
    await work(service, readers)
    page = (await service.client.get(f"/cases/{case_id}", headers={"Accept-Language": "en"})).text
    assert page.count("examined as an item") == 2
    assert f"/v1/captures/{refused}/bundle" not in page
