"""What ``/v1/frames`` answers, its errors included, with a small scorer in place of the model."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from deepfake_service.platform.enums import Role
from tests.support.answers import MODEL, check_problem, one_file
from tests.unit.service.conftest import Service, Starter


async def test_pictures_are_answered_in_order_and_in_the_published_form(service: Service) -> None:
    contents = [b"still 1 120", b"still 0 0", b"still 2 80"]
    response = await service.post(*contents)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    body = response.json()
    assert list(body) == ["frames", "model"]
    assert body["model"] == MODEL
    assert [f["name"] for f in body["frames"]] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [f["sha256"] for f in body["frames"]] == [
        hashlib.sha256(c).hexdigest() for c in contents
    ]
    first, second, third = body["frames"]
    assert list(first) == [
        "name", "sha256", "verdict", "examined", "score", "log_likelihood_ratio", "reasons",
        "faces", "job_id",
    ]  # fmt: skip
    assert first["verdict"] == "likely_manipulated"
    assert [f["examined"] for f in (first, second)] == [["face"], []]
    assert first["score"] == pytest.approx(0.8808, abs=1e-4)
    assert first["log_likelihood_ratio"] == pytest.approx(0.8686, abs=1e-4)
    assert first["faces"] == [
        {
            "box": [0.0, 0.0, 50.0, 60.0],
            "confidence": 0.99,
            "score": first["score"],
            "log_likelihood_ratio": first["log_likelihood_ratio"],
            "verdict": "likely_manipulated",
            "quality": {"face_px": 50.0, "sharpness": 1.0, "blockiness": 1.0, "exposure": 0.5},
            "reasons": [],
        }
    ]
    assert second["verdict"] == "not_applicable"
    assert second["score"] is None
    assert second["log_likelihood_ratio"] is None
    assert second["reasons"][0]["code"] == "no_face"
    assert second["faces"] == []
    assert third["verdict"] == "no_manipulation_found"
    assert len(third["faces"]) == 2


BAD: list[tuple[bytes, str]] = [
    (b"", "undecodable"),
    (b"noise", "undecodable"),
    (b"torn", "undecodable"),
    (b"moving", "not_a_picture"),
]


async def test_one_bad_picture_spoils_no_other(service: Service) -> None:
    for bad, code in BAD:
        body = (await service.post(b"still 1 120", bad, b"still 1 80")).json()
        assert [f["verdict"] for f in body["frames"]] == [
            "likely_manipulated", "unable_to_evaluate", "no_manipulation_found"
        ]  # fmt: skip
        middle = body["frames"][1]
        assert middle["score"] is None
        assert [r["code"] for r in middle["reasons"]] == [code]
        assert middle["reasons"][0]["detail"]


async def test_concurrent_requests_get_their_own_scores(start: Starter) -> None:
    async with start(jobs_at_once=2) as service:
        calls = [service.post(f"still 1 {90 + i}".encode()) for i in range(8)]
        answers = await asyncio.gather(*calls)
    scores = [a.json()["frames"][0]["score"] for a in answers]
    assert scores == sorted(scores)
    assert len(set(scores)) == 8


async def test_names_are_cleaned(service: Service) -> None:
    files = {"files": ("C:\\x\\\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe", b"still 0 0")}
    response = await service.client.post("/v1/frames", files=files)
    assert response.json()["frames"][0]["name"] == "gpj.exe"


FORM = "multipart/form-data"
ERRORS: list[tuple[tuple[str, str, dict[str, Any]], int, str]] = [
    (("GET", "/nowhere", {}), 404, "not_found"),
    (("GET", "/v1/frames/", {}), 404, "not_found"),
    (("GET", "/redoc", {}), 404, "not_found"),
    (("GET", "/v1/frames", {}), 405, "method_not_allowed"),
    (("DELETE", "/healthz", {}), 405, "method_not_allowed"),
    *(
        (("POST", "/v1/frames", sent), 415, "unsupported_content_type")
        for sent in (
            {}, {"json": {"files": []}}, {"data": {"files": "x"}},
            {"files": one_file(), "headers": {"Content-Encoding": "gzip"}},
        )
    ),
    *(
        (("POST", "/v1/frames", {"content": b"x", "headers": {"Content-Type": kind}}), 400,
         "malformed_request")
        for kind in (FORM, f"{FORM}; boundary=b")
    ),
]  # fmt: skip


async def test_every_error_has_one_shape(service: Service) -> None:
    for call, status, code in ERRORS:
        method, path, options = call
        check_problem(await service.client.request(method, path, **options), status, code)


async def test_a_405_names_the_methods(service: Service) -> None:
    assert (await service.client.get("/v1/frames")).headers["allow"] == "POST"


async def test_a_wrong_field_is_named_and_so_is_the_right_one(service: Service) -> None:
    response = await service.client.post("/v1/frames", files=one_file("file"))
    body = check_problem(response, 422, "invalid_request")
    assert body["errors"][0]["field"] == "file"
    assert "use one of files" in body["detail"]


async def test_text_in_place_of_a_file_is_explained(service: Service) -> None:
    response = await service.client.post("/v1/frames", files={"files": (None, b"photo.jpg")})
    body = check_problem(response, 422, "invalid_request")
    assert "-F files=@" in body["detail"]


async def test_no_file_at_all(service: Service) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = await service.client.post("/v1/frames", content=b"--b--\r\n", headers=headers)
    check_problem(response, 422, "invalid_request")


NO_KEYS = [None, "", "Bearer", "Bearer nonsense", "Basic YTpi", "Bearer " + "x" * 5000]


async def test_without_a_valid_key_nobody_is_heard(service: Service) -> None:
    for header in NO_KEYS:
        headers = {} if header is None else {"Authorization": header}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(service.app), base_url="http://service"
        ) as client:
            answer = await client.post("/v1/frames", files=one_file(), headers=headers)
        check_problem(answer, 401, "not_authenticated")
        sent = header is not None and header.startswith("Bearer ")
        expected = 'Bearer error="invalid_token"' if sent else "Bearer"
        assert answer.headers["www-authenticate"] == expected
        assert ("mistyped, expired or revoked" in answer.json()["detail"]) is sent
        assert answer.headers["cache-control"] == "no-store"
        assert service.decoder.opened == 0


async def test_no_answer_tells_why_a_key_is_not_valid(service: Service) -> None:
    for name in ("revoked", "expired", "disabled"):
        service.accounts.create(name, "system", Role.PIPELINE)
    made = {name: service.accounts.create_key(name) for name in ("revoked", "disabled")}
    end = service.clock() + timedelta(hours=1)
    made["expired"] = service.accounts.create_key("expired", expires_at=end)
    service.accounts.revoke(made["revoked"].id)
    service.accounts.disable("disabled")
    service.clock.advance(timedelta(hours=2))
    texts = {"wrong": "dfk_" + "0" * 12 + "_" + "A" * 43, **{n: k.text for n, k in made.items()}}
    told = set()
    for text in texts.values():
        headers = {"Authorization": f"Bearer {text}"}
        answer = await service.client.get("/v1/jobs", headers=headers)
        body = {k: v for k, v in answer.json().items() if k != "instance"}
        told.add((answer.status_code, str(body), answer.headers["www-authenticate"]))
    ((status, *_),) = told
    assert status == 401


async def test_a_crop_that_cannot_be_classified_fails_its_request_only(
    service: Service, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    good, bad = await asyncio.gather(service.post(b"still 1 120"), service.post(b"still 1 13"))
    assert good.json()["frames"][0]["verdict"] == "likely_manipulated"
    check_problem(bad, 500, "internal_error")
    assert "secret-name" not in bad.text
    assert "secret-name" not in json.dumps(log_lines())
    failed = [line for line in log_lines() if line["event"] == "request_failed"]
    assert failed[0]["failure"]["error"] == "builtins.RuntimeError"
    assert failed[0]["request_id"] == bad.headers["x-request-id"]


@pytest.mark.parametrize("where", ["decoder", "detector"])
async def test_a_fault_of_ours_is_a_500_without_its_text(
    service: Service, log_lines: Callable[[], list[dict[str, Any]]], where: str
) -> None:
    if where == "detector":
        service.scorer.error = ValueError("secret-name.jpg")
    answer = await service.post(b"still 1 120", b"bug" if where == "decoder" else b"still 1 1")
    check_problem(answer, 500, "internal_error")
    assert "secret-name" not in answer.text
    assert "secret-name" not in json.dumps(log_lines())
    assert (await service.client.get("/healthz")).status_code == 200


async def test_the_page_about_the_api_loads_files_of_this_service_only(
    stranger: httpx.AsyncClient,
) -> None:
    page = await stranger.get("/docs")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 5
    for address in loaded:
        if address != "data:,":
            assert (await stranger.get(f"/{address}")).status_code == 200, address
    assert not re.search(r"<script>|<style|style=|\son\w+=|https?:", page.text)
