"""What the answers about pictures have in common, and requests that get them."""

from __future__ import annotations

from typing import Any

import httpx

MODEL = {"bundle": "small", "version": "1", "sha256": "0" * 64, "terms": "tests-only"}
PROBLEM = ["type", "title", "status", "detail", "instance"]


def check_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer has the shape of every error, and return its body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    body: dict[str, Any] = response.json()
    assert [k for k in body if k != "errors"] == PROBLEM
    assert body["type"] == f"urn:deepfake-service:problem:{code}"
    assert body["status"] == status
    assert body["instance"] == response.headers["x-request-id"]
    assert body["title"]
    assert body["detail"]
    assert ("errors" not in body) or all(list(e) == ["field", "detail"] for e in body["errors"])
    return body


def one_file(name: str = "files") -> dict[str, Any]:
    return {name: ("a.jpg", b"still 0 0")}
