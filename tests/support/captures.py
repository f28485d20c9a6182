"""Hand captures and links in, and have them read and opened, in the process of a test."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import anyio.to_thread
import httpx

from deepfake_service.capture.browser import PageBrowser
from deepfake_service.capture.fetches import Fetches
from deepfake_service.capture.imports import Imports
from deepfake_service.capture.readers import CaptureReaders
from deepfake_service.capture.registries import Operator, Registries
from deepfake_service.capture.shapes import Confinement, Fetch, Limits
from deepfake_service.capture.warc import Budget, records
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.capture_format import CAPTURE, RECORDS
from deepfake_service.platform.enums import Role
from deepfake_service.platform.networks import CallbackHosts
from tests.support.fake_platform import FakePlatform
from tests.support.jobs import headers
from tests.support.stand_ins import do_due

# ``conftest.Service``; conftest modules cannot be imported.
Service = Any
WEEK = timedelta(days=7)


def worker(service: Service, readers: CaptureReaders, name: str = "worker-1") -> Imports:
    services = service.app.state.shared.services
    return Imports(
        service.database,
        services.vault,
        service.app.state.shared.services.disk,
        readers,
        services.evidence_store,
        services.submissions,
        executor_id=name,
        kept_for=WEEK,
    )


async def work(service: Service, readers: CaptureReaders) -> None:
    """Do what the worker's chore does once."""
    await anyio.to_thread.run_sync(do_due, worker(service, readers))


async def hand_in(
    service: Service,
    content: bytes | None = None,
    screenshots: tuple[bytes, ...] = (),
    role: Role = Role.ANALYST,
    **fields: str,
) -> httpx.Response:
    files = [("file", ("secret-name.wacz", content))] if content is not None else []
    files += [("screenshots", (f"{n}.png", shot)) for n, shot in enumerate(screenshots)]
    answer: httpx.Response = await service.client.post(
        "/v1/captures",
        files=files or None,
        data={"case_reference": "R", **fields},
        headers=headers(service, role),
    )
    return answer


async def get(service: Service, path: str, role: Role = Role.ANALYST) -> httpx.Response:
    answer: httpx.Response = await service.client.get(path, headers=headers(service, role))
    return answer


def fetch(operator: Operator | None = None, **post: str) -> Fetch:
    """Return what is recorded of a link that was opened, with what its page said of the post."""
    return Fetch(
        began_at="2026-03-01T10:00:00.000+00:00",
        ended_at="2026-03-01T10:00:09.000+00:00",
        vantage="KR",
        signed_in=False,
        end="captured",
        tools={"yt-dlp": "2026.10.26"},
        user_agent="Mozilla/5.0",
        post=post,
        confinement=Confinement(missing=[]),
        limits=Limits(bytes=100_000_000, seconds=300.0, connections=400, reached=None),
        connections=[],
        operator=operator,
        picture=None,
    )


def fetches_of(
    service: Service,
    platform: FakePlatform,
    name: str = "worker-1",
    registries: Registries | None = None,
    browser: PageBrowser | None = None,
) -> Fetches:
    """Return what a worker does with links; ``registries`` are asked whose a host is."""
    services = service.app.state.shared.services
    return Fetches(
        service.database,
        services.vault,
        services.disk,
        name,
        WEEK,
        "KR",
        registries,
        browser,
        CallbackHosts.of("127.0.0.1"),
        platform.authority,
    )


async def queue(service: Service, *urls: str, role: Role = Role.ANALYST, **fields: Any) -> Any:
    """Hand links in, and return the answer."""
    content = {"case_reference": "R", "urls": [{"url": url} for url in urls], **fields}
    return await service.client.post("/v1/links", json=content, headers=headers(service, role))


async def captured(
    service: Service,
    readers: CaptureReaders,
    platform: FakePlatform,
    *urls: str,
    registries: Registries | None = None,
    **fields: Any,
) -> list[dict[str, Any]]:
    """Queue links, do what the worker's chores do, and return the captures."""
    answer = await queue(service, *urls, **fields)
    assert answer.status_code == 202, answer.text
    await anyio.to_thread.run_sync(do_due, fetches_of(service, platform, registries=registries))
    await work(service, readers)
    found = []
    for link in answer.json()["links"]:
        shown = await service.client.get(
            f"/v1/captures/{link['id']}", headers=headers(service, fields.get("role", Role.ANALYST))
        )
        found.append(shown.json())
    return found


async def bundle_of(service: Service, capture: dict[str, Any]) -> bytes:
    """Return the signed bundle of a capture."""
    answer = await service.client.get(
        f"/v1/captures/{capture['id']}/bundle", headers=headers(service, Role.ANALYST)
    )
    assert answer.status_code == 200, answer.text
    content: bytes = answer.content
    return content


async def record_of(service: Service, capture: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return ``capture.json`` of a capture, and its text part, unpacked."""
    content = await bundle_of(service, capture)
    text = b"".join(
        b"".join([str(sorted(r.fields.items())).encode(), *r.block()])
        for r in records(io.BytesIO(bag.member(content, RECORDS)), Budget())
    )
    return json.loads(bag.member(content, CAPTURE)), text


async def play(service: Service, capture: dict[str, Any]) -> bytes:
    """Return the bytes of the first medium of a capture that is examined."""
    analyst = headers(service, Role.ANALYST)
    job = await service.client.get(f"/v1/jobs/{capture['media'][0]['job_id']}", headers=analyst)
    path = f"/v1/cases/{capture['case_id']}/media/{job.json()['media_id']}/content"
    answer = await service.client.get(path, headers=analyst)
    assert answer.status_code == 200, answer.text
    content: bytes = answer.content
    return content
