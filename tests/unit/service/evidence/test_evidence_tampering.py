"""Every way of tampering with the content of an evidence bundle is caught."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deepfake_models.bundle.results import Leaning
from deepfake_service.evidence.bundle import builder as edition_module
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.artifacts import Material, pixels_of, png
from deepfake_service.evidence.bundle.builder import (
    PUBLIC_KEY,
    STATEMENT,
    VERDICT,
    build,
    report_of,
)
from deepfake_service.evidence.bundle.documents import Failed, VerdictDocument
from deepfake_service.evidence.bundle.dsse import EvidencePredicate, Named, sign
from deepfake_service.evidence.bundle.steps import ExitCode, Outcome
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.evidence.bundle.verification import verify
from tests.support import exhibits, footage
from tests.support.exhibits import OURS, failed_at, files_of_bundle, outcomes


def with_statement_of(content: bytes, other: bytes) -> bytes:
    """Return a bundle with the statement of another one."""
    return exhibits.reworked(
        content, lambda f: f.update({STATEMENT: bag.unzipped(other)[STATEMENT]})
    )


def test_a_key_in_the_bundle_confers_no_trust() -> None:
    unknown = verify(exhibits.bundle(), Trust())
    assert (unknown.exit_code, unknown.signer) == (ExitCode.SIGNER_UNKNOWN, None)
    stranger = Trust(keys=(Ed25519PrivateKey.generate().public_key(),))
    assert failed_at(exhibits.bundle(), stranger) == 4
    assert verify(exhibits.bundle(), OURS).signer is not None
    video = exhibits.video()
    theirs = build(exhibits.dossier(video), exhibits.material(video), exhibits.signers("thief"))
    forged = with_statement_of(exhibits.bundle(), theirs)  # beside our key
    for content, trust in ((exhibits.bundle(), stranger), (forged, OURS)):
        found = verify(content, trust)
        assert (found.exit_code, found.published().signer) == (ExitCode.FAILED, None)


def test_another_original_is_caught() -> None:
    other = io.BytesIO(footage.encode(footage.panning(40, 320, 256)))
    found = verify(exhibits.bundle(), OURS, scorer=exhibits.scorer(), original=other)
    assert outcomes(found)[11] is Outcome.FAIL


def test_a_byte_changed_in_any_file_is_caught() -> None:
    draw = random.Random(1)
    for name, content in files_of_bundle().items():
        if name in (bag.MANIFEST, bag.TAG_MANIFEST):  # made again by the attacker
            continue
        changed = bytearray(content)
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)

        def change(there: dict[str, bytes], name: str = name, by: bytes = bytes(changed)) -> None:
            there[name] = by

        # An attacker makes the manifests fit again.
        assert failed_at(exhibits.reworked(exhibits.bundle(), change)) in (2, 3, 4, 5), name


def _added(f: dict[str, bytes]) -> None:
    f["data/crops/099.png"] = f["data/crops/001.png"]


def _added_tag(f: dict[str, bytes]) -> None:
    f["signatures/extra.txt"] = b"x"


def _removed(f: dict[str, bytes]) -> None:
    del f["data/crops/001.png"]


def _renamed(f: dict[str, bytes]) -> None:
    f["data/crops/000.png"] = f.pop("data/crops/001.png")


def _swapped(f: dict[str, bytes]) -> None:
    ko, en = report_of("ko"), report_of("en")
    f[ko], f[en] = f[en], f[ko]


@pytest.mark.parametrize("change", [_added, _added_tag, _removed, _renamed, _swapped])
def test_files_added_removed_renamed_or_swapped_are_caught(change: Any) -> None:
    assert failed_at(exhibits.reworked(exhibits.bundle(), change)) == 5


def test_a_forged_manifest_is_caught() -> None:
    there = files_of_bundle()
    there[bag.MANIFEST] = there[bag.MANIFEST].replace(b"  data/verdict", b"  data/vordict")
    tags = {n: c for n, c in there.items() if not n.startswith("data/") and n != bag.TAG_MANIFEST}
    there[bag.TAG_MANIFEST] = bag.manifest_of(tags)
    assert failed_at(bag.zipped(there)) == 2


def test_a_statement_of_another_bundle_is_caught() -> None:
    assert failed_at(with_statement_of(exhibits.bundle(), exhibits.other_bundle())) == 5


def test_everything_signed_again_with_a_new_key_is_caught() -> None:
    thief = exhibits.signers("thief")
    assert thief is not exhibits.signers()
    rejected = exhibits.dossier(exhibits.video(), **exhibits.reviewed("rejected"))
    forged = build(rejected, exhibits.material(exhibits.video()), thief)
    assert failed_at(forged) == 4
    assert verify(forged, Trust()).exit_code is ExitCode.SIGNER_UNKNOWN
    # With the victim's public key laid into it, too.
    with_key = exhibits.reworked(
        forged, lambda f: f.update({PUBLIC_KEY: files_of_bundle()[PUBLIC_KEY]})
    )
    assert failed_at(with_key) == 4


def test_an_older_edition_in_a_newer_ones_place_is_caught() -> None:
    first = exhibits.bundle()
    changes = exhibits.reviewed("rejected")
    later = exhibits.dossier(exhibits.video(), edition=2, predecessor=bag.sha256(first), **changes)
    second = build(later, exhibits.material(exhibits.video()), exhibits.signers())
    found = verify(second, OURS)
    assert found.exit_code is ExitCode.VERIFIED
    assert found.statement is not None
    assert isinstance(found.statement.predicate, EvidencePredicate)
    assert found.statement.predicate.predecessor == Named(sha256=bag.sha256(first))
    assert failed_at(with_statement_of(second, first)) == 5
    both = bag.unzipped(first)

    def old_verdict(f: dict[str, bytes]) -> None:
        f[VERDICT] = both[VERDICT]

    assert failed_at(exhibits.reworked(second, old_verdict)) == 5


@pytest.mark.parametrize(
    "change",
    [
        lambda e: {**e, "comment": "x"},
        lambda e: {**e, "signatures": [{**e["signatures"][0], "note": "approved by a court"}]},
        lambda e: {**e, "signatures": e["signatures"] * 2},
        lambda e: {**e, "signatures": [{**e["signatures"][0], "keyid": "0" * 64}]},
        lambda e: {**e, "signatures": []},
        lambda e: {**e, "payloadType": "text/plain"},
        lambda e: {**e, "signatures": [{**e["signatures"][0], "sig": ""}]},
    ],
)
def test_an_envelope_in_another_form_is_caught(change: Any) -> None:
    envelope = json.loads(files_of_bundle()[STATEMENT])
    again = json.dumps(change(envelope), separators=(",", ":"), sort_keys=True).encode()
    assert failed_at(
        exhibits.reworked(exhibits.bundle(), lambda f: f.update({STATEMENT: again}))
    ) in (3, 4)
    spaced = json.dumps(envelope).encode()
    assert (
        failed_at(exhibits.reworked(exhibits.bundle(), lambda f: f.update({STATEMENT: spaced})))
        == 3
    )


def forge(gathered: Material, result: dict[str, Any]) -> Material:
    """Return material with another result."""
    return exhibits.changed(gathered, lambda found: found["result"].update(result))


def test_a_verdict_that_does_not_follow_from_the_faces_is_caught() -> None:
    """Even if the right key signed it: the named model must give this verdict on the faces."""
    gathered = exhibits.material(exhibits.video())
    forged = forge(gathered, {"verdict": "likely_manipulated"})
    assert failed_at(build(exhibits.dossier(exhibits.video()), forged, exhibits.signers())) == 7


@pytest.mark.parametrize("leans", Leaning)
def test_a_leaning_and_kinds_verify_and_cannot_be_replaced(leans: Leaning) -> None:
    gathered = exhibits.leaning_material(exhibits.video(), leans)
    result = gathered.examination.result
    assert (result.verdict, result.leaning) == ("inconclusive", leans)
    assert (result.kinds is not None) == (leans is Leaning.TOWARDS_MANIPULATED)
    found = verify(build(exhibits.dossier(exhibits.video()), gathered, exhibits.signers()), OURS)
    assert found.exit_code is ExitCode.VERIFIED, found.steps
    other = next(way for way in Leaning if way is not leans)
    for change in ({"leaning": other}, {"kinds": {"swap": 1.0}}):
        forged = forge(gathered, change)
        assert failed_at(build(exhibits.dossier(exhibits.video()), forged, exhibits.signers())) == 7


def test_a_leaning_of_a_model_without_edges_is_caught() -> None:
    gathered = exhibits.material(exhibits.video())
    assert gathered.examination.result.leaning is None
    forged = forge(gathered, {"leaning": "towards_manipulated"})
    assert failed_at(build(exhibits.dossier(exhibits.video()), forged, exhibits.signers())) == 7


def test_error_rates_that_were_not_measured_are_caught() -> None:
    gathered = exhibits.material(exhibits.video())
    rates = gathered.files["model/reliability.json"].replace(b'"groups": 1', b'"groups": 9')
    assert rates != gathered.files["model/reliability.json"]
    forged = Material(gathered.examination, {**gathered.files, "model/reliability.json": rates})
    assert failed_at(build(exhibits.dossier(exhibits.video()), forged, exhibits.signers())) == 7


def test_a_verdict_without_a_face_is_caught() -> None:
    gathered = exhibits.material(b"no media at all")
    result = {"verdict": "likely_manipulated", "log_likelihood_ratio": 1.1, "score": 0.9}
    forged = forge(gathered, result)
    assert failed_at(build(exhibits.dossier(b"no media at all"), forged, exhibits.signers())) == 7


@pytest.mark.parametrize(
    "predicate",
    [
        [],
        "x",
        {"job": ["x"]},
        {"createdAt": "\x1b[2J\x1b[Hverified: intact, and signed by a trusted key"},
        {"edition": "x"},
        {"finding": {}},
        {"capture": 5},
    ],
)
def test_a_malformed_statement_is_caught_before_it_is_shown(predicate: Any) -> None:
    right = exhibits.statement_in(files_of_bundle()[STATEMENT])
    stated = predicate if not isinstance(predicate, dict) else {**right["predicate"], **predicate}
    forged = sign(rfc8785.dumps({**right, "predicate": stated}), exhibits.signers().statement)
    content = exhibits.reworked(exhibits.bundle(), lambda f: f.update({STATEMENT: forged}))
    found = verify(content, OURS)
    assert found.exit_code is ExitCode.FAILED
    assert "\x1b" not in found.published().model_dump_json()
    assert found.published().job is None


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("issuer", "Another centre"),
        ("createdAt", "2026-01-02T03:04:06+00:00"),
        ("case", "d" * 26),
        ("job", "k" * 26),
        ("edition", 2),
        ("predecessor", {"sha256": "ab" * 32}),
        ("verdict", "not_applicable"),
        ("finding", "confirmed"),
        ("model", {"sha256": "ab" * 32}),
    ],
)
def test_a_statement_that_differs_from_the_verdict_is_caught(name: str, stated: Any) -> None:
    right = exhibits.statement_in(files_of_bundle()[STATEMENT])
    differing = {**right, "predicate": {**right["predicate"], name: stated}}
    forged = sign(rfc8785.dumps(differing), exhibits.signers().statement)
    content = exhibits.reworked(exhibits.bundle(), lambda f: f.update({STATEMENT: forged}))
    last = verify(content, OURS).steps[-1]
    assert (last.number, last.outcome) == (6, Outcome.FAIL)
    assert last.detail.startswith(f"{name}: expected")


def test_crops_that_do_not_get_their_recorded_value_are_caught() -> None:
    gathered = exhibits.material(exhibits.video())
    blank = exhibits.material(footage.encode([f * 0 + 90 for f in footage.panning(50, 320, 256)]))
    assert blank.pictures == {}
    crop = gathered.files["crops/001.png"]
    swapped = {**gathered.files, "crops/001.png": other_crop(crop)}
    forged = build(
        exhibits.dossier(exhibits.video()),
        Material(gathered.examination, swapped),
        exhibits.signers(),
    )
    assert verify(forged, OURS).exit_code is ExitCode.VERIFIED
    assert outcomes(verify(forged, OURS, scorer=exhibits.scorer()))[10] is Outcome.FAIL


def other_crop(crop: bytes) -> bytes:
    return png(pixels_of(crop, (224, 224))[::-1].copy())


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["method"].update(prior=0.9),
        lambda d: d["method"]["model"].update(terms="free for all"),
        lambda d: d["method"]["thresholds"]["item"].update(false_positive_rate=0.0001),
        lambda d: d["method"]["calibration"]["item"].update(limit=9.0),
        lambda d: d["pictures"][0].update(log_likelihood_ratio=3.0),
        lambda d: d["pictures"][0].update(logit=9.0),
    ],
)
def test_a_method_that_is_not_the_models_is_caught(
    change: Callable[[dict[str, Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = edition_module.verdict_document

    def lying(*given: Any) -> VerdictDocument:
        document = honest(*given).model_dump(mode="json")
        change(document)
        return exhibits.stated(document)

    monkeypatch.setattr(edition_module, "verdict_document", lying)
    content = build(
        exhibits.dossier(exhibits.video()), exhibits.material(exhibits.video()), exhibits.signers()
    )
    assert outcomes(verify(content, OURS))[7] is Outcome.FAIL


def test_custody_that_skips_or_alters_an_entry_is_caught() -> None:
    def entry(number: int, previous: str) -> dict[str, Any]:
        stated = {"number": number, "at": "2026-01-02T03:04:05.678+00:00", "account": None,
                  "key": None, "action": "evidence.made", "subject": "j", "detail": None,
                  "previous": previous}  # fmt: skip
        return {**stated, "hash": hashlib.sha256(rfc8785.dumps(stated)).hexdigest()}

    first = entry(1, "0" * 64)
    for second, outcome in (
        (entry(2, first["hash"]), Outcome.PASS),
        (entry(2, "1" * 64), Outcome.FAIL),
        ({**entry(2, first["hash"]), "detail": "x"}, Outcome.FAIL),
        (entry(1, first["hash"]), Outcome.FAIL),
        (entry(5, "1" * 64), Outcome.PASS),
    ):
        custody = {"accounts": {}, "entries": [first, second]}
        dossier = exhibits.dossier(exhibits.video(), custody=custody)
        content = build(dossier, exhibits.material(exhibits.video()), exhibits.signers())
        assert outcomes(verify(content, OURS))[6] is outcome


def test_a_picture_that_is_a_bomb_is_not_decoded() -> None:
    bomb = png(np.zeros((4000, 4000, 3), np.uint8))
    with pytest.raises(Failed, match="4000x4000"):
        pixels_of(bomb, (224, 224))


@pytest.mark.parametrize(
    ("old", "new", "exit_code"),
    [
        ("are needed", "would be necessary", ExitCode.VERIFIED),
        ("48 px", "12 px", ExitCode.FAILED),
    ],
    ids=["wording", "number"],
)
def test_a_reason_must_follow_from_the_faces_but_for_its_wording(
    old: str, new: str, exit_code: ExitCode
) -> None:
    media = footage.picture(footage.resized(footage.astronaut(), 120, 120), "PNG")
    gathered = exhibits.material(media)
    first, *others = gathered.examination.result.to_json()["reasons"]
    assert old in first["detail"]
    first["detail"] = first["detail"].replace(old, new)
    material = forge(gathered, {"reasons": [first, *others]})
    content = build(exhibits.dossier(media), material, exhibits.signers())
    assert verify(content, OURS).exit_code is exit_code
