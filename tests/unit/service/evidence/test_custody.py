"""What a bundle says about people's decisions has to be in its chain of custody."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from deepfake_service.evidence.bundle.builder import CUSTODY, build
from deepfake_service.evidence.bundle.custody import (
    Stated,
    check_chain,
    compare,
    findings_of,
)
from deepfake_service.evidence.bundle.documents import Custody, Failed, StatedDecision, read
from deepfake_service.evidence.bundle.steps import ExitCode, Outcome
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.evidence.bundle.verification import verify
from tests.support import exhibits


def records(decision: str = "confirmed") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a bundle says about one review, and its chain of custody."""
    changes = copy.deepcopy(exhibits.reviewed(decision))
    custody = changes.pop("custody")
    document = {
        "job": {"id": "j" * 26, "requester": "Kim (person, analyst)"},
        "case": {"id": "c" * 26, "minor": False}, **changes
    }  # fmt: skip
    return document, custody


def stated(document: dict[str, Any]) -> Stated:
    reviews = [StatedDecision(**review) for review in document["reviews"]]
    job, case, finding = document["job"], document["case"], document["finding"]
    return Stated(job["id"], job["requester"], case["id"], case["minor"], reviews, finding)


def chain(custody: dict[str, Any]) -> Custody:
    return read(Custody, json.dumps(custody).encode(), CUSTODY)


def test_what_people_decided_is_accepted() -> None:
    for decision in ("confirmed", "rejected", "undecided"):
        document, custody = records(decision)
        check_chain(chain(custody).entries)
        compare(stated(document), chain(custody))


def _flag(document: dict[str, Any], custody: dict[str, Any]) -> None:
    custody["entries"].append({**custody["entries"][0], "number": 2, "action": "minor.flagged",
                               "subject": document["case"]["id"]})  # fmt: skip


FORGERIES: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "another decision": lambda d, _: d["reviews"][0].update(decision="rejected"),
    "another finding": lambda d, _: d.update(finding="rejected"),
    "another reviewer": lambda d, _: d["reviews"][0].update(account="q" * 26),
    "another name": lambda d, _: d["reviews"][0].update(name="Lee"),
    "another role": lambda d, _: d["reviews"][0].update(role="admin"),
    "another time": lambda d, _: d["reviews"][0].update(at="2026-02-02T03:04:05.678+00:00"),
    "a review that nobody made": lambda d, _: d["reviews"].append(d["reviews"][0]),
    "a review withheld": lambda d, _: d.update(reviews=[], finding=None),
    "a decision of a program": lambda _, c: c["accounts"]["p" * 26].update(kind="system"),
    "a flag taken away": _flag,
    "a flag that nobody set": lambda d, _: d["case"].update(minor=True),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_decision_that_custody_does_not_have_is_caught(forgery: str) -> None:
    document, custody = records()
    FORGERIES[forgery](document, custody)
    with pytest.raises(Failed):
        compare(stated(document), chain(custody))


def test_a_requester_who_did_not_submit_is_caught() -> None:
    document, custody = records()
    entry = {**custody["entries"][0], "number": 2, "action": "media.submitted", "detail": None}
    custody["entries"].append(entry)
    compare(stated(document), chain(custody))
    document["job"]["requester"] = "Lee (person, analyst)"
    with pytest.raises(Failed):
        compare(stated(document), chain(custody))


def test_the_member_that_is_malformed_is_named() -> None:
    _, custody = records()
    custody["entries"][0]["number"] = "1"
    with pytest.raises(Failed, match=r"data/custody.json: entries.0.number: .*integer"):
        chain(custody)


def test_findings_follow_from_the_last_decision_of_each_person() -> None:
    def found(*decisions: tuple[str, str]) -> set[str | None]:
        return set(findings_of(dict(decisions)))

    assert found() == {None}
    assert found(("a", "confirmed")) == {"confirmed", "awaiting_second"}
    assert found(("a", "confirmed"), ("b", "confirmed")) == {"confirmed"}
    assert found(("a", "confirmed"), ("b", "rejected")) == {"undecided"}
    assert found(("a", "confirmed"), ("a", "rejected")) == {"rejected", "awaiting_second"}
    assert found(("a", "rejected"), ("b", "rejected")) == {"rejected"}
    assert found(("a", "undecided")) == {"undecided"}
    body = "body_generated"
    assert found(("a", body)) == {body, "awaiting_second"}
    assert found(("a", body), ("b", body)) == {body}
    assert found(("a", body), ("b", "confirmed")) == {"confirmed", body, "awaiting_second"}
    assert found(("a", body), ("b", body), ("c", "confirmed")) == {body}
    both = [("a", body), ("b", body), ("c", "confirmed"), ("d", "confirmed")]
    assert found(*both) == {"confirmed"}
    assert found(("a", body), ("b", "rejected")) == {"undecided"}


def test_a_signed_bundle_with_a_forged_decision_does_not_verify() -> None:
    """H7: columns altered in the database were signed by the service, and verified."""
    changes = copy.deepcopy(exhibits.reviewed("confirmed"))
    trusted = Trust((exhibits.signers().statement.public_key(),))

    def verified() -> Any:
        dossier = exhibits.dossier(exhibits.video(), **changes)
        return verify(
            build(dossier, exhibits.material(exhibits.video()), exhibits.signers()), trusted
        )

    assert verified().exit_code is ExitCode.VERIFIED
    changes["reviews"][0]["decision"] = changes["finding"] = "rejected"
    forged = verified()
    assert forged.exit_code is ExitCode.FAILED
    assert [s.number for s in forged.steps if s.outcome is Outcome.FAIL] == [6]
