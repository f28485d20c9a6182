"""What people look at in kept media: frames, contact sheets and changes over time."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deepfake_models.media.decoder import InProcessDecoder
from deepfake_service.audit.log import Action
from deepfake_service.platform.enums import Role
from deepfake_service.review.changes import patch, peaks_of, region_changes, unmatched
from deepfake_service.review.views import VIEWS
from tests.support import exhibits
from tests.support.jobs import examined, headers
from tests.unit.service.conftest import Service


@pytest.fixture
def decoding(service: Service) -> Service:
    """A service that decodes what is submitted."""
    services = service.app.state.shared.services
    services.media_viewer = replace(services.media_viewer, decoder=InProcessDecoder())
    return service


async def test_a_frame_has_the_pixels_of_the_file(decoding: Service) -> None:
    job = await examined(decoding, exhibits.video())
    with InProcessDecoder().open(io.BytesIO(exhibits.video())) as media:
        times = media.times
        frames = {frame.index: frame.pixels for frame in media.frames([3, 4])}
    path = f"/v1/jobs/{job['id']}/frame.png"
    for at, index in ((times[3], 3), ((times[3] + times[4]) / 2, 3), (times[4], 4)):
        answer = await decoding.client.get(path, params={"at": float(at)})
        assert answer.status_code == 200, answer.text
        np.testing.assert_array_equal(
            np.asarray(Image.open(io.BytesIO(answer.content))), frames[index]
        )
    for view in VIEWS:
        answer = await decoding.client.get(path, params={"at": float(times[3]), "view": view})
        assert Image.open(io.BytesIO(answer.content)).size == frames[3].shape[1::-1]
    wrong = await decoding.client.get(path, params={"view": "x-ray"})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["field"] == "view"


async def test_a_sheet_has_every_examined_face_and_all_frames_around_a_moment(
    decoding: Service,
) -> None:
    job = await examined(decoding, exhibits.video())
    exact = exhibits.material(exhibits.video()).examination.exact.faces
    sheet = (await decoding.client.get(f"/v1/jobs/{job['id']}/sheet")).json()
    assert [f["time_s"] for f in sheet["faces"]] == sorted(f.time_s for f in exact)
    assert {f["person"] for f in sheet["faces"]} == {f.track + 1 for f in exact}
    first = sheet["faces"][0]
    picture = Image.open(io.BytesIO(base64.b64decode(first["picture"])))
    left, top, right, bottom = first["box"]
    assert picture.size[0] == pytest.approx(min(1.6 * max(right - left, bottom - top), 256), abs=2)
    near = (await decoding.client.get(f"/v1/jobs/{job['id']}/sheet", params={"around": 1.0})).json()
    with InProcessDecoder().open(io.BytesIO(exhibits.video())) as media:
        expected = [t for t in media.times.tolist() if abs(t - 1.0) <= 0.6]
    assert sorted({f["time_s"] for f in near["faces"]}) == expected


async def test_changes_cover_a_video_part_by_part(decoding: Service) -> None:
    job = await examined(decoding, exhibits.video())
    answer = (await decoding.client.get(f"/v1/jobs/{job['id']}/changes")).json()
    assert answer["next_s"] is None
    (person,) = answer["people"]
    assert len(person["times"]) == len(person["inside"]) == len(person["around"]) > 20
    rest = (
        await decoding.client.get(f"/v1/jobs/{job['id']}/changes", params={"from_s": 1.0})
    ).json()
    assert rest["people"][0]["times"][0] > 1.0


async def test_small_motions_of_a_person_are_magnified(decoding: Service) -> None:
    job = await examined(decoding, exhibits.video())
    path = f"/v1/jobs/{job['id']}/motion.webp"
    answer = await decoding.client.get(path, params={"person": 1, "from_s": 0.5})
    assert answer.status_code == 200, answer.text
    moving = Image.open(io.BytesIO(answer.content))
    assert moving.n_frames > 20
    plain, larger = (
        np.asarray(moving.convert("RGB"), np.int32)[:, part]
        for part in (slice(224), slice(224, 448))
    )
    assert np.abs(plain - larger).mean() < 3  # the first frame, before anything has moved
    moving.seek(12)
    whole = np.asarray(moving.convert("RGB"), np.int32)
    assert np.abs(whole[:, :224] - whole[:, 224:]).mean() > 3
    assert (await decoding.client.get(path, params={"person": 2})).status_code == 404


async def test_what_is_looked_at_is_audited_and_withheld_as_playing_is(decoding: Service) -> None:
    job = await examined(decoding, exhibits.video())
    for what in ("frame.png", "sheet", "changes", "motion.webp"):
        path = f"/v1/jobs/{job['id']}/{what}"
        assert (await decoding.client.get(path)).status_code == 200
        strange = await decoding.client.get(path, headers=headers(decoding, Role.ANALYST))
        assert strange.status_code in (200, 404)
    log = await decoding.client.get("/v1/audit", headers=headers(decoding, Role.ADMIN))
    read = [e for e in log.json()["entries"] if e["action"] == Action.MEDIA_READ]
    assert read
    flag = f"/v1/cases/{job['case_id']}/minor"
    await decoding.client.put(flag, headers=headers(decoding, Role.ADMIN))
    for what in ("frame.png", "sheet", "changes", "motion.webp"):
        answer = await decoding.client.get(f"/v1/jobs/{job['id']}/{what}")
        assert answer.json()["type"].endswith("imagery_withheld")


def test_motion_is_taken_out_and_flicker_is_not() -> None:
    texture = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    still = np.asarray(Image.fromarray(texture).resize((320, 320), Image.Resampling.BICUBIC))
    moved = np.roll(still, (6, 4), (0, 1))
    box = (110.0, 110.0, 210.0, 210.0)
    flickers = moved.copy()
    flickers[150:170, 150:170] = (40, 60, 255)
    before = patch(still, box)
    quiet = region_changes(unmatched(before, patch(moved, box)))
    loud = region_changes(unmatched(before, patch(flickers, box)))
    assert loud[0] > 4 * quiet[0]
    assert loud[1:] == quiet[1:]
    series = np.tile(np.array([[quiet[0]], [quiet[1]], [quiet[2]]]), (1, 30))
    series += np.random.default_rng(1).normal(0, 0.1, series.shape)
    times = [n / 30 for n in range(30)]
    assert peaks_of(times, series) == []
    series[0, 12] = loud[0]
    (peak,) = peaks_of(times, series)
    assert (peak.time_s, peak.region) == (times[12], "inside")
    series[:, 12] = 8 * np.median(series, axis=1)  # as a cut does
    assert peaks_of(times, series) == []
