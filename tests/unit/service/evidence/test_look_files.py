"""Files of looks at a post: nothing in one can be read that was not signed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from typing import Any

import pytest
import rfc8785

from deepfake_service.evidence.bundle import look_format
from deepfake_service.evidence.bundle.look_format import file_of
from deepfake_service.evidence.bundle.readers import BundleReaders
from deepfake_service.evidence.bundle.steps import ExitCode, Verification
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.evidence.bundle.verification import verify
from tests.support import exhibits

OURS = Trust((exhibits.signers().statement.public_key(),))


@pytest.fixture(scope="module")
def confined() -> Iterator[BundleReaders]:
    with closing(BundleReaders(1)) as readers:
        yield readers


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


def test_a_file_says_what_its_records_state(confined: BundleReaders) -> None:
    done = verify(file(), OURS, readers=confined)
    assert done.exit_code is ExitCode.VERIFIED
    assert "found: gone" in done.steps[1].detail
    assert verify(file(), OURS).published() == done.published()
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
def test_what_the_format_does_not_have_is_refused(confined: BundleReaders, hostile: bytes) -> None:
    for readers in (BundleReaders(), confined):
        assert len(failed(verify(hostile, OURS, readers=readers))) > 20


def test_at_most_a_thousand_looks_are_read(confined: BundleReaders) -> None:
    for text in ("가" * 4000, "\0" * 4000):  # 12 kB, and 24 kB in JSON
        most = verify(file_of(exhibits.looks(1000, each_kept=text)), OURS, readers=confined)
        assert most.exit_code is ExitCode.VERIFIED
    said = failed(verify(file_of(exhibits.looks(1001)), OURS, readers=confined))
    assert said == "the file has 1001 looks instead of 1 to 1000"
    large = file() + bytes(look_format.MAX_FILE_BYTES)
    assert "the limit for looks" in failed(verify(large, OURS, readers=confined))


def test_a_file_is_parsed_in_a_confined_process(
    confined: BundleReaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = altered(lambda d: d["looks"][0].update(result="gone"))
    said = [failed(verify(hostile, trust, readers=confined)) for trust in (OURS, Trust())]

    def parse(*_: object) -> None:
        raise AssertionError("parsed in the process that has the keys")

    monkeypatch.setattr(look_format, "records_in", parse)
    assert [failed(verify(hostile, trust, readers=confined)) for trust in (OURS, Trust())] == said


def test_a_reader_that_was_taken_over_vouches_for_no_file(
    confined: BundleReaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers that a file is in order, whatever the file shows."""
    monkeypatch.setattr(confined, "_run", lambda *_: ({}, b""))
    assert verify(file(), OURS, readers=confined).exit_code is ExitCode.VERIFIED
    hostile = altered(lambda d: d["looks"][0].update(result="gone"))
    said = failed(verify(hostile, OURS, readers=confined))
    assert said == "look 1: its result is not what its record states"
    # which no signature covers
    hostile = altered(lambda d: d["looks"][-1]["record"].update(note="gone"))
    assert "record.note: Extra" in failed(verify(hostile, OURS, readers=confined))
