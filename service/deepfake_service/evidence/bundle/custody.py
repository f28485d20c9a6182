"""The chain of custody in a bundle, and whether it has the decisions that the bundle states.

The statement's signature shows what the service wrote, not that people decided it: an attacker who
can write to the database could have the service sign a decision that nobody made. Every decision
and every flag therefore has to have its entry in the audit log as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import rfc8785

from deepfake_service.evidence.bundle.documents import (
    Custody,
    CustodyAccount,
    CustodyEntry,
    Failed,
    StatedDecision,
)
from deepfake_service.platform.findings import (
    CLEARED,
    DISAGREEMENT,
    MANIPULATED,
    Decision,
    Finding,
)

# Values of ``audit.log.Action``, which are part of the format of the log.
SUBMITTED, REVIEWED = "media.submitted", "case.reviewed"
FLAGGED, UNFLAGGED = "minor.flagged", "minor.unflagged"


@dataclass(frozen=True, slots=True)
class Stated:
    """What is stated of a job that people decided: ids, its requester, and the case's flag."""

    job: str
    requester: str
    case: str
    minor: bool
    reviews: Sequence[StatedDecision]
    finding: str | None


def check_chain(entries: Sequence[CustodyEntry]) -> None:
    """Check the hash of every entry of the audit log, and that it names its predecessor's;
    ``Failed`` if an entry was altered, or they are out of order."""
    previous: CustodyEntry | None = None
    for entry in entries:
        number, which = entry.number, f"entry {entry.number} of the chain of custody"
        content = rfc8785.dumps(entry.model_dump(exclude={"hash"}))
        if entry.hash != hashlib.sha256(content).hexdigest():
            raise Failed(f"{which}: its hash does not match")
        if previous is not None:
            if number <= previous.number:
                raise Failed(f"{which} is out of order")
            if number == previous.number + 1 and entry.previous != previous.hash:
                raise Failed(f"{which}: its predecessor's hash does not match")
        previous = entry


def compare(stated: Stated, custody: Custody) -> None:
    """Check that the chain of custody has what ``verdict.json`` says about people; ``Failed``,
    whose message says what differs.

    1. Every review has an entry with the same decision, account and time, and every entry about a
       review has its review. The reviewer is a person with the stated name and role.
    2. The finding follows from the reviews.
    3. The flag that a person shown may be a minor is what the last entry about it says.
    4. The requester is the account that submitted the media.
    """
    about_job = [entry for entry in custody.entries if entry.subject == stated.job]
    reviewed = [entry for entry in about_job if entry.action == REVIEWED]
    _compare_reviews(stated.reviews, reviewed, custody.accounts)
    possible = findings_of({review.account: review.decision for review in stated.reviews})
    if stated.finding not in possible:
        raise Failed(f"the finding {stated.finding!r:.40} does not follow from the reviews")
    flags = [
        entry.action
        for entry in custody.entries
        if entry.subject == stated.case and entry.action in (FLAGGED, UNFLAGGED)
    ]
    if stated.minor != (flags[-1:] == [FLAGGED]):
        raise Failed("the flag of a possible minor is not the one in the chain of custody")
    for entry in about_job:
        if entry.action == SUBMITTED and entry.account:
            account = custody.accounts[entry.account]
            if stated.requester != f"{account.name} ({account.kind}, {account.role})":
                raise Failed("the requester is not the account that submitted the media")


def _compare_reviews(
    reviews: Sequence[StatedDecision],
    entries: Sequence[CustodyEntry],
    accounts: Mapping[str, CustodyAccount],
) -> None:
    # By account and time: a clock that was set back may have changed the order of both.
    stated = sorted(reviews, key=lambda review: (review.account, review.at))
    recorded = sorted(entries, key=lambda entry: (str(entry.account), entry.at))
    if len(stated) != len(recorded):
        raise Failed(f"{len(stated)} reviews, but {len(recorded)} in the chain of custody")
    for review, entry in zip(stated, recorded, strict=True):
        which = f"entry {entry.number} of the chain of custody"
        if (review.account, review.decision) != (entry.account, entry.detail):
            raise Failed(f"{which} and its review differ in decision or reviewer")
        if review.at != entry.at:
            raise Failed(f"{which} and its review differ in time")
        account = CustodyAccount(name=review.name, kind="person", role=review.role)
        if accounts.get(review.account) != account:
            raise Failed(f"{which}: its account is not the stated reviewer")


def findings_of(latest: Mapping[str, str]) -> frozenset[str | None]:
    """Return the findings that can follow from the latest decision of each account, by its id.
    There are several if no two people confirmed the same: which one holds depends on whether the
    service requires two, and on who the reviewers are."""
    if not latest:
        return frozenset({None})
    decisions = list(latest.values())
    confirmed = [d for d in Decision if d in decisions and d in MANIPULATED]
    if cleared := [d for d in Decision if d in decisions and d in CLEARED]:
        # One rejection is enough: nothing is sent out against the opinion of a reviewer. Whether it
        # clears a file alone depends on what the person shown has stated.
        alone = {Finding.AWAITING_SECOND} if sum(map(decisions.count, cleared)) == 1 else set()
        return frozenset({Finding.UNDECIDED} if confirmed else {cleared[0], *alone})
    if not confirmed:
        return frozenset({Finding.UNDECIDED})
    by_two = [d for d in confirmed if decisions.count(d) > 1]
    return frozenset(by_two[:1] or {*confirmed, Finding.AWAITING_SECOND})


def told_finding(finding: str, reviews: Sequence[StatedDecision]) -> str:
    """Return ``finding``, or ``disagreement`` if it is undecided because reviewers disagree.

    ``reviews`` are oldest first, and the latest decision of each person counts. An undecided
    finding with a rejection has a confirmation as well, or it would be ``rejected``.
    """
    latest = {review.account: review.decision for review in reviews}
    disagree = finding == Finding.UNDECIDED and not CLEARED.isdisjoint(latest.values())
    return DISAGREEMENT if disagree else finding


def found_by(finding: str | None, reviews: Sequence[StatedDecision]) -> list[StatedDecision]:
    """Return the reviews of the people who state a finding: the latest one of each, where
    ``reviews`` are oldest first."""
    latest = {review.account: review for review in reviews}
    return [review for review in latest.values() if review.decision == finding]
