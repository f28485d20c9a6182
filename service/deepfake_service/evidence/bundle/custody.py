"""The chain of custody in a bundle, and whether it has the decisions that the bundle states.

The statement's signature shows what the service wrote, not that people decided it: an attacker who
can write to the database could have the service sign a decision that nobody made. Every decision
and every flag therefore has to have its entry in the audit log as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import rfc8785

from deepfake_service.evidence.bundle.documents import Custody, CustodyAccount, CustodyEntry
from deepfake_service.evidence.bundle.steps import Failed
from deepfake_service.platform.texts.formatting import (
    BODY_GENERATED,
    CONFIRMED,
    REJECTED,
    UNDECIDED,
)

# Values of ``audit.log.Action``, which are part of the format of the log.
SUBMITTED, REVIEWED = "media.submitted", "case.reviewed"
FLAGGED, UNFLAGGED = "minor.flagged", "minor.unflagged"
AWAITING_SECOND = "awaiting_second"


def check_chain(entries: Sequence[CustodyEntry]) -> None:
    """Check the hash of every entry of the audit log, and that it names its predecessor's;
    ``Failed`` if an entry was altered, or they are out of order."""
    previous: CustodyEntry | None = None
    for entry in entries:
        number, content = entry.number, entry.model_dump(exclude={"hash"})
        if entry.hash != hashlib.sha256(rfc8785.dumps(content)).hexdigest():
            raise Failed(f"entry {number} of the chain of custody: its hash does not match")
        if previous is not None:
            if number <= previous.number:
                raise Failed(f"entry {number} of the chain of custody is out of order")
            if number == previous.number + 1 and entry.previous != previous.hash:
                raise Failed(
                    f"entry {number} of the chain of custody: its predecessor's hash does not match"
                )
        previous = entry


def compare(document: Mapping[str, Any], custody: Custody) -> None:
    """Check that the chain of custody has what ``verdict.json`` says about people; ``Failed``,
    whose message says what differs.

    1. Every review has an entry with the same decision, account and time, and every entry about a
       review has its review. The reviewer is a person with the stated name and role.
    2. The finding follows from the reviews.
    3. The flag that a person shown may be a minor is what the last entry about it says.
    4. The requester is the account that submitted the media.
    """
    job, case, reviews = document["job"], document["case"], document["reviews"]
    about_job = [entry for entry in custody.entries if entry.subject == job["id"]]
    reviewed = [entry for entry in about_job if entry.action == REVIEWED]
    _compare_reviews(reviews, reviewed, custody.accounts)
    possible = findings_of({review["account"]: review["decision"] for review in reviews})
    if document["finding"] not in possible:
        raise Failed(f"the finding {document['finding']!r:.40} does not follow from the reviews")
    flags = [
        entry.action
        for entry in custody.entries
        if entry.subject == case["id"] and entry.action in (FLAGGED, UNFLAGGED)
    ]
    if case["minor"] != (flags[-1:] == [FLAGGED]):
        raise Failed("the flag of a possible minor is not the one in the chain of custody")
    for entry in about_job:
        if entry.action == SUBMITTED and entry.account:
            account = custody.accounts[entry.account]
            if job["requester"] != f"{account.name} ({account.kind}, {account.role})":
                raise Failed("the requester is not the account that submitted the media")


def _compare_reviews(
    reviews: Sequence[Mapping[str, Any]],
    entries: Sequence[CustodyEntry],
    accounts: Mapping[str, CustodyAccount],
) -> None:
    # By account and time: a clock that was set back may have changed the order of both.
    stated = sorted(reviews, key=lambda review: (str(review["account"]), str(review["at"])))
    recorded = sorted(entries, key=lambda entry: (str(entry.account), entry.at))
    if len(stated) != len(recorded):
        raise Failed(f"{len(stated)} reviews, but {len(recorded)} in the chain of custody")
    for review, entry in zip(stated, recorded, strict=True):
        number = entry.number
        if (review["account"], review["decision"]) != (entry.account, entry.detail):
            raise Failed(
                f"entry {number} of the chain of custody and its review differ in decision or "
                "reviewer"
            )
        if review["at"] != entry.at:
            raise Failed(f"entry {number} of the chain of custody and its review differ in time")
        name, role = str(review["name"]), str(review["role"])
        account = CustodyAccount(name=name, kind="person", role=role)
        if accounts.get(review["account"]) != account:
            raise Failed(
                f"entry {number} of the chain of custody: its account is not the stated reviewer"
            )


def findings_of(latest: Mapping[str, str]) -> frozenset[str | None]:
    """Return the findings that can follow from the latest decision of each account, by its id.
    There are several if no two people confirmed the same: which one holds depends on whether the
    service requires two, and on who the reviewers are."""
    if not latest:
        return frozenset({None})
    decisions = list(latest.values())
    confirmed = [d for d in (CONFIRMED, BODY_GENERATED) if d in decisions]
    if REJECTED in decisions:
        # One rejection is enough: nothing is sent out against the opinion of a reviewer. Whether it
        # clears a file alone depends on what the person shown has stated.
        alone = {AWAITING_SECOND} if decisions.count(REJECTED) == 1 else set()
        return frozenset({UNDECIDED} if confirmed else {REJECTED, *alone})
    if not confirmed:
        return frozenset({UNDECIDED})
    by_two = [d for d in confirmed if decisions.count(d) > 1]
    return frozenset(by_two[:1] or {*confirmed, AWAITING_SECOND})
