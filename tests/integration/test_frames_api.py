"""Pictures in every form through the service in this process, with decoder processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import matplotlib.cbook
import pytest
import pytest_asyncio
from PIL import Image

from deepfake_service.accounts.accounts import Accounts
from deepfake_service.app import create_app
from deepfake_service.audit.records import open_database
from deepfake_service.examination.engine import engine_running
from deepfake_service.platform.enums import Role
from deepfake_service.platform.settings import Settings
from tests.support import footage
from tests.support.small_bundles import small_bundle_dir

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.server


def hopper() -> Image.Image:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return Image.open(file).convert("RGB")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    folder = tmp_path_factory.mktemp("data")
    settings = Settings(data_dir=folder, bundle_dir=small_bundle_dir())
    database = open_database(settings)
    accounts = Accounts(database)
    accounts.create("pipeline", "system", Role.PIPELINE)
    key = accounts.create_key("pipeline").text
    with engine_running(settings) as (scorer, decoder):
        app = create_app(settings, database, scorer, decoder, worker=True)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://service",
                headers={"Authorization": f"Bearer {key}"},
                timeout=120,
            ) as running,
        ):
            yield running


async def post(client: httpx.AsyncClient, *contents: bytes) -> dict[str, Any]:
    files = [("files", (f"{i}.bin", c)) for i, c in enumerate(contents)]
    response = await client.post("/v1/frames", files=files)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.asyncio(loop_scope="module")
class TestPictures:
    async def test_faces_are_found_and_scored(self, client: httpx.AsyncClient) -> None:
        body = await post(
            client,
            footage.picture(Image.fromarray(footage.astronaut())),
            footage.picture(hopper(), "PNG"),
        )
        for frame in body["frames"]:
            (face,) = frame["faces"]
            assert 0 <= frame["score"] <= 1
            assert frame["score"] == face["score"]
            assert face["confidence"] > 0.9
            assert face["quality"]["face_px"] > 48
        x0, y0, x1, y1 = body["frames"][0]["faces"][0]["box"]
        assert (x0 + x1) / 2 == pytest.approx(223, abs=12)
        assert (y0 + y1) / 2 == pytest.approx(115, abs=15)
        assert set(body["model"]) == {"bundle", "version", "sha256", "terms"}

    async def test_a_score_does_not_depend_on_company(self, client: httpx.AsyncClient) -> None:
        pictures = [
            footage.picture(Image.fromarray(footage.astronaut()).rotate(a)) for a in (0, 3, 6)
        ] + [footage.picture(hopper())]
        alone = [(await post(client, p))["frames"][0]["score"] for p in pictures]
        together = [f["score"] for f in (await post(client, *pictures))["frames"]]
        crowd = await asyncio.gather(*(post(client, p) for p in pictures))
        assert together == pytest.approx(alone, abs=2e-4)
        assert [c["frames"][0]["score"] for c in crowd] == pytest.approx(alone, abs=2e-4)

    @pytest.mark.data
    @pytest.mark.skipif(not SHARED.is_dir(), reason="the research data set is absent")
    async def test_every_robustness_file_is_answered(self, client: httpx.AsyncClient) -> None:
        paths = sorted(p for p in (SHARED / "robustness").rglob("*") if p.is_file())
        assert paths
        frames = (await post(client, *(p.read_bytes() for p in paths[:64])))["frames"]
        assert len(frames) == len(paths[:64])
        for path, frame in zip(paths, frames, strict=False):
            judged = frame["score"] is not None
            assert judged or frame["reasons"], path.name
