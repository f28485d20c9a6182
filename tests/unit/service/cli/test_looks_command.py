"""The commands about looks, with a service that has records."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner, Result

from deepfake_service.cli.app import app
from tests.support.looking import reported, sent, watch_of
from tests.unit.service.conftest import Service, Starter


def run(*args: str) -> Result:
    return CliRunner().invoke(app, ["looks", *args])


def use(service: Service, monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Let commands find the installation of a service."""
    folder = service.app.state.shared.settings.data_dir
    monkeypatch.setenv("DEEPFAKE_DATA_DIR", str(folder))
    for name, value in settings.items():
        monkeypatch.setenv(f"DEEPFAKE_{name}", value)


async def test_an_operator_counts_removals_and_asks_for_looks(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start() as service:
        case_id, (post,) = await reported(service, "https://video.example/v/1")
        await sent(service, case_id, [post])
        before = watch_of(service, post).next_look_at
        use(service, monkeypatch)
        assert "DEEPFAKE_LOOKS_FROM" in run("now", post).output
        use(service, monkeypatch, LOOKS_FROM="KR")
        assert run("now", "nothing").exit_code == 2
        assert run("now", post).output.strip() == "asked for"
        assert watch_of(service, post).next_look_at < before
        table = run("statistics", "--start", "2020-01-01", "--by", "kind").output
        assert table.splitlines()[1].startswith("other,1,")  # one post is no group
        assert run("statistics", "--start", "yesterday").exit_code == 2


def test_a_look_that_is_tried_asks_no_address_that_is_not_public() -> None:
    result = run("try", "http://127.0.0.1:1/v/1")
    assert "unknown (weak)" in result.output
    assert "refused_address" in result.output
