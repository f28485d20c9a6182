"""Replaced and withdrawn editions and revoked keys are on a signed list for verifiers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from deepfake_service.audit.log import Action
from deepfake_service.audit.records import open_database
from deepfake_service.cli.app import app, main
from deepfake_service.evidence.bundle.documents import Failed
from deepfake_service.evidence.bundle.dsse import key_id, public_pem
from deepfake_service.evidence.bundle.steps import ExitCode, Outcome
from deepfake_service.evidence.bundle.trust_store import (
    VALID_FOR,
    IssuersKey,
    Revocations,
    Trust,
    open_revocations,
    read_list,
)
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.evidence.revocations import RevocationList, is_withdrawn, supersede
from deepfake_service.evidence.signing_keys import SigningKeys
from deepfake_service.platform.db import (
    Account,
    AuditEntry,
    Case,
    Database,
    Edition,
    Job,
    Media,
    new_id,
)
from deepfake_service.platform.enums import JobState, Priority, RetentionPolicy, Role
from deepfake_service.platform.errors import NotFound
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import open_keys
from tests.support import exhibits
from tests.support.jobs import decide, end, post_video
from tests.unit.service.conftest import Service

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OURS = exhibits.signers().statement.public_key()
THIEF = exhibits.signers("thief").statement.public_key()


def sha256_of_bundle() -> str:
    return verify(exhibits.bundle(), Trust()).sha256


def revocations(
    editions: Mapping[str, str] | None = None,
    keys: Mapping[str, datetime | None] | None = None,
    *,
    at: datetime = AT,
) -> Revocations:
    """Return a list of editions in a state since ``AT``, and of keys."""
    listed = {key_id(OURS): None, **(keys or {})}
    return Revocations.model_validate(
        {
            "format": "deepfake-service/revocations/1",
            "issuer": "I",
            "issued_at": at,
            "expires_at": at + VALID_FOR,
            "editions": [
                {"sha256": s, "state": st, "at": AT} for s, st in (editions or {}).items()
            ],
            "keys": [{"id": key, "revoked_at": at} for key, at in listed.items()],
        },
        strict=False,
    )


def reopened(listed: Revocations) -> Revocations:
    """Return the list as a verifier reads it."""
    return open_revocations(listed.sign(exhibits.signers().statement), [OURS], AT)


def verified(listed: Revocations) -> tuple[ExitCode, dict[int, Outcome]]:
    found = verify(exhibits.bundle(), Trust((OURS,), revocations=reopened(listed)))
    return found.exit_code, {s.number: s.outcome for s in found.steps}


def test_an_edition_that_is_not_listed_verifies() -> None:
    code, outcomes = verified(revocations({"f" * 64: "withdrawn"}, {"e" * 64: AT}))
    assert code is ExitCode.VERIFIED
    assert outcomes[12] is Outcome.PASS


def test_a_list_says_nothing_of_what_another_issuer_signed() -> None:
    thief = exhibits.signers("thief").statement
    keys = (IssuersKey(id=key_id(THIEF), revoked_at=None),)
    theirs = revocations({sha256_of_bundle(): "superseded"}).model_copy(update={"keys": keys})
    listed = open_revocations(theirs.sign(thief), [OURS, THIEF], AT)
    done = verify(exhibits.bundle(), Trust((OURS, THIEF), revocations=listed))
    assert (done.exit_code, done.steps[-1].outcome) == (ExitCode.VERIFIED, Outcome.SKIPPED)
    assert "ask for that issuer's list" in done.steps[-1].detail


def test_a_superseded_edition_does_not_verify_for_ever() -> None:
    """M8: edition 1, replaced after a review, was "verified", exit code 0."""
    code, outcomes = verified(revocations({sha256_of_bundle(): "superseded"}))
    assert code is ExitCode.SUPERSEDED
    assert outcomes[12] is Outcome.SUPERSEDED


def test_a_withdrawn_edition_fails() -> None:
    assert verified(revocations({sha256_of_bundle(): "withdrawn"}))[0] is ExitCode.FAILED


def test_evidence_of_a_revoked_key_fails() -> None:
    """M8: only the key's absence from the JWK Set showed that it was revoked."""
    thief = exhibits.signers("thief")
    trusted = (OURS, thief.statement.public_key())
    listed = revocations(keys={key_id(OURS): AT})
    newest = open_revocations(listed.sign(thief.statement), trusted, AT)
    found = verify(exhibits.bundle(), Trust(trusted, revocations=newest))
    assert found.exit_code is ExitCode.FAILED
    assert (found.steps[-1].number, found.steps[-1].outcome) == (4, Outcome.FAIL)
    assert "revoked" in found.steps[-1].detail


