"""Looks at the posts of notices that were sent, by the service and by people."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from sqlalchemy import event, func, select, text
from typer.testing import CliRunner

from deepfake_service.audit.log import Action
from deepfake_service.cli.verify import commands as verify_command
from deepfake_service.evidence.bundle.steps import ExitCode
from deepfake_service.evidence.bundle.trust_store import Trust, public_keys
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.platform.claims import MAX_ATTEMPTS
from deepfake_service.platform.db import AuditEntry, Case, Delivery, Lease, Look, Notice, Watch
from deepfake_service.platform.enums import DeliveryState, LookResult, Role, WatchState
from deepfake_service.platform.errors import Conflict, InvalidRequest, NotFound, RecordAltered
from deepfake_service.platform.pages import AGENT, Pages
from deepfake_service.removal.lane import SITE_GAP, LookLane
from tests.support.fake_platform import FakePlatform, Handler, post, redirect, reset, status
from tests.support.jobs import VIDEO
from tests.support.looking import lane_of, pass_time, reported, saw, sent, watch_of
from tests.support.notices import GOOD, updated
from tests.support.stand_ins import do_due
from tests.unit.service.conftest import Service, Starter

GONE = status(410, "<title>Removed</title><h1>This post was removed</h1><p>on request</p>")


@pytest.fixture
async def watching(start: Starter) -> Any:
    async with start(looks_from="KR") as service:
        yield service


@pytest.fixture
def lane(watching: Service, pages: Pages) -> Any:
    opened = lane_of(watching, pages)
    yield opened
    opened.close()


async def test_a_post_is_gone_after_two_looks_and_a_person_confirms(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    url = platform.says("/v/123456", post())
    case_id, (seen,) = await reported(watching, url)
    notice = await sent(watching, case_id, [seen])
    assert do_due(lane) == 0
    assert pass_time(watching, lane, 2) == 1
    assert watch_of(watching, seen).state is WatchState.UP
    platform.says("/v/123456", GONE)
    assert pass_time(watching, lane, 2) == 1
    assert watch_of(watching, seen).state is WatchState.SUSPECTED_GONE
    assert pass_time(watching, lane, 1.5) == 1
    watch = watch_of(watching, seen)
    assert watch.state is WatchState.GONE
    assert notice["sent_at"] < watch.gone_at.isoformat()
    read = (await watching.client.get(f"/v1/notices/{notice['id']}")).json()
    assert read["state"] == "sent"  # a person confirms it
    assert read["gone_at"] == watch.gone_at.isoformat(timespec="milliseconds")
    watching.clock.advance(timedelta(days=3))
    late = (await watching.client.get("/v1/notices/overdue")).json()
    assert late["total"] == 0  # it is not up past its deadline
    read = await updated(watching, notice["id"], outcome="removed")
    assert read["state"] == "removed"


async def test_what_stays_is_overdue_and_what_returns_raises_an_alarm(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    stays = platform.says("/v/111111", post())
    returns = platform.says("/v/222222", post())
    job = await watching.client.post(
        "/v1/videos",
        files={"file": ("v.mp4", VIDEO)},
        data={"callback_url": "https://93.184.216.34/hook", "source_url": stays},
    )
    assert job.is_success, job.text
    case_id, posts = await reported(watching, stays, returns)
    assert case_id == job.json()["case_id"]
    by_url = {o["source_url"]: o["id"] for o in await _occurrences(watching, case_id)}
    notice = await sent(watching, case_id, posts)
    pass_time(watching, lane, 2)
    platform.says("/v/222222", GONE)
    pass_time(watching, lane, 60)
    late = (await watching.client.get("/v1/notices/overdue")).json()
    assert [n["id"] for n in late["notices"]] == [notice["id"]]
    assert watch_of(watching, by_url[stays]).state is WatchState.UP
    assert watch_of(watching, by_url[returns]).state is WatchState.GONE
    platform.says("/v/222222", post())
    pass_time(watching, lane, 30)
    assert watch_of(watching, by_url[returns]).state is WatchState.RETURNED
    read = (await watching.client.get(f"/v1/notices/{notice['id']}")).json()
    assert read["returned_at"] is not None
    assert read["gone_at"] is None
    with watching.database.read() as session:
        told = session.scalars(
            select(Delivery).where(Delivery.occurrence_id == by_url[returns])
        ).all()
        actions = session.scalars(
            select(AuditEntry.action).where(AuditEntry.subject == by_url[returns])
        ).all()
    assert [delivery.state for delivery in told] == [DeliveryState.DUE]
    assert {Action.POST_GONE, Action.POST_RETURNED} <= set(actions)


async def test_a_clock_set_back_behind_the_sending_makes_no_look_again_and_again(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    case_id, (seen,) = await reported(watching, platform.says("/v/123456", post()))
    await sent(watching, case_id, [seen])
    watching.clock.advance(timedelta(hours=-2))
    caller = watching.accounts.authenticate(watching.keys[Role.PIPELINE])
    watching.app.state.shared.services.looks.request_look(caller, case_id, seen)
    made = 0
    for _ in range(5):
        made += do_due(lane)
        watching.clock.advance(SITE_GAP * 2)
    assert made == 1
    assert pass_time(watching, lane, 4) > 0  # once it is later than the sending
    assert watch_of(watching, seen).state is WatchState.UP


async def test_an_alarm_lasts_until_what_returned_is_confirmed_as_gone_again(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    case_id, (seen,) = await reported(watching, platform.says("/v/123456", GONE))
    notice = await sent(watching, case_id, [seen])
    pass_time(watching, lane, 5)
    assert (await updated(watching, notice["id"], outcome="removed"))["gone_at"] is not None

    async def returned_at() -> str | None:
        read = await watching.client.get(f"/v1/notices/{notice['id']}")
        return str(at) if (at := read.json()["returned_at"]) else None

    platform.says("/v/123456", post())
    pass_time(watching, lane, 26)
    assert watch_of(watching, seen).state is WatchState.RETURNED
    back_at = await returned_at()
    assert back_at is not None
    numbers = (await watching.client.get("/v1/statistics/removals")).json()["total"]["counts"]
    assert (numbers["removed"], numbers["up"], numbers["returned"]) == (0, 1, 1)
    caller = watching.accounts.authenticate(watching.keys[Role.PIPELINE])
    looks = watching.app.state.shared.services.looks
    looks.record_for(caller, case_id, seen, saw(watching, LookResult.GONE))
    assert watch_of(watching, seen).state is WatchState.SUSPECTED_GONE
    assert await returned_at() == back_at
    # The answer of the recipient came before the return, and does not say that it is gone now.
    numbers = (await watching.client.get("/v1/statistics/removals")).json()["total"]["counts"]
    assert (numbers["removed"], numbers["unclear"]) == (0, 1)
    pass_time(watching, lane, 26)  # it was up all the time
    assert watch_of(watching, seen).state is WatchState.RETURNED
    assert await returned_at() == back_at
    platform.says("/v/123456", GONE)
    pass_time(watching, lane, 30)
    assert watch_of(watching, seen).state is WatchState.GONE
    assert await returned_at() is None


async def _occurrences(service: Service, case_id: str) -> list[dict[str, Any]]:
    answer = await service.client.get(f"/v1/cases/{case_id}/occurrences")
    return list(answer.json()["occurrences"])


@pytest.mark.parametrize("blocked", [redirect("http://warning.or.kr/i.html"), reset, status(451)])
async def test_a_block_in_ones_own_country_is_no_removal(
    watching: Service, lane: LookLane, platform: FakePlatform, blocked: Any
) -> None:
    url = platform.says("/v/123456", blocked)
    case_id, (seen,) = await reported(watching, url)
    await sent(watching, case_id, [seen])
    assert pass_time(watching, lane, 80) >= 8
    watch = watch_of(watching, seen)
    assert watch.state is WatchState.BLOCKED
    assert watch.gone_at is None


async def test_people_add_no_look_at_a_post_that_has_too_many(
    watching: Service, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.removal.looks.MOST_FOR_PEOPLE", 2)
    case_id, (seen,) = await reported(watching, platform.says("/v/123456", post()))
    await sent(watching, case_id, [seen])
    place = f"/v1/cases/{case_id}/occurrences/{seen}/looks"
    up = {"result": (None, "up")}
    answers = [await watching.client.post(place, files=up) for _ in range(3)]
    assert [each.status_code for each in answers] == [201, 201, 422]
    assert "no person can add one" in answers[2].json()["detail"]
    looks = watching.app.state.shared.services.looks
    caller = watching.accounts.authenticate(watching.keys[Role.PIPELINE])
    with pytest.raises(InvalidRequest, match="no person can add one"):
        looks.request_look(caller, case_id, seen)
    looks.record(seen, saw(watching, LookResult.UP))  # as the service does
    assert len((await watching.client.get(place)).json()["looks"]) == 3


async def test_a_program_cannot_state_what_a_person_saw(service: Service) -> None:
    """Its look would count as a strong sign: two of them would be a removal that nobody saw."""
    case_id, (seen,) = await reported(service, "https://video.example/v/1")
    await sent(service, case_id, [seen])
    service.accounts.create("program", "system", Role.ADMIN)
    answer = await service.client.post(
        f"/v1/cases/{case_id}/occurrences/{seen}/looks",
        files={"result": (None, "gone")},
        headers={"Authorization": f"Bearer {service.accounts.create_key('program').text}"},
    )
    assert answer.status_code == 403
    assert "Only people can record what they saw" in answer.json()["detail"]
    assert watch_of(service, seen).state is WatchState.NOT_LOOKED


async def test_what_differs_by_country_is_gone_only_where_two_looks_agree(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    """The service looks from Korea, and a person from elsewhere."""
    hidden = platform.says("/v/111111", GONE)
    blocked = platform.says("/v/222222", redirect("http://warning.or.kr/i.html"))
    case_id, _ = await reported(watching, hidden, blocked)
    posts = {o["source_url"]: o["id"] for o in await _occurrences(watching, case_id)}
    await sent(watching, case_id, list(posts.values()))
    looks = watching.app.state.shared.services.looks
    caller = watching.accounts.authenticate(watching.keys[Role.PIPELINE])
    pass_time(watching, lane, 1.5)
    for url, state in ((hidden, WatchState.SUSPECTED_GONE), (blocked, WatchState.BLOCKED)):
        assert watch_of(watching, posts[url]).state is state
    looks.record_for(
        caller, case_id, posts[hidden], saw(watching, LookResult.UP, note="from Germany")
    )
    looks.record_for(
        caller, case_id, posts[blocked], saw(watching, LookResult.GONE, note="from Germany")
    )
    pass_time(watching, lane, 2)
    assert watch_of(watching, posts[hidden]).state is WatchState.SUSPECTED_GONE
    assert watch_of(watching, posts[blocked]).gone_at is None
    looks.record_for(
        caller, case_id, posts[hidden], saw(watching, LookResult.UP, note="from Germany")
    )
    looks.record_for(
        caller, case_id, posts[blocked], saw(watching, LookResult.GONE, note="from Germany")
    )
    assert watch_of(watching, posts[hidden]).state is WatchState.UP
    assert watch_of(watching, posts[blocked]).state is WatchState.GONE


async def test_flapping_is_not_gone(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    url, answers = platform.says("/v/123456", post()), []

    def flapping(handler: Any) -> None:
        answers.append(GONE if len(answers) % 2 else post())
        answers[-1](handler)

    platform.says("/v/123456", flapping)
    case_id, (seen,) = await reported(watching, url)
    await sent(watching, case_id, [seen])
    pass_time(watching, lane, 60)
    assert len(answers) > 8
    assert watch_of(watching, seen).state is not WatchState.GONE


async def test_each_look_is_a_signed_record_that_names_the_one_before(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    url = platform.says("/v/123456", GONE)
    case_id, (seen,) = await reported(watching, url)
    await sent(watching, case_id, [seen])
    pass_time(watching, lane, 4)
    listed = await watching.client.get(f"/v1/cases/{case_id}/occurrences/{seen}/looks")
    looks = _looks_in(await _file(watching, case_id, seen))[::-1]
    assert listed.json()["looks"] == [_without_record(look) for look in looks]
    assert [look["number"] for look in looks] == [2, 1]
    assert "This post was removed" in looks[0]["text"]
    stated = [_stated(look["record"]) for look in looks]
    assert stated[0]["previous_sha256"] == looks[1]["sha256"]
    assert stated[1]["previous_sha256"] is None
    assert stated[0]["vantage"] == "KR"
    assert stated[0]["exchanges"][0]["status"] == 410
    (key,) = watching.app.state.shared.services.evidence_store.keys.published()
    for look in looks:
        _verify(look["record"], key)
    with watching.database.engine.begin() as connection:
        connection.execute(text("DELETE FROM looks WHERE number = 1"))
    for place in ("looks", "looks.json"):
        answer = await watching.client.get(f"/v1/cases/{case_id}/occurrences/{seen}/{place}")
        assert answer.status_code == 409
        assert answer.json()["type"].endswith("record_altered")


async def _file(service: Service, case_id: str, seen: str) -> bytes:
    answer = await service.client.get(f"/v1/cases/{case_id}/occurrences/{seen}/looks.json")
    assert answer.status_code == 200, answer.text
    return bytes(answer.content)


def _looks_in(file: bytes) -> list[dict[str, Any]]:
    return list(json.loads(file)["looks"])


def _without_record(look: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in look.items() if name != "record"}


def _stated(envelope: dict[str, Any]) -> dict[str, Any]:
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["predicateType"] == "urn:deepfake-service:look:1"
    return dict(statement["predicate"])


def _verify(envelope: dict[str, Any], key: Any) -> None:
    """Check a signature by DSSE's protocol, with no code of the service."""
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)


