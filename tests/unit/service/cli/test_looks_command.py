"""The command that tries a look."""

from __future__ import annotations

from typer.testing import CliRunner

from deepfake_service.cli.app import app


def test_a_look_that_is_tried_asks_no_address_that_is_not_public() -> None:
    result = CliRunner().invoke(app, ["looks", "try", "http://127.0.0.1:1/v/1"])
    assert "unknown (weak)" in result.output
    assert "refused_address" in result.output


def test_what_is_no_address_is_refused_with_an_example() -> None:
    for wrong in ("http://[x", "example"):
        result = CliRunner().invoke(app, ["looks", "try", wrong])
        assert result.exit_code == 2
        assert "https://example.org/v/1" in result.output