def test_a_list_that_cannot_be_trusted_is_refused() -> None:
    signed = revocations({"f" * 64: "superseded"}).sign(exhibits.signers().statement)
    assert open_revocations(signed, [OURS], AT).editions
    envelope = json.loads(signed)
    for content, keys, now, why in (
        (signed, [], AT, "not signed with a trusted key"),
        (signed, [THIEF], AT, "not signed with a trusted"),
        (signed, [OURS], AT + VALID_FOR, "expired"),
        (signed, [OURS], AT - timedelta(days=1), "future"),
        (b"{}", [OURS], AT, "not a list"),
        (b"\xff", [OURS], AT, "not a list"),
        (b"[" * 100_000, [OURS], AT, "not a list"),
        (json.dumps({**envelope, "payload": envelope["payload"][:-8] + "fQAAAA=="}).encode(),
         [OURS], AT, "not a list"),
        (exhibits.bundle(), [OURS], AT, "not a list"),
    ):  # fmt: skip
        with pytest.raises(Failed, match=why):
            open_revocations(content, keys, now)
    own = revocations(keys={key_id(OURS): AT}).sign(exhibits.signers().statement)
    with pytest.raises(Failed, match="that it revokes"):
        open_revocations(own, [OURS], AT)
    with pytest.raises(Failed, match="cannot be read"):
        read_list("/nowhere/list.json")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DEEPFAKE_DATA_DIR", str(tmp_path / "var"))
    return Settings(data_dir=tmp_path / "var")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A database with two editions of one job."""
    with contextlib.closing(open_database(settings)) as opened:
        with opened.write() as session:
            session.add(Account(id="a", name="a", kind="person", role=Role.ADMIN, created_at=AT,
                                second_factor=False))  # fmt: skip
            session.flush()
            session.add(Case(id="c", account_id="a", created_at=AT))
            session.flush()
            session.add(Media(id="m", case_id="c", sha256="0" * 64, size=1, created_at=AT))
            session.flush()
            session.add(
                Job(
                    id="j", case_id="c", media_id="m", account_id="a", kind="video",
                    state=JobState.SUCCEEDED, priority=Priority.LIVE, bundle_sha256="0" * 64,
                    retention=RetentionPolicy.STANDARD, created_at=AT,
                )
            )  # fmt: skip
            session.flush()
            for number in (1, 2):
                session.add(
                    Edition(
                        id=new_id(), job_id="j", number=number, sha256=str(number) * 64,
                        imagery=False, decided=0, created_at=AT,
                    )
                )  # fmt: skip
        yield opened


def states(listed: Revocations) -> dict[str, str]:
    return {edition.sha256: edition.state for edition in listed.editions}


def list_of(settings: Settings, database: Database) -> RevocationList:
    return RevocationList(database, SigningKeys(database, open_keys(settings)), issuer="I")


def test_replaced_and_withdrawn_editions_and_revoked_keys_are_listed(
    settings: Settings, database: Database
) -> None:
    keys = SigningKeys(database, open_keys(settings))
    stolen = key_id(keys.current().statement.public_key())
    keys.revoke(stolen)
    with database.write() as session:
        supersede(session, None)
        supersede(session, "1" * 64)
    listing = list_of(settings, database)
    assert states(listing.current()) == {"1" * 64: "superseded"}
    assert {key for key, at in listing.current().revoked_at.items() if at} == {stolen}
    assert {key.id for key in keys.all()} == set(listing.current().revoked_at)
    done = CliRunner().invoke(app, ["evidence", "withdraw", "2" * 64])
    assert done.exit_code == 0, done.output
    assert states(listing.current("2" * 64)) == {"2" * 64: "withdrawn"}
    assert not listing.current("3" * 64).editions
    with database.write() as session:
        supersede(session, "2" * 64)
        assert is_withdrawn(session, "2" * 64)
        last = session.query(AuditEntry).order_by(AuditEntry.number.desc()).first()
        assert last is not None
        assert (last.action, last.subject, last.detail) == (Action.EDITION_WITHDRAWN, "j", "2")
        session.execute(text("DELETE FROM cases"))  # the list outlives the case
    out = settings.data_dir / "list.json"
    out.write_bytes(listing.signed())
    opened = open_revocations(read_list(str(out)), keys.published(), datetime.now(UTC))
    assert states(opened) == {"1" * 64: "superseded", "2" * 64: "withdrawn"}
    with pytest.raises(NotFound):
        listing.withdraw("3" * 64)


async def test_the_service_answers_as_the_command_does_with_its_list(service: Service) -> None:
    """Also when the job is gone, and about revoked keys."""
    job = (await post_video(service, exhibits.video())).json()
    end(service, job["id"], exhibits.material(exhibits.video()))
    place = f"/v1/jobs/{job['id']}/evidence"
    old = (await service.client.get(place)).content
    assert (await decide(service, job, "undecided")).is_success
    newest = (await service.client.get(place)).content
    listing = service.app.state.shared.services.revocation_list
    keys = service.app.state.shared.services.evidence_store.keys

    async def results() -> list[str]:
        found = []
        for bundle in (old, newest):
            answer = (await service.client.post("/v1/verify", content=bundle)).json()
            trust = Trust(keys.published(), revocations=listing.current())
            # In a thread, since the reader of reports runs an event loop of its own.
            done = (await asyncio.to_thread(verify, bundle, trust)).published()
            for step in (*answer["steps"], *(own := done.model_dump(mode="json"))["steps"]):
                del step["detail"]  # that of the last step names the time of the list
            assert answer == own
            found.append(answer["result"])
        return found

    assert await results() == ["superseded", "verified"]
    with service.database.engine.begin() as connection:
        connection.execute(text("DELETE FROM cases"))
    assert await results() == ["superseded", "verified"]
    keys.revoke(key_id(keys.current().statement.public_key()))
    assert await results() == ["failed", "failed"]


def test_the_error_names_the_file_that_cannot_be_written(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = settings.data_dir / "file" / "keys"
    out.parent.write_text("no folder")
    list_of(settings, database)
    monkeypatch.setattr("sys.argv", ["deepfake", "keys", "signing", "publish", "--out", str(out)])
    monkeypatch.setattr("deepfake_service.cli.app._drop_output", lambda: None)
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == f"error: {out}: Not a directory\n"


def test_the_command_says_what_it_cannot_know(tmp_path: Path) -> None:
    bundle, key, listed = (tmp_path / n for n in ("b.zip", "k.pem", "list.json"))
    bundle.write_bytes(exhibits.bundle())
    key.write_bytes(public_pem(OURS))
    words = ["verify", str(bundle), "--public-key", str(key)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert "Superseded or withdrawn: unknown" in done.stdout
    now = datetime.now(UTC)
    signer = exhibits.signers().statement
    listed.write_bytes(revocations({sha256_of_bundle(): "superseded"}, at=now).sign(signer))
    done = CliRunner().invoke(app, [*words, "--revocations", str(listed)])
    assert done.exit_code == 4
    assert "newer edition" in done.stdout
    listed.write_bytes(revocations(at=now).sign(signer))
    done = CliRunner().invoke(app, [*words, "--revocations", str(listed)])
    assert done.exit_code == 0
    assert "unknown" not in done.stdout