async def test_what_is_due_is_found_without_reading_every_watch(
    watching: Service, lane: LookLane
) -> None:
    asked: list[tuple[str, Any]] = []

    @event.listens_for(watching.database.engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if "row_number() OVER" in statement:
            asked.append((statement, values))

    assert do_due(lane) == 0
    ((statement, values),) = asked
    with watching.database.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    steps = [row[-1] for row in plan if row[-1].split()[1] == "watches"]
    assert len(steps) == 2
    found_by = [step.partition("(")[2] for step in steps]
    assert found_by == ["next_look_at<?)", "id=?)"], steps


async def test_a_file_of_looks_is_verified_offline(
    watching: Service, lane: LookLane, platform: FakePlatform, tmp_path: Path
) -> None:
    url = platform.says("/v/123456", post())
    other = platform.says("/v/222222", post())
    case_id, (seen, beside) = await reported(watching, url, other)
    place = f"/v1/cases/{case_id}/occurrences/{seen}/looks.json"
    assert (await watching.client.get(place)).status_code == 404  # nobody has looked
    await sent(watching, case_id, [seen, beside])
    pass_time(watching, lane, 13)
    answer = await _file(watching, case_id, seen)
    file, keys = tmp_path / "looks.json", tmp_path / "jwks.json"
    file.write_bytes(answer)
    keys.write_bytes((await watching.client.get("/.well-known/jwks.json")).content)
    whole = CliRunner().invoke(verify_command, [str(file), "--public-key", str(keys)])
    document, looks = json.loads(answer), _looks_in(answer)
    assert whole.exit_code == 0, whole.output
    assert looks[-1]["sha256"] in whole.output
    assert len(looks) >= 3
    # Without a key, nobody vouches for them.
    assert CliRunner().invoke(verify_command, [str(file)]).exit_code == 3
    remote = (await watching.client.post("/v1/verify", content=answer)).json()
    assert remote["result"] == "verified"
    assert [step["outcome"] for step in remote["steps"]] == ["pass"] * 2 + ["skipped"]
    assert remote["steps"][-1]["detail"].startswith("looks are not on such lists")
    trust = Trust(public_keys(keys))

    def verified(looks: list[dict[str, Any]]) -> bool:
        done = verify(rfc8785.dumps({**document, "looks": looks}), trust)
        return done.exit_code is ExitCode.VERIFIED

    foreign = _looks_in(await _file(watching, case_id, beside))[0]
    for wrong in (
        looks[1:-1],  # the first is missing
        [looks[0], *looks[2:]],  # one in between is missing
        looks[::-1],
        [foreign, *looks[1:]],
        [],
    ):
        assert not verified(wrong)
    # Only the audit log tells that the newest are missing.
    assert verified(looks[:-1])
    with watching.database.read() as session:
        logged = session.scalars(
            select(AuditEntry.detail).where(
                AuditEntry.action == Action.POST_LOOKED_AT, AuditEntry.subject == seen
            )
        ).all()
    assert logged == [f"up {look['sha256']}" for look in looks]
    for index in range(0, len(content := looks[0]["record"]["payload"]), 97):
        letter = "A" if content[index] != "A" else "B"
        looks[0]["record"]["payload"] = content[:index] + letter + content[index + 1 :]
        assert not verified(looks)
    looks[0]["record"]["payload"] = content
    assert verified(looks)


@pytest.mark.parametrize(
    "change", ["result = 'up'", "strong = false", "at = '2026-01-01 00:00:00.000000'"]
)
async def test_an_altered_look_is_found(
    watching: Service, lane: LookLane, platform: FakePlatform, change: str
) -> None:
    url = platform.says("/v/123456", GONE)
    case_id, (seen,) = await reported(watching, url)
    await sent(watching, case_id, [seen])
    pass_time(watching, lane, 4)
    caller = watching.accounts.authenticate(watching.keys[Role.PIPELINE])
    posts = watching.app.state.shared.services.posts
    with watching.database.engine.begin() as connection:
        connection.execute(text(f"UPDATE looks SET {change} WHERE number = 2"))
    with pytest.raises(RecordAltered):
        posts.read(caller, case_id, seen)


async def test_without_the_setting_nothing_leaves_and_people_look(
    service: Service, platform: FakePlatform
) -> None:
    url = platform.says("/v/123456", post())
    case_id, (seen,) = await reported(service, url)
    await sent(service, case_id, [seen])
    services = service.app.state.shared.services
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    with pytest.raises(Conflict):
        services.looks.request_look(caller, case_id, seen)
    services.looks.record_for(caller, case_id, seen, saw(service, LookResult.UP))
    service.clock.advance(timedelta(hours=2))
    picture = b"\x89PNG\r\n\x1a\n" + b"0" * 50
    look_id = services.looks.record_for(
        caller, case_id, seen, saw(service, LookResult.GONE, screenshot=picture)
    )
    assert watch_of(service, seen).state is WatchState.SUSPECTED_GONE
    assert services.posts.screenshot(caller, case_id, seen, look_id) == picture
    with pytest.raises(InvalidRequest, match="screenshot"):
        services.looks.record_for(
            caller, case_id, seen, saw(service, LookResult.UP, screenshot=picture)
        )
    ahead = service.clock() + timedelta(hours=1)
    with pytest.raises(InvalidRequest, match="future"):
        services.looks.record_for(
            caller, case_id, seen, saw(service, LookResult.GONE, seen_at=ahead)
        )
    service.clock.advance(timedelta(hours=1.5))
    services.looks.record_for(
        caller, case_id, seen, saw(service, LookResult.GONE, note="404 on my phone")
    )
    assert watch_of(service, seen).state is WatchState.GONE
    last = json.loads(services.posts.file(caller, case_id, seen))["looks"][-1]
    assert last["note"] == "404 on my phone"
    assert _stated(last["record"])["account"] == caller.account_id
    assert _stated(last["record"])["vantage"] is None
    other = service.accounts.authenticate(service.keys[Role.AUDITOR])
    with pytest.raises(NotFound):
        services.looks.record_for(other, case_id, seen, saw(service, LookResult.GONE))
    assert not platform.asked
    await asyncio.sleep(0)


async def test_a_look_is_as_old_as_its_post_at_most_and_told_of_one_by_one(
    service: Service,
) -> None:
    case_id, (seen,) = await reported(service, "https://video.example/v/123456")
    await sent(service, case_id, [seen])
    looks = service.app.state.shared.services.looks
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])

    def tell(hours_ago: float) -> None:
        at = service.clock() - timedelta(hours=hours_ago)
        looks.record_for(caller, case_id, seen, saw(service, LookResult.GONE, seen_at=at))

    with pytest.raises(InvalidRequest, match="before the post was recorded") as refused:
        tell(1)
    assert [error.field for error in refused.value.errors] == ["seen_at"]
    service.clock.advance(timedelta(hours=5))
    tell(4)
    tell(2)  # at one time with the other one, whatever lies between them
    assert watch_of(service, seen).state is WatchState.SUSPECTED_GONE
    service.clock.advance(timedelta(hours=1.1))
    tell(0.05)
    watch = watch_of(service, seen)
    assert watch.state is WatchState.GONE
    assert timedelta(hours=5) < service.clock() - watch.gone_at < timedelta(hours=5.2)


