"""Evidence by a model that sees two squares of a face and tells kinds apart."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.artifacts import Material
from deepfake_service.evidence.bundle.builder import VERDICT, build
from deepfake_service.evidence.bundle.steps import Outcome, Step
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.evidence.report.report import layered
from deepfake_service.platform.texts.i18n import words
from tests.support import exhibits, footage
from tests.support.documents import report_texts
from tests.support.small_bundles import two_square_scorer

OURS = Trust(keys=(exhibits.signers().statement.public_key(),))


def gathered() -> Material:
    return exhibits.material(exhibits.video(), judge=two_square_scorer())


def built(material: Material) -> bytes:
    return build(exhibits.dossier(exhibits.video()), material, exhibits.signers())


def rescored(content: bytes) -> Step:
    """Return step 10 of the verification of ``content`` by the same model."""
    return verify(content, OURS, scorer=two_square_scorer()).steps[9]


def test_every_square_is_stored_and_the_report_shows_the_first() -> None:
    material = gathered()
    pictures = material.examination.pictures
    assert pictures[0].crop == "crops/001.png"
    assert pictures[0].further == ("crops/001-2.png",)
    crops = [name for name in material.files if name.startswith("crops/")]
    assert len(crops) == 2 * len(pictures)
    content = built(material)
    step = rescored(content)
    assert step.outcome is Outcome.PASS, step
    assert step.detail.startswith(f"{len(pictures)} crops")
    assert all(s.outcome is not Outcome.FAIL for s in verify(content, OURS).steps)
    document = json.loads(bag.unzipped(content)[VERDICT])
    assert all(len(face["kind_logits"]) == 2 for face in document["exact"]["faces"])
    shown = report_texts(document, material.pictures, words("en"))
    first = shown["pictures"][0]
    assert first["plain"] in [layered(material.files[p.crop]) for p in pictures]
    assert any("1.3 / 0.8 ×" in row[1] for row in shown["method"])


def test_the_face_of_a_picture_is_scored_again_by_the_logit_of_pictures() -> None:
    picture = io.BytesIO()
    Image.fromarray(footage.astronaut()).save(picture, "PNG")
    material = exhibits.material(picture.getvalue(), judge=two_square_scorer())
    dossier = exhibits.dossier(picture.getvalue())
    step = rescored(build(dossier, material, exhibits.signers()))
    assert step.outcome is Outcome.PASS, step


def test_one_square_is_stored_as_before() -> None:
    material = exhibits.material(exhibits.video())
    assert {frozenset(p.model_dump()) for p in material.examination.pictures} == {
        frozenset({"number", "face", "crop", "heatmap"})
    }
    names = {name for name in material.files if name.startswith("crops/")}
    assert names == {p.crop for p in material.examination.pictures}


def _swap(material: Material) -> Material:
    first, second = "crops/001.png", "crops/001-2.png"
    files = material.files
    files[first], files[second] = files[second], files[first]
    return material


def _omit(material: Material) -> Material:
    del material.files["crops/001-2.png"]
    return exhibits.changed(material, lambda found: found["pictures"][0].pop("further"))


def _face(found: dict[str, Any]) -> dict[str, Any]:
    face: dict[str, Any] = found["exact"]["faces"][found["pictures"][0]["face"]]
    return face


def _alter_kind(material: Material) -> Material:
    def change(found: dict[str, Any]) -> None:
        _face(found)["kind_logits"][1] += 0.5

    return exhibits.changed(material, change)


def _omit_kinds(material: Material) -> Material:
    return exhibits.changed(material, lambda found: _face(found).pop("kind_logits"))


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (_swap, "crops/001.png: logit"),
        (_omit, "number of squares of crops/001.png"),
        (_alter_kind, "crops/001.png: logit"),
        (_omit_kinds, "number of logits of crops/001.png"),
    ],
)
def test_squares_and_kinds_that_do_not_give_the_recorded_values_are_caught(
    change: Callable[[Material], Material], detail: str
) -> None:
    step = rescored(built(change(gathered())))
    assert step.outcome is Outcome.FAIL
    assert step.detail.startswith(detail)


def test_a_further_square_that_is_not_listed_is_caught() -> None:
    changed = exhibits.changed(gathered(), lambda found: found["pictures"][0].pop("further"))
    steps = verify(built(changed), OURS).steps
    assert steps[-1].number == 6
    assert steps[-1].outcome is Outcome.FAIL
