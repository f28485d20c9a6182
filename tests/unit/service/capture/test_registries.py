"""Whose a host is, as a registry on loopback says it, with IANA's tables of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepfake_service.capture.registries import Registries
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.pages import Pages
from tests.support.fake_platform import Answer, FakePlatform, redirect, reset, resolving, status
from tests.support.fake_registries import DOMAIN, NETWORK, registers, says

pytest.importorskip("whoisit", reason="the extra capture-link is not installed")


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePlatform]:
    made = FakePlatform(tmp_path)
    registers(made, monkeypatch)
    with resolving({}):
        yield made
    made.close()


def registries(platform: FakePlatform) -> Registries:
    allowed = CallbackHosts.of("127.0.0.1")
    return Registries(Pages(allowed=allowed, tls=platform.tls()))


def test_network_and_domain_are_named_with_whom_to_write_to(platform: FakePlatform) -> None:
    asking = registries(platform)
    found = asking.operator_of("www.video.example", "8.8.8.8")
    assert found.model_dump() == {
        "host": "www.video.example",
        "address": "8.8.8.8",
        "network": {
            "name": "HOSTER-1",
            "holder": "Hoster Ltd.",
            "country": "NL",
            "abuse": ["abuse@hoster.example"],
            "is_cdn": False,
            "source": "https://rdap.example/ip/8.0.0.0",
        },
        "domain": {
            "name": "video.example",
            "registrar": "Names Inc.",
            "abuse": ["abuse@names.example"],
            "source": "https://rdap.example/domain/video.example",
        },
    }
    asked = {path for path in platform.asked if path.startswith(("/rdap/", "/moved/"))}
    assert asked == {
        "/rdap/ip/8.8.8.8", "/moved/ip/8.8.8.8",
        "/rdap/domain/www.video.example", "/rdap/domain/video.example",
    }, "the registry of addresses refers to another one, as ARIN does"  # fmt: skip
    assert asking.operator_of("www.video.example", "8.8.8.8") == found
    assert all(platform.asked[path] == 1 for path in asked), "answers are kept for a day"


@pytest.mark.parametrize("said", [{"name": "CLOUDFLARENET"}, {"name": "X", "holder": "Y CDN"}])
def test_the_network_of_a_cdn_is_called_one(platform: FakePlatform, said: Any) -> None:
    network = json.loads(json.dumps(NETWORK).replace("Hoster Ltd.", said.get("holder", "Z")))
    platform.says("/moved/ip/8.8.8.8", says({**network, "name": said["name"]}))
    assert (
        registries(platform)
        .operator_of("video.example", "8.8.8.8")
        .model_dump()["network"]["is_cdn"]
    )


def test_an_address_as_host_has_no_domain(platform: FakePlatform) -> None:
    found = registries(platform).operator_of("8.8.8.8", "8.8.8.8")
    assert (found.network and found.network.name, found.domain) == ("HOSTER-1", None)
    assert not any("/domain/" in path for path in platform.asked)


@pytest.mark.parametrize(
    "answer",
    [
        status(500),
        status(429),
        reset,
        redirect("https://10.1.2.3/"),
        redirect("https://169.254.169.254/latest/meta-data"),
        says([]),
        says({**NETWORK, "entities": [{"roles": ["ABUSE"], "handle": "A"}]}),
        says({**NETWORK, "events": [{"eventAction": None}]}),
        status(200, "[" * 100_000, content_type="application/rdap+json"),
    ],
)
def test_a_registry_that_does_not_tell_leaves_it_open(
    platform: FakePlatform, answer: Answer
) -> None:
    platform.says("/rdap/ip/8.8.8.8", answer)
    found = registries(platform).operator_of("video.example", "8.8.8.8")
    assert found.network is None
    assert found.domain is not None
    assert found.domain.name == "video.example"


def test_a_domain_is_no_other_one_while_its_registry_does_not_tell(platform: FakePlatform) -> None:
    platform.says("/rdap/domain/www.video.example", status(500))
    asking = registries(platform)
    assert asking.operator_of("www.video.example", "8.8.8.8").domain is None
    assert not platform.asked["/rdap/domain/video.example"]
    platform.says("/rdap/domain/www.video.example", status(404))
    found = asking.operator_of("www.video.example", "8.8.8.8").domain
    assert found is not None
    assert found.name == "video.example"


def test_what_a_registry_says_is_bounded_and_no_markup(platform: FakePlatform) -> None:
    text = json.dumps(DOMAIN).replace("Names Inc.", "N\\u202e\\n" + "x" * 5000)
    text = text.replace("abuse@names.example", "a@b.example>\\r\\nBcc: c@d.example")
    platform.says("/rdap/domain/video.example", says(json.loads(text)))
    domain = registries(platform).operator_of("video.example", "8.8.8.8").domain
    assert domain is not None
    assert domain.registrar.startswith("N  xxx")
    assert len(domain.registrar) == 200
    assert domain.abuse == []


def test_without_the_tables_nobody_is_asked_and_they_are_not_asked_for_at_once_again(
    platform: FakePlatform,
) -> None:
    platform.says("/iana/ipv6.json", status(503))
    asking = registries(platform)
    for _ in range(3):
        found = asking.operator_of("video.example", "8.8.8.8")
        assert (found.network, found.domain) == (None, None)
    assert platform.asked["/iana/ipv6.json"] == 1
    assert not any(path.startswith("/rdap/") for path in platform.asked)