async def test_what_a_person_tells_afterwards_undoes_a_removal(service: Service) -> None:
    case_id, (seen,) = await reported(service, "https://video.example/v/123456")
    notice = await sent(service, case_id, [seen])
    looks = service.app.state.shared.services.looks
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    for hours in (1, 2):
        service.clock.advance(timedelta(hours=hours))
        looks.record_for(caller, case_id, seen, saw(service, LookResult.GONE))
    assert watch_of(service, seen).state is WatchState.GONE
    between = service.clock() - timedelta(hours=1)
    looks.record_for(caller, case_id, seen, saw(service, LookResult.UP, seen_at=between))
    watch = watch_of(service, seen)
    assert (watch.state, watch.gone_at) == (WatchState.SUSPECTED_GONE, None)
    read = (await service.client.get(f"/v1/notices/{notice['id']}")).json()
    assert (read["gone_at"], read["returned_at"]) == (None, None)
    with service.database.read() as session:
        entries = select(AuditEntry.action).where(AuditEntry.subject == seen)
        assert {Action.POST_GONE, Action.POST_RETURNED} <= set(session.scalars(entries))
    # The look that was made last is the last one, whichever was recorded last.
    place = f"/v1/cases/{case_id}/occurrences/{seen}/looks"
    post = (await service.client.get(place)).json()["post"]
    assert (post["looks"], post["result"]) == (3, "gone")
    assert post["looked_at"] == watch.looked_at.isoformat(timespec="milliseconds")
    service.clock.advance(timedelta(hours=1))
    looks.record_for(caller, case_id, seen, saw(service, LookResult.GONE))
    confirmed = watch_of(service, seen)
    assert confirmed.state is WatchState.GONE
    assert confirmed.gone_at > between


