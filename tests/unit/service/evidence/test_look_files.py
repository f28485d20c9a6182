"""Files of looks at a post: nothing in one can be read that was not signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import rfc8785

from deepfake_service.evidence.bundle.look_format import file_of
from deepfake_service.evidence.bundle.steps import ExitCode, Verification
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.evidence.bundle.verification import verify
from tests.support import exhibits

OURS = Trust((exhibits.signers().statement.public_key(),))


@cache
def file() -> bytes:
    return file_of(exhibits.looks())


def altered(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(file())
    change(document)
    return rfc8785.dumps(document)


def failed(done: Verification) -> str:
    assert done.exit_code is ExitCode.FAILED
    assert done.signer is None
    return done.steps[-1].detail


def test_a_file_says_what_its_records_state() -> None:
    done = verify(file(), OURS)
    assert done.exit_code is ExitCode.VERIFIED
    assert "found: gone" in done.steps[0].detail
    assert verify(file(), Trust()).exit_code is ExitCode.SIGNER_UNKNOWN
    thief = file_of(exhibits.looks(key=exhibits.signers("thief").statement))
    assert "not signed with a trusted key" in failed(verify(thief, OURS))


@pytest.mark.parametrize("name", json.loads(file_of(exhibits.looks(1)))["looks"][0])
def test_no_member_of_a_look_can_be_changed_or_left_out(name: str) -> None:
    values = ["2026-01-01T00:00:00.000+00:00", "gone", "x", "", None, True, False, 0, 1, [], {}]
    first = json.loads(file())["looks"][0]
    others = [v for v in values if rfc8785.dumps(v) != rfc8785.dumps(first[name])]
    for value in others:
        hostile = altered(lambda d, v=value: d["looks"][0].update({name: v}))
        assert len(failed(verify(hostile, OURS))) > 20
        assert verify(hostile, Trust()).exit_code is ExitCode.FAILED
    failed(verify(altered(lambda d: d["looks"][0].pop(name)), OURS))


def test_the_text_of_the_page_is_covered() -> None:
    said = failed(
        verify(altered(lambda d: d["looks"][-1].update(text=f"{exhibits.LOOK_TEXT} So.")), OURS)
    )
    assert said == "look 3: its text is not the one that its record names"
    said = failed(verify(altered(lambda d: d["looks"][0].update(result="gone")), OURS))
    assert said == "look 1: its result is not what its record states"


@pytest.mark.parametrize(
    "hostile",
    [
        altered(lambda d: d.update(state="gone")),
        altered(lambda d: d.update(post="another")),
        altered(lambda d: d["looks"][0].update(state="gone")),
        altered(lambda d: d["looks"][0]["record"].update(note="gone")),
        altered(lambda d: d.update(format="deepfake-service/looks/2")),
        altered(lambda d: d.update(looks=[])),
        altered(lambda d: d.update(looks={})),
        b'{"looks":[{"result":"gone"}],' + file()[1:],
        file().replace(b'"result":"up"', b'"result":"gone","result":"up"', 1),
        file() + b"\n",
        json.dumps(json.loads(file()), indent=1).encode(),
        b'{"looks":' * 100_000,
        b"{}",
        b"{",
    ],
    ids=range(14),
)
def test_what_the_format_does_not_have_is_refused(hostile: bytes) -> None:
    assert len(failed(verify(hostile, OURS))) > 20
