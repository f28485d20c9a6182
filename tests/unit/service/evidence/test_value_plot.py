"""Where a value lies among measured media: in the evidence, the report and the console."""

from __future__ import annotations

import copy
import json
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from deepfake_models.bundle.spec import ValueHistogram
from deepfake_service.evidence.bundle.artifacts import MODEL_MANIFEST, Material
from deepfake_service.evidence.bundle.builder import VERDICT
from deepfake_service.evidence.bundle.zip_format import member
from deepfake_service.evidence.report.plots import bin_of, value_note, value_plot
from deepfake_service.evidence.report.reading import Reading
from deepfake_service.platform.enums import Role
from deepfake_service.platform.texts.i18n import words
from tests.support import exhibits, footage
from tests.support.documents import report_texts
from tests.support.jobs import end, post_video
from tests.unit.service.conftest import Service

HISTOGRAM: dict[str, Any] = {
    "edges": [-2.0, -1.0, 0.0, 1.0, 2.0],
    "real": [20, 60, 15, 5],
    "fake": [2, 8, 30, 40],
    "real_groups": 40,
    "fake_groups": 35,
}


def histogram_material(media: bytes) -> Material:
    """Return ``material`` of a model bundle with histograms of values."""
    gathered = exhibits.material(media)
    manifest = json.loads(gathered.files[MODEL_MANIFEST])
    manifest["histograms"] = {"item": HISTOGRAM, "picture": HISTOGRAM}
    gathered.files[MODEL_MANIFEST] = json.dumps(manifest).encode()
    return gathered


async def examined_with(service: Service, media: bytes, material: Any) -> dict[str, Any]:
    job: dict[str, Any] = (await post_video(service, media)).json()
    end(service, job["id"], material)
    return job


@pytest.mark.parametrize(
    ("value", "number"), [(-9.0, 0), (-2.0, 0), (-1.001, 0), (-1.0, 1), (0.0, 2), (2.0, 3), (9, 3)]
)
def test_a_value_is_in_the_bin_whose_lower_edge_it_reaches(value: float, number: int) -> None:
    assert bin_of(ValueHistogram(**HISTOGRAM), value) == number


async def test_a_bundle_with_histograms_shows_where_a_value_lies(service: Service) -> None:
    job = await examined_with(service, exhibits.video(), histogram_material(exhibits.video()))
    path = f"/v1/jobs/{job['id']}"
    bundle = (await service.client.get(f"{path}/evidence")).content
    document = json.loads(member(bundle, VERDICT))
    assert document["method"]["histograms"]["item"]["real"] == HISTOGRAM["real"]
    verified = (await service.client.post("/v1/verify", content=bundle)).json()
    assert verified["result"] == "verified"
    value = document["result"]["log_likelihood_ratio"]
    here = bin_of(ValueHistogram(**HISTOGRAM), value)
    for language in ("ko", "en"):
        texts = words(language)
        note = value_note(Reading(exhibits.stated(document), texts))
        assert note is not None
        bins = slice(here, None) if value >= 0 else slice(here + 1)
        assert f"{sum(HISTOGRAM['real'][bins]):.1f}%" in note
        plot = value_plot(Reading(exhibits.stated(document), texts), width="720")
        assert plot is not None
        svg = fromstring(plot)
        names = [part.get("class") for part in svg]
        assert names.count("real") == names.count("fake") == 4 + 1  # bars and a label
        (mark,) = [part for part in svg if part.get("class") == "at"]
        assert float(str(mark.get("x1")).removesuffix("%")) == pytest.approx(
            2 + 96 * (value + 2) / 4, abs=0.02
        )
        shown = report_texts(document, {}, texts)
        assert shown["spread"] == plot
        assert shown["spread_note"] == note
    report = await service.client.get(f"{path}/report.pdf?lang=en")
    assert report.content.startswith(b"%PDF")
    del service.client.headers["Authorization"]
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.PIPELINE)
    page = (await service.client.get(f"/items/{job['id']}")).text
    assert 'class="spread"' in page


def test_a_low_value_is_told_how_many_manipulated_media_have_one_as_low() -> None:
    document = json.loads(exhibits.files_of_bundle()[VERDICT])
    document["method"]["histograms"] = {"item": HISTOGRAM}
    found = {"verdict": "no_manipulation_found", "log_likelihood_ratio": -0.6}
    document["result"] |= found
    told = "12.5% of the manipulated and 80.0% of the authentic ones have a value below"
    assert told in str(value_note(Reading(exhibits.stated(document), words("en"))))
    document["method"]["histograms"] = {"item": HISTOGRAM | {"fake": [0, 0, 40, 40]}}
    # 1 - 0.05 ** (1 / 35)
    assert "0.0% (none of 80: at most 8.2% with 95% confidence)" in str(
        value_note(Reading(exhibits.stated(document), words("en")))
    )


async def test_without_histograms_the_error_rates_are_shown(
    service: Service,
) -> None:
    job = await examined_with(service, exhibits.video(), exhibits.material(exhibits.video()))
    bundle = (await service.client.get(f"/v1/jobs/{job['id']}/evidence")).content
    document = json.loads(member(bundle, VERDICT))
    assert document["method"]["histograms"] is None
    shown = report_texts(document, {}, words("en"))
    assert shown["spread"] is shown["spread_note"] is None
    del service.client.headers["Authorization"]
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.PIPELINE)
    page = (await service.client.get(f"/items/{job['id']}")).text
    assert 'class="spread"' not in page
    assert "Error rates" in page


async def test_pictures_and_items_without_a_value_use_their_own(service: Service) -> None:
    still = footage.picture(footage.astronaut(), "PNG")
    job = await examined_with(service, still, histogram_material(still))
    bundle = (await service.client.get(f"/v1/jobs/{job['id']}/evidence")).content
    document = json.loads(member(bundle, VERDICT))
    other = copy.deepcopy(HISTOGRAM) | {"real_groups": 7}
    document["method"]["histograms"] = {"item": HISTOGRAM, "picture": other}
    assert Reading(exhibits.stated(document), words("en")).histogram == ValueHistogram(**other)
    del document["method"]["histograms"]["picture"]
    assert Reading(exhibits.stated(document), words("en")).histogram is None
    document["method"]["histograms"] = {"picture": other}
    document["result"]["log_likelihood_ratio"] = None
    assert value_plot(Reading(exhibits.stated(document), words("en")), width="1") is None