async def test_what_was_seen_before_a_notice_is_nothing_that_it_achieved(service: Service) -> None:
    case_id, (seen,) = await reported(service, "https://video.example/v/123456")
    first = await sent(service, case_id, [seen])
    looks = service.app.state.shared.services.looks
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    for hours in (1, 1.5):
        service.clock.advance(timedelta(hours=hours))
        looks.record_for(caller, case_id, seen, saw(service, LookResult.GONE))
    assert watch_of(service, seen).state is WatchState.GONE
    service.clock.advance(timedelta(hours=10))
    second = await sent(service, case_id, [seen], "search-delisting")
    service.clock.advance(timedelta(hours=2))
    late = service.clock() - timedelta(hours=5)
    looks.record_for(caller, case_id, seen, saw(service, LookResult.GONE, seen_at=late))
    assert watch_of(service, seen).state is WatchState.NOT_LOOKED
    answer = await service.client.get("/v1/statistics/removals?by=kind")
    assert answer.json()["total"]["timed"] == 1
    looks.record_for(caller, case_id, seen, saw(service, LookResult.GONE))
    assert watch_of(service, seen).state is WatchState.SUSPECTED_GONE
    service.clock.advance(timedelta(hours=1))
    looks.record_for(caller, case_id, seen, saw(service, LookResult.GONE))
    gone_at = {}
    for notice in (first, second):
        read = (await service.client.get(f"/v1/notices/{notice['id']}")).json()
        gone_at[notice["id"]] = read["gone_at"]
        assert notice["sent_at"] < read["gone_at"]
    assert len(set(gone_at.values())) == 2


