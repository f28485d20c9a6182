"""What became of posts, in numbers: against published examples, and without small groups."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest

from deepfake_service.platform.enums import LookResult, Role
from deepfake_service.removal.statistics import (
    COUNTS,
    FollowedPost,
    group_posts,
    quantile,
    removed_by,
)
from tests.support.looking import reported, saw, sent
from tests.support.notices import updated
from tests.unit.service.conftest import Service

# Freireich and others, "The effect of 6-mercaptopurine on the duration of steroid-induced
# remissions in acute leukemia", Blood 21 (1963): weeks in remission; True is a relapse.
FREIREICH = [
    (6.0, True), (6.0, True), (6.0, True), (6.0, False), (7.0, True), (9.0, False), (10.0, True),
    (10.0, False), (11.0, False), (13.0, True), (16.0, True), (17.0, False), (19.0, False),
    (20.0, False), (22.0, True), (23.0, True), (25.0, False), (32.0, False), (32.0, False),
    (34.0, False), (35.0, False),
]  # fmt: skip


def test_times_agree_with_the_published_example() -> None:
    curve = removed_by(FREIREICH)
    published = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    assert {round(at): round(1 - removed, 3) for at, removed in curve} == pytest.approx(published)
    assert quantile(curve, 0.5) == 23.0
    assert quantile(curve, 0.9) is None


def test_times_agree_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    import random

    draw = random.Random(1)
    times = [(round(draw.expovariate(0.1), 1), draw.random() < 0.6) for _ in range(500)]
    data = stats.CensoredData.right_censored([t for t, _ in times], [not r for _, r in times])
    expected = stats.ecdf(data).cdf
    mine = dict(removed_by(times))
    for at, share in zip(expected.quantiles, expected.probabilities, strict=True):
        if at in mine:
            assert mine[at] == pytest.approx(share)
    assert len(mine) > 100


def test_the_median_of_removed_posts_alone_would_be_too_low() -> None:
    times = [(1.0, True)] * 3 + [(100.0, False)] * 7
    assert quantile(removed_by(times), 0.5) is None
    assert removed_by([]) == []
    assert quantile(removed_by([(5.0, True)]), 0.5) == 5.0


def followed(platform: str) -> FollowedPost:
    return FollowedPost(platform, "kr-d4u", "2026-01", frozenset({"sent", "up"}), 1.0, False)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"a": 9, "b": 4, "c": 1}, {"a": 9, "other": 5}),
        ({"a": 9, "b": 6, "c": 1}, {"a": 9, "other": 7}),  # the one could be subtracted
        ({"a": 9, "b": 6}, {"a": 9, "b": 6}),
        ({"a": 2, "b": 1}, {"other": 3}),
        ({"a": 9, "b": 1}, {"other": 10}),
        ({}, {}),
    ],
)
def test_small_groups_are_merged(sizes: dict[str, int], expected: dict[str, int]) -> None:
    posts = [followed(name) for name, count in sizes.items() for _ in range(count)]
    groups = {name: len(found) for name, found in group_posts(posts, lambda post: post.platform)}
    assert groups == expected


async def _many(service: Service) -> dict[str, Any]:
    """Send notices about 14 posts of three platforms and record looks at them."""
    looks = service.app.state.shared.services.looks
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    urls = [f"https://www.alpha.co.kr/v/{n}" for n in range(7)]
    urls += [f"https://m.beta.example/v/{n}" for n in range(5)]
    urls += ["https://gamma.example/v/1", "https://=cmd.example/v/1"]
    case_id, _ = await reported(service, *urls)
    seen = (await service.client.get(f"/v1/cases/{case_id}/occurrences")).json()["occurrences"]
    by_url = {post["source_url"]: post["id"] for post in seen}
    notice = await sent(service, case_id, list(by_url.values()))

    def look(url: str, result: LookResult) -> None:
        looks.record_for(caller, case_id, by_url[url], saw(service, result))

    service.clock.advance(timedelta(hours=10))
    for url in urls[:4]:
        look(url, LookResult.GONE)
    look(urls[4], LookResult.BLOCKED_HERE)
    look(urls[5], LookResult.RESTRICTED)
    for url in urls[7:12]:
        look(url, LookResult.UP)
    service.clock.advance(timedelta(hours=2))
    for url in urls[:4]:
        look(url, LookResult.GONE)
    service.clock.advance(timedelta(hours=50))
    look(urls[0], LookResult.UP)
    return {"case_id": case_id, "notice": notice, "urls": urls, "posts": by_url}


async def _removals(service: Service, **query: str) -> dict[str, Any]:
    answer = await service.client.get("/v1/statistics/removals", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_posts_are_counted_by_what_became_of_them(service: Service) -> None:
    await _many(service)
    found = await _removals(service)
    alpha, other = found["groups"]
    assert (alpha["name"], other["name"]) == ("alpha.co.kr", "other")
    counts = {name: alpha["counts"][name] for name in COUNTS}
    assert counts == {
        "sent": 7, "removed": 3, "restricted": 1, "blocked": 1, "up": 1, "unclear": 1,
        "returned": 1, "refused": 0, "past_deadline": 4,
    }  # fmt: skip
    assert alpha["timed"] == 6
    assert alpha["median_h"] == pytest.approx(10, abs=0.1)
    assert other["counts"]["sent"] == 7  # five of one site would tell the number of the two others
    assert found["total"]["counts"]["sent"] == 14
    for group in (*found["groups"], found["total"]):
        whole = group["counts"]
        parts = ("removed", "restricted", "blocked", "up", "unclear")
        assert sum(whole[name] for name in parts) == whole["sent"]
    by_kind = await _removals(service, by="kind")
    assert [group["name"] for group in by_kind["groups"]] == ["us-take-it-down"]
    month = (await _removals(service, by="month"))["groups"][0]["name"]
    assert len(month) == len("2026-01")
    assert (await _removals(service, start="2020-01-01", end="2020-12-31"))["groups"] == []
    wrong = await service.client.get("/v1/statistics/removals?start=2026-02-01&end=2026-01-01")
    assert wrong.status_code == 422


async def test_an_answer_counts_where_nobody_looked(service: Service) -> None:
    case_id, posts = await reported(service, *[f"https://a.example/{n}" for n in range(5)])
    notice = await sent(service, case_id, posts, "us-take-it-down")
    service.clock.advance(timedelta(hours=20))
    await updated(service, notice["id"], outcome="removed")
    found = (await _removals(service))["total"]
    assert found["counts"]["removed"] == 5
    assert found["median_h"] == pytest.approx(20, abs=0.1)
    await updated(service, notice["id"], outcome="withdrawn")
    assert (await _removals(service))["total"]["counts"]["sent"] == 0


async def test_others_do_not_see_the_numbers_of_an_account(service: Service) -> None:
    await _many(service)
    headers = {"Authorization": f"Bearer {service.keys[Role.AUDITOR]}"}
    answer = await service.client.get("/v1/statistics/removals", headers=headers)
    assert answer.status_code == 403
    name = "second pipeline"
    service.accounts.create(name, "person", Role.PIPELINE)
    other = {"Authorization": f"Bearer {service.accounts.create_key(name).text}"}
    answer = await service.client.get("/v1/statistics/removals", headers=other)
    assert answer.json()["total"]["counts"]["sent"] == 0


async def test_the_numbers_are_a_page_and_a_table(service: Service) -> None:
    await _many(service)
    text = (await service.client.get("/v1/statistics/removals.csv")).text
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [row["platform"] for row in rows] == ["alpha.co.kr", "other"]
    assert rows[0]["removed"] == "3"
    await service.sign_in(Role.PIPELINE)
    for language, expected in (("ko", "중앙값"), ("en", "Median")):
        page = await service.client.get("/statistics", headers={"Accept-Language": language})
        assert page.status_code == 200
        assert expected in page.text
        assert "alpha.co.kr" in page.text
        assert '<svg xmlns="http://www.w3.org/2000/svg"' in page.text
    empty = await service.client.get("/statistics?start=2020-01-01&end=2020-02-01")
    assert "<svg xmlns" not in empty.text
