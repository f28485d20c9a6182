"""Registries of addresses and domains (RDAP) on a fake platform, with IANA's tables of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.fake_platform import Answer, FakePlatform, redirect, status


def _contact(role: str, name: str, email: str = "", *nested: Any) -> dict[str, Any]:
    card: list[Any] = [["version", {}, "text", "4.0"], ["fn", {}, "text", name]]
    card += [["email", {}, "text", email]] if email else []
    return {
        "objectClassName": "entity",
        "handle": f"{role}-1",
        "roles": [role],
        "vcardArray": ["vcard", card],
        "entities": list(nested),
    }


NETWORK: dict[str, Any] = {
    "objectClassName": "ip network",
    "handle": "NET-8",
    "name": "HOSTER-1",
    "country": "NL",
    "startAddress": "8.0.0.0",
    "endAddress": "8.255.255.255",
    "links": [{"rel": "self", "href": "https://rdap.example/ip/8.0.0.0"}],
    "entities": [
        _contact("registrant", "Hoster Ltd.", "", _contact("abuse", "A", "abuse@hoster.example"))
    ],
}
DOMAIN: dict[str, Any] = {
    "objectClassName": "domain",
    "handle": "D-1",
    "ldhName": "VIDEO.EXAMPLE",
    "links": [{"rel": "self", "href": "https://rdap.example/domain/video.example"}],
    "entities": [
        _contact("registrar", "Names Inc.", "", _contact("abuse", "B", "abuse@names.example"))
    ],
}


def says(content: Any) -> Answer:
    return status(200, json.dumps(content), Content_Type="application/rdap+json")


def registers(platform: FakePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a platform be IANA and all registries."""
    from whoisit.bootstrap import BaseBootstrap

    ranges = {
        "asn": "1-2", "dns": "example", "ipv4": "8.0.0.0/8", "ipv6": "2001:db8::/32",
        "object": "T",
    }  # fmt: skip
    server = platform.url("/rdap/")
    for name, each in ranges.items():
        services = (
            [[[each], [server]]] if name != "object" else [[["t@t.example"], [each], [server]]]
        )
        url = platform.says(f"/iana/{name}.json", says({"services": services}))
        monkeypatch.setitem(BaseBootstrap.BOOTSTRAP_URLS, name, url)
    platform.says("/rdap/ip/8.8.8.8", redirect("/moved/ip/8.8.8.8"))
    platform.says("/moved/ip/8.8.8.8", says(NETWORK))
    platform.says("/rdap/domain/video.example", says(DOMAIN))