async def test_a_look_that_is_asked_for_is_made_at_once(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    url = platform.says("/v/123456", post())
    case_id, (seen,) = await reported(watching, url)
    services = watching.app.state.shared.services
    caller = watching.accounts.authenticate(watching.keys[Role.PIPELINE])
    with pytest.raises(Conflict):
        services.looks.request_look(caller, case_id, seen)
    await sent(watching, case_id, [seen])
    services.looks.request_look(caller, case_id, seen)
    assert do_due(lane) == 1
    services.looks.request_look(caller, case_id, seen)
    assert do_due(lane) == 0  # its site was asked within ten seconds
    watching.clock.advance(timedelta(seconds=11))
    assert do_due(lane) == 1


async def test_a_site_is_asked_little_and_others_do_not_wait_for_it(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    crowd = [platform.says(f"/v/{n}00000", post()) for n in range(1, 31)]
    alone = platform.url("/v/100000", "other.example")
    case_id, posts = await reported(watching, *crowd, alone)
    await sent(watching, case_id, posts)
    watching.clock.advance(timedelta(hours=1.2))
    assert do_due(lane) == 2  # one of each site
    for _ in range(12):
        watching.clock.advance(timedelta(seconds=5))
        do_due(lane)
    with watching.database.read() as session:
        looks = session.scalar(select(func.count(Look.id))) or 0
    assert 6 <= looks <= 8
    siblings = [path for path in platform.asked if path not in platform.answers]
    assert len(siblings) == 2  # what never was is asked for once a day and site


async def test_a_look_whose_worker_died_is_made_by_another_one(
    watching: Service, lane: LookLane, pages: Pages, platform: FakePlatform
) -> None:
    url = platform.says("/v/123456", post())
    case_id, (seen,) = await reported(watching, url)
    await sent(watching, case_id, [seen])
    watching.clock.advance(timedelta(hours=1.2))
    (claimed,) = lane._claim(1, set()).values()
    assert claimed.occurrence_id == seen
    another = lane_of(watching, pages, "worker-2")
    with watching.database.write() as session:
        ends_at = watching.clock() + timedelta(seconds=30)
        session.add(Lease(executor_id="worker-1", expires_at=ends_at))
    watching.clock.advance(SITE_GAP + timedelta(seconds=1))
    assert do_due(another) == 0  # the first one may be alive
    watching.clock.advance(timedelta(seconds=30))
    assert do_due(another) == 1
    assert watch_of(watching, seen).state is WatchState.UP


async def test_a_post_that_kills_who_looks_at_it_waits_for_a_day(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    url = platform.says("/v/123456", post())
    case_id, (seen,) = await reported(watching, url)
    await sent(watching, case_id, [seen])
    watching.clock.advance(timedelta(hours=1.2))
    for _ in range(MAX_ATTEMPTS):
        assert lane._claim(1, set())
        watching.clock.advance(SITE_GAP + timedelta(seconds=1))
    assert do_due(lane) == 1
    assert watch_of(watching, seen).state is WatchState.NOT_LOOKED
    watching.clock.advance(timedelta(days=1))
    assert do_due(lane) == 1
    assert watch_of(watching, seen).state is WatchState.UP


async def test_withdrawn_notices_and_undone_ones_are_not_followed(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    url = platform.says("/v/123456", post())
    case_id, (seen,) = await reported(watching, url)
    notice = await sent(watching, case_id, [seen])
    await updated(watching, notice["id"], undo_sent=True)
    with watching.database.read() as session:
        assert session.scalar(select(func.count(Watch.id))) == 0
    await updated(watching, notice["id"], sent_at=watching.clock().isoformat())
    await updated(watching, notice["id"], outcome="withdrawn")
    assert pass_time(watching, lane, 60, step_h=5) == 0
    assert not platform.asked
    looks = await watching.client.get(f"/v1/cases/{case_id}/occurrences/{seen}/looks")
    assert not looks.json()["post"]["late"]


async def test_a_notice_is_recorded_as_sent_although_a_post_was_deleted_meanwhile(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    case_id, (seen,) = await reported(watching, platform.says("/v/123456", post()))
    asked = {"kind": "kr-d4u", "language": "en", "occurrence_ids": [seen], "fields": GOOD["kr-d4u"]}
    notice = (await watching.client.post(f"/v1/cases/{case_id}/notices", json=asked)).json()
    (job,) = (await watching.client.get(f"/v1/jobs?case_id={case_id}")).json()["jobs"]
    assert (await watching.client.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    now = watching.clock().isoformat()
    assert (await updated(watching, notice["id"], sent_at=now))["state"] == "sent"
    assert pass_time(watching, lane, 5) == 0


async def test_posts_that_may_show_a_minor_are_looked_at_by_people_only(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    case_id, (flagged,) = await reported(watching, platform.says("/v/123456", post()))
    other, (plain,) = await reported(
        watching, platform.says("/v/654321", post()), content=VIDEO + b"2"
    )
    if other == case_id:
        pytest.skip("both files are in one case")
    for case, seen in ((case_id, flagged), (other, plain)):
        await sent(watching, case, [seen])
    with watching.database.write() as session:
        session.get_one(Case, case_id).minor_at = watching.clock()
    pass_time(watching, lane, 4)
    assert platform.asked["/v/123456"] == 0
    assert platform.asked["/v/654321"] > 0
    place = f"/v1/cases/{case_id}/occurrences/{flagged}/looks"
    assert (await watching.client.get(place)).json()["post"]["next_look_at"] is None
    caller = watching.accounts.authenticate(watching.keys[Role.ADMIN])
    with pytest.raises(Conflict):
        watching.app.state.shared.services.looks.request_look(caller, case_id, flagged)


async def test_a_case_deleted_during_a_look_leaves_nothing(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    url = platform.says("/v/123456", post())
    case_id, (seen,) = await reported(watching, url)
    await sent(watching, case_id, [seen])
    retention = watching.app.state.shared.services.retention
    caller = watching.accounts.authenticate(watching.keys[Role.ADMIN])

    def deleting(handler: Any) -> None:
        retention.shred(case_id, caller)
        post()(handler)

    platform.says("/v/123456", deleting)
    watching.clock.advance(timedelta(hours=2))
    do_due(lane)
    with watching.database.read() as session:
        for table in (Look, Watch, Notice):
            assert session.scalar(select(func.count(table.id))) == 0


async def test_a_post_that_cannot_be_read_does_not_hold_up_others(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    urls = [platform.says(f"/v/{n}00000", post()) for n in (1, 2)]
    case_id, (broken, intact) = await reported(watching, *urls)
    await sent(watching, case_id, [broken, intact])
    with watching.database.engine.begin() as connection:
        statement = text("UPDATE occurrences SET sealed = :other WHERE id = :id")
        connection.execute(statement, {"other": b"x" * 60, "id": broken})
    pass_time(watching, lane, 2, step_h=0.02)
    assert watch_of(watching, intact).state is WatchState.UP
    waits = watch_of(watching, broken).next_look_at - watching.clock()
    assert waits > timedelta(hours=20)


async def test_a_site_that_calls_a_post_gone_to_this_service_alone_is_not_believed(
    watching: Service, lane: LookLane, platform: FakePlatform
) -> None:
    def hides(handler: Handler) -> None:
        is_named = handler.headers["User-Agent"] == AGENT
        (GONE if is_named else post())(handler)

    url = platform.says("/v/123456", post())
    case_id, (seen,) = await reported(watching, url)
    await sent(watching, case_id, [seen])
    pass_time(watching, lane, 2)
    platform.says("/v/123456", hides)
    pass_time(watching, lane, 30)
    watch = watch_of(watching, seen)
    assert (watch.state, watch.gone_at) == (WatchState.UNCLEAR, None)
    last = _looks_in(await _file(watching, case_id, seen))[-1]
    assert (last["result"], last["strong"]) == ("unknown", True)
    assert last["signals"][-1] == {"kind": "unnamed_look", "value": "up"}
    statuses = [each["status"] for each in _stated(last["record"])["exchanges"]]
    assert statuses == [410, 200]
    watching.client.headers["Accept-Language"] = "en"
    await watching.sign_in(Role.PIPELINE)
    page = (await watching.client.get(f"/cases/{case_id}/posts/{seen}")).text
    assert "look yourself" in page
