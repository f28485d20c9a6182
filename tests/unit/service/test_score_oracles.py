"""Attacks that search for adversarial changes of a picture by the answers of the service.

The attack that worked: with the key of a pipeline, smooth changes of at most 5 of 255 were sent by
``POST /v1/frames``, and the four digits of each answer led to the next, until the verdict changed.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from deepfake_models.bundle.results import Face, Quality, Verdict, VerdictCode
from deepfake_models.decision.level import Criteria
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_service.db import AuditEntry
from deepfake_service.db.enums import Role
from deepfake_service.errors import SettingsError, TooManySimilarPictures
from deepfake_service.evidence import perceptual_hashes
from deepfake_service.evidence.builder import VERDICT
from deepfake_service.evidence.zip_format import member
from deepfake_service.http.schemas import frame_out
from deepfake_service.http.score_detail import answer_to
from deepfake_service.http.similar_pictures import MAX_ACCOUNTS, SimilarPictures
from deepfake_service.observability.metrics import Metrics
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import Action
from deepfake_service.settings import ScoreDetail
from tests.support import evidencekit as kit
from tests.support import judgingkit, mediakit
from tests.support.jobkit import examined, headers
from tests.unit.service.conftest import Service, Starter

VALUES = ("score", "log_likelihood_ratio", "peak_score", "kinds")


def probes(count: int, bound: int = 8, seed: int = 0) -> list[mediakit.Pixels]:
    """Return a portrait with smooth random changes, as the attack sends it."""
    picture = mediakit.astronaut()
    rng = np.random.default_rng(seed)
    changed = []
    for _ in range(count):
        field = np.clip(rng.normal(size=(28, 28)), -1, 1).astype(np.float32)
        grown = Image.fromarray(field).resize(picture.shape[1::-1], Image.Resampling.BICUBIC)
        change = np.rint(np.clip(np.asarray(grown), -1, 1) * bound)[..., None]
        changed.append(np.clip(picture + change, 0, 255).astype(np.uint8))
    return changed


def use_system(service: Service) -> None:
    service.accounts.create("crawler", "system", Role.PIPELINE)
    key = service.keys[Role.PIPELINE] = service.accounts.create_key("crawler").text
    service.client.headers["Authorization"] = f"Bearer {key}"


def values(answer: Any, name: str = "") -> list[tuple[str, Any]]:
    """Return every value of the model in an answer, with its name."""
    if isinstance(answer, dict):
        return [found for key, part in answer.items() for found in values(part, key)]
    if isinstance(answer, list):
        return [found for part in answer for found in values(part, name)]
    return [(name, answer)] if name in VALUES and answer is not None else []


# -- coarse answers -------------------------------------------------------------------------------


async def test_a_system_is_told_all_values_by_default(service: Service) -> None:
    use_system(service)
    (frame,) = (await service.post(b"still 2 117")).json()["frames"]
    assert frame["log_likelihood_ratio"] == pytest.approx(0.7383, abs=1e-4)
    assert len(values(frame)) == 6


async def test_an_attacker_who_is_told_whole_numbers_cannot_follow_small_steps(
    start: Starter,
) -> None:
    async with start(system_scores="rounded") as service:
        use_system(service)
        answers = [
            (await service.post(f"still 1 {value}".encode())).json()["frames"][0]
            for value in (114, 117, 120)
        ]
    assert [values(a) for a in answers] == [[("log_likelihood_ratio", 1.0)] * 2] * 3
    assert {a["verdict"] for a in answers} == {"likely_manipulated"}


async def test_an_attacker_who_is_told_verdicts_sees_no_value(start: Starter) -> None:
    async with start(system_scores="verdicts") as service:
        use_system(service)
        (frame,) = (await service.post(b"still 2 117")).json()["frames"]
    assert values(frame) == []
    assert frame["verdict"] == "likely_manipulated"
    assert [face["verdict"] for face in frame["faces"]] == ["likely_manipulated"] * 2


@pytest.mark.parametrize("detail", ["rounded", "verdicts"])
async def test_a_person_is_told_all_values_whatever_systems_are_told(
    start: Starter, detail: str
) -> None:
    async with start(system_scores=detail) as service:
        (frame,) = (await service.post(b"still 1 117")).json()["frames"]
    assert frame["log_likelihood_ratio"] == pytest.approx(0.7383, abs=1e-4)


@pytest.mark.parametrize(
    ("detail", "told"), [("rounded", {"log_likelihood_ratio"}), ("verdicts", set())]
)
async def test_jobs_tell_a_system_no_more_and_evidence_stays_exact(
    start: Starter, detail: str, told: set[str]
) -> None:
    async with start(system_scores=detail) as service:
        use_system(service)
        job = await examined(service, kit.video(), case_reference="CASE-A")
        result = (await service.client.get(f"/v1/jobs/{job['id']}")).json()["result"]
        (listed,) = (await service.client.get("/v1/jobs")).json()["jobs"]
        evidence = await service.client.get(f"/v1/jobs/{job['id']}/evidence")
        admin = headers(service, Role.ADMIN)
        answer = await service.client.get(f"/v1/jobs/{job['id']}", headers=admin)
    exact = answer.json()["result"]
    found = values(result)
    assert {name for name, _ in found} == told
    assert set(values(listed)) <= set(found)
    assert {name for name, _ in values(listed)} == told
    assert all(value == round(value) for _, value in found)
    assert any(value != round(value) for _, value in values(exact))
    assert result["verdict"] == exact["verdict"]
    document = json.loads(member(evidence.content, VERDICT))
    assert any(value != round(value) for _, value in values(document))


def details(answer: Any) -> list[str]:
    """Return the texts of all reasons in an answer."""
    if isinstance(answer, dict):
        own = [reason["detail"] for reason in answer.get("reasons", ())]
        return own + [text for part in answer.values() for text in details(part)]
    return [text for part in answer for text in details(part)] if isinstance(answer, list) else []


@pytest.mark.parametrize("detail", ["rounded", "verdicts"])
async def test_the_text_of_a_reason_tells_a_system_no_value(start: Starter, detail: str) -> None:
    """That of an inconclusive value has its log likelihood ratio, with two digits: an attack needs
    just these on its way from one threshold to the other."""
    async with start(system_scores=detail) as service:
        use_system(service)
        job = await examined(service, kit.video())
        told = (await service.client.get(f"/v1/jobs/{job['id']}")).json()["result"]
        admin = headers(service, Role.ADMIN)
        exact = (await service.client.get(f"/v1/jobs/{job['id']}", headers=admin)).json()["result"]
    signed = re.compile(r"[+-]\d+\.\d\d")
    assert [text for text in details(exact) if signed.search(text)]
    assert [text for text in details(told) if signed.search(text)] == []
    assert len(details(told)) == len(details(exact))


@pytest.mark.parametrize("detail", ["rounded", "verdicts"])
def test_the_text_of_a_reason_tells_a_system_no_value_of_a_picture(detail: ScoreDetail) -> None:
    code = VerdictCode.INCONCLUSIVE
    reasons = Criteria.of(judgingkit.spec()).face.judge(0.4321).reasons
    face = Face(
        time_s=0.0, box=(0.0, 0.0, 9.0, 9.0), confidence=1.0,
        quality=Quality(9.0, 1.0, 1.0, 0.5), verdict=code, reasons=reasons,
    )  # fmt: skip
    frame = frame_out("a", "0" * 64, Verdict(code, 0.73, 0.4321, reasons=reasons, faces=(face,)))
    crawler = Caller("a", Role.PIPELINE, "k", system=True)
    assert "+0.43" in frame.model_dump_json()
    told = answer_to(crawler, frame, detail)
    assert "0.43" not in told.model_dump_json()
    assert [reason.code for reason in told.reasons] == [reason.code for reason in frame.reasons]


# -- near-duplicates ------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def refusals(service: Service) -> int:
    with service.database.read() as session:
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.action == Action.SIMILAR_PICTURES_REFUSED)
        )
        return len(list(entries))


def caller(service: Service, role: Role = Role.PIPELINE) -> Caller:
    return service.accounts.authenticate(service.keys[role])


def refused(similar: SimilarPictures, who: Caller, pictures: list[mediakit.Pixels]) -> list[int]:
    """Return the numbers of the pictures that are refused."""
    numbers = []
    for number, picture in enumerate(pictures):
        try:
            similar.check(who, picture)
        except TooManySimilarPictures:
            numbers.append(number)
    return numbers


async def test_a_search_around_one_picture_is_refused_and_audited_once_a_window(
    service: Service,
) -> None:
    clock = Clock()
    similar = SimilarPictures(service.database, "5/hour", Metrics(), clock=clock)
    attacker = caller(service)
    assert refused(similar, attacker, probes(9)) == [5, 6, 7, 8]
    assert refusals(service) == 1
    # Another account is not affected, and nor are other pictures of this one.
    assert refused(similar, caller(service, Role.ANALYST), probes(2)) == []
    assert refused(similar, attacker, [mediakit.grace_hopper()]) == []
    clock.now = 3601
    assert refused(similar, attacker, probes(7, seed=1)) == [5, 6]
    assert refusals(service) == 2


async def test_the_answer_says_when_to_try_again(service: Service) -> None:
    clock = Clock()
    similar = SimilarPictures(service.database, "2/minute", Metrics(), clock=clock)
    for now in (0.0, 10.0):
        clock.now = now
        similar.check(caller(service), probes(1)[0])
    clock.now = 30.0
    with pytest.raises(TooManySimilarPictures) as error:
        similar.check(caller(service), probes(1)[0])
    assert error.value.retry_after_s == 30


async def test_many_accounts_and_pictures_take_bounded_memory(service: Service) -> None:
    similar = SimilarPictures(service.database, None, Metrics())
    for number in range(MAX_ACCOUNTS + 5):
        similar.check(Caller(str(number), Role.PIPELINE, "k"), mediakit.astronaut())
    assert len(similar._recent) == MAX_ACCOUNTS


async def test_near_duplicates_are_only_counted_without_a_limit(service: Service) -> None:
    metrics = Metrics()
    similar = SimilarPictures(service.database, None, metrics)
    assert refused(similar, caller(service), probes(12)) == []
    assert b"deepfake_similar_pictures_total 11.0" in metrics.exposition()
    assert refusals(service) == 0


async def test_black_frames_are_not_taken_for_a_search(service: Service) -> None:
    similar = SimilarPictures(service.database, "2/hour", Metrics())
    black = [np.zeros((240, 320, 3), np.uint8)] * 5
    assert refused(similar, caller(service), black) == []


async def test_a_request_that_continues_a_search_gets_429(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(similar_pictures_per_account="2/hour") as service:
        real = InProcessDecoder()
        monkeypatch.setattr(service.decoder, "open", real.open)
        sent = [mediakit.picture(p, "PNG") for p in probes(3)]
        assert (await service.post(sent[0], sent[1])).status_code == 200
        answer = await service.post(sent[2])
        assert answer.status_code == 429
        assert answer.json()["type"].endswith(":too_many_similar_pictures")
        assert "DEEPFAKE_SIMILAR_PICTURES_PER_ACCOUNT" in answer.json()["detail"]
        assert 0 < int(answer.headers["Retry-After"]) <= 3600
        assert refusals(service) == 1


async def test_a_limit_without_pdqhash_stops_the_start(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptual_hashes, "pdqhash", None)
    SimilarPictures(service.database, None, Metrics()).check(caller(service), mediakit.astronaut())
    with pytest.raises(SettingsError, match="SIMILAR_PICTURES_PER_ACCOUNT needs the extra"):
        SimilarPictures(service.database, "9/hour", Metrics())


# -- the console ----------------------------------------------------------------------------------


def numbers_like(text: str, exact: float) -> list[str]:
    """Return the texts in a page that are a value to two digits or more."""
    return [form for form in (f"{exact:.2f}", f"{exact:+.2f}", f"{exact:.4f}") if form in text]


@pytest.mark.parametrize("detail", ["full", "rounded", "verdicts"])
async def test_the_console_and_its_export_tell_a_system_no_more(
    start: Starter, detail: str
) -> None:
    async with start(system_scores=detail) as service:
        use_system(service)
        job = await examined(service, kit.video(), case_reference="CASE-A")
        other = await examined(service, kit.video() + b"x", kit.video(), case_reference="CASE-B")
        result = (
            await service.client.get(f"/v1/jobs/{job['id']}", headers=headers(service, Role.ADMIN))
        ).json()["result"]
        exact = result["log_likelihood_ratio"]
        ordered = await service.client.get("/v1/jobs?order=likelihood")
        del service.client.headers["Authorization"]
        await service.sign_in(Role.PIPELINE)
        pages = [
            (await service.client.get(path)).text
            for path in ("/", "/?tab=all", f"/items/{job['id']}", f"/cases/{job['case_id']}")
        ]
        csv = (await service.client.get("/results.csv")).text
    is_full = detail == "full"
    shown = [bool(numbers_like(page, exact)) for page in pages]
    assert shown == [is_full, is_full, is_full, False]
    assert all(f"/items/{j['id']}" in pages[0] for j in (job, other))
    assert f"/v1/jobs/{job['id']}/evidence" in pages[2]
    assert bool(numbers_like(csv, exact)) is is_full
    assert ordered.status_code == (200 if is_full else 422)
    header, *rows = (line.split(",") for line in csv.splitlines())
    cells = [dict(zip(header, row, strict=True)) for row in rows]
    told = {"full": str(exact), "rounded": str(float(round(exact))), "verdicts": ""}[detail]
    assert {cell["log_likelihood_ratio"] for cell in cells} == {told}
    assert all(bool(cell["score"]) is is_full for cell in cells)
    assert {cell["file_name"] for cell in cells} == {"v"}
    assert {cell["verdict"] for cell in cells} == {result["verdict"]}


async def test_a_person_sees_all_values_in_the_console(start: Starter) -> None:
    async with start(system_scores="verdicts") as service:
        job = await examined(service, kit.video(), case_reference="CASE-A")
        result = (await service.client.get(f"/v1/jobs/{job['id']}")).json()["result"]
        del service.client.headers["Authorization"]
        await service.sign_in(Role.PIPELINE)
        for path in ("/", f"/items/{job['id']}", "/results.csv"):
            page = (await service.client.get(path)).text
            assert numbers_like(page, result["log_likelihood_ratio"]), path
