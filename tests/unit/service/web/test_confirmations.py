"""What cannot be undone is asked for first, and what was done is said afterwards."""

from __future__ import annotations

import re

import pytest

from deepfake_service.platform.db import Case
from deepfake_service.platform.enums import Role
from tests.support.answers import browse
from tests.support.jobs import submit
from tests.unit.service.conftest import Service


async def test_a_flag_for_a_possible_minor_is_confirmed_and_says_who_can_undo_it(
    service: Service,
) -> None:
    job = await submit(service, case_reference="R")
    form = await browse(service, Role.ANALYST)
    case = f"/cases/{job['case_id']}"
    page = (await service.client.get(case)).text
    assert "Only you or an administrator can remove the flag." in page
    unsure = await service.client.post(f"{case}/minor", data={**form, "wanted": "yes"})
    assert unsure.status_code == 422
    with service.database.read() as session:
        assert session.get_one(Case, job["case_id"]).minor_at is None
    sure = {**form, "wanted": "yes", "sure": "yes"}
    answer = await service.client.post(f"{case}/minor", data=sure)
    assert answer.headers["location"] == f"{case}?done=minor_flagged"
    page = (await service.client.get(answer.headers["location"])).text
    told = re.search(r'role="status">(?:(?!</p>).)*', page, re.DOTALL)
    assert told
    assert "Only you or an administrator can remove the flag." in told[0]
    unsure = await service.client.post(f"{case}/minor", data={**form, "wanted": "no"})
    assert unsure.status_code == 422
    with service.database.read() as session:
        assert session.get_one(Case, job["case_id"]).minor_at is not None
    removal = re.search(r"<summary>Remove the possible-minor flag.*?</form>", page, re.DOTALL)
    assert removal
    assert 'name="wanted" value="no"' in removal[0]
    assert 'name="sure" value="yes" required' in removal[0]
    answer = await service.client.post(f"{case}/minor", data={**sure, "wanted": "no"})
    assert answer.headers["location"] == f"{case}?done=minor_unflagged"


async def test_lifting_a_hold_is_confirmed(service: Service) -> None:
    job = await submit(service, case_reference="R")
    form = await browse(service, Role.ANALYST)
    path = f"/cases/{job['case_id']}/hold"
    assert (await service.client.post(path, data={**form, "wanted": "yes"})).status_code == 303
    assert (await service.client.post(path, data={**form, "wanted": "no"})).status_code == 422
    with service.database.read() as session:
        assert session.get_one(Case, job["case_id"]).held_at is not None
    lifted = await service.client.post(path, data={**form, "wanted": "no", "sure": "yes"})
    assert lifted.status_code == 303
    with service.database.read() as session:
        assert session.get_one(Case, job["case_id"]).held_at is None


async def test_revoking_a_key_is_confirmed(service: Service) -> None:
    form = await browse(service, Role.ADMIN)
    key_id = service.keys[Role.AUDITOR].split("_")[1]
    revoke = {**form, "revoke": key_id}
    page = (await service.client.get("/admin")).text
    assert f'name="revoke" value="{key_id}"' in page
    assert (await service.client.post("/admin/keys", data=revoke)).status_code == 422
    service.accounts.authenticate(service.keys[Role.AUDITOR])
    answer = await service.client.post("/admin/keys", data={**revoke, "sure": "yes"})
    assert answer.status_code == 200
    assert f'name="revoke" value="{key_id}"' not in answer.text


async def test_a_name_that_is_taken_is_named_beside_its_field(service: Service) -> None:
    form = await browse(service, Role.ADMIN)
    new = {**form, "name": "A & B", "role": "auditor", "kind": "system"}
    assert (await service.client.post("/admin/accounts", data=new)).status_code == 200
    refused = await service.client.post("/admin/accounts", data=new)
    assert refused.status_code == 409
    assert 'value="A &amp; B" maxlength="100" required aria-invalid="true"' in refused.text
    assert '<option value="auditor" selected>' in refused.text
    assert '<option value="system" selected>' in refused.text
    assert 'id="name-problem"' in refused.text
    wrong = ({"name": ""}, {"name": "a\u202eb"}, {"role": "king"}, {"kind": "x", "adapter": "y"})
    for fields in wrong:
        answer = await service.client.post("/admin/accounts", data={**new, **fields})
        assert answer.status_code == 422


@pytest.mark.parametrize("done", ["<b>", "nonsense", "item_deleted<b>"])
async def test_a_page_says_only_what_it_knows(service: Service, done: str) -> None:
    await browse(service, Role.ANALYST)
    page = (await service.client.get("/", params={"done": done})).text
    assert 'class="note told"' not in page
    assert "<b>" not in page
