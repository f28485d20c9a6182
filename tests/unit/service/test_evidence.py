"""Evidence bundles: their content, and every way of tampering with them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import shutil
import struct
import subprocess
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import bagit
import numpy as np
import pytest
import rfc8785
from case_utils.case_validate import validate
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.signers.pdf_signer import PdfSigningSession
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from deepfake_models.bundle import ConditionsSpec
from deepfake_models.decision.serialization import judge_exact, load_exact
from deepfake_models.results import Face, Leaning
from deepfake_service.documents.i18n import LANGUAGES, words
from deepfake_service.documents.report import report_texts
from deepfake_service.documents.report_presenter import SummaryPresenter
from deepfake_service.documents.report_tables import TablePresenter
from deepfake_service.documents.typesetting import MAX_TEXT_CHARS, readable
from deepfake_service.evidence import builder as edition_module
from deepfake_service.evidence import pdf_signature, timestamps
from deepfake_service.evidence import zip_format as bag
from deepfake_service.evidence.artifacts import Material, PictureAltered, pixels_of, png
from deepfake_service.evidence.builder import (
    CASE_GRAPH,
    CERTIFICATES,
    CUSTODY,
    HASHES,
    PUBLIC_KEY,
    STAMP,
    STATEMENT,
    TIMELINE,
    VERDICT,
    ReportCopy,
    build,
    report_copy,
    report_of,
)
from deepfake_service.evidence.error_rates import error_rates
from deepfake_service.evidence.signers import self_made_certificate
from deepfake_service.evidence.statement import opened, sign
from deepfake_service.evidence.timestamps import TimestampFailed
from deepfake_service.evidence.trust_store import certificates
from deepfake_service.evidence.verification import verify
from deepfake_service.evidence.verification_result import ExitCode, Outcome, Trust, Verification
from tests.support import evidencekit as kit
from tests.support import mediakit

OURS = Trust(keys=(kit.signers().statement.public_key(),))


def files() -> dict[str, bytes]:
    return bag.unzipped(kit.bundle())


def failed_at(content: bytes, trust: Trust = OURS) -> int:
    """Return the number of the step at which a bundle fails."""
    found = verify(content, trust)
    assert found.exit_code is ExitCode.FAILED, [s.to_json() for s in found.steps]
    return next(s.number for s in found.steps if s.outcome is Outcome.FAIL)


def outcomes(found: Verification) -> dict[int, Outcome]:
    return {s.number: s.outcome for s in found.steps}


def test_a_bundle_verifies_down_to_the_original() -> None:
    found = verify(kit.bundle(), OURS, scorer=kit.scorer(), original=io.BytesIO(kit.video()))
    assert found.exit_code is ExitCode.VERIFIED
    assert outcomes(found) == {n: Outcome.SKIPPED if n == 9 else Outcome.PASS for n in range(1, 12)}


def test_a_key_in_the_bundle_confers_no_trust() -> None:
    assert verify(kit.bundle(), Trust()).exit_code is ExitCode.SIGNER_UNKNOWN
    stranger = Trust(keys=(Ed25519PrivateKey.generate().public_key(),))
    assert failed_at(kit.bundle(), stranger) == 4


def test_another_original_is_caught() -> None:
    other = io.BytesIO(mediakit.encode(mediakit.panning(40, 320, 256)))
    found = verify(kit.bundle(), OURS, scorer=kit.scorer(), original=other)
    assert outcomes(found)[11] is Outcome.FAIL


def test_a_byte_changed_in_any_file_is_caught() -> None:
    draw = random.Random(1)
    for name, content in files().items():
        if name in (bag.MANIFEST, bag.TAG_MANIFEST):  # made again by the attacker
            continue
        changed = bytearray(content)
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)

        def change(there: dict[str, bytes], name: str = name, by: bytes = bytes(changed)) -> None:
            there[name] = by

        # An attacker makes the manifests fit again.
        assert failed_at(kit.reworked(kit.bundle(), change)) in (2, 3, 4, 5), name


def test_a_byte_changed_anywhere_in_the_file_is_caught() -> None:
    draw = random.Random(2)
    content = kit.bundle()
    for _ in range(150):
        changed = bytearray(content)
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        assert verify(bytes(changed), OURS).exit_code is ExitCode.FAILED


@pytest.mark.parametrize("where", ["before", "after", "comment", "between"])
def test_bytes_outside_the_entries_are_caught(where: str) -> None:
    content = kit.bundle()
    if where == "before":
        changed = b"MZ" + content
    elif where == "after":
        changed = content + b"\0"
    elif where == "comment":
        file = io.BytesIO(content)
        with zipfile.ZipFile(file, "a") as archive:
            archive.comment = b"see the real verdict elsewhere"
        changed = file.getvalue()
    else:
        start = struct.unpack("<I", content[-6:-2])[0]
        moved = struct.pack("<I", start + 4)
        changed = content[:start] + b"evil" + content[start:-6] + moved + content[-2:]
        with zipfile.ZipFile(io.BytesIO(changed)) as archive:
            assert archive.testzip() is None  # other tools take it
    assert failed_at(changed) == 1


def raw_zip(*entries: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names given twice, which is what is wanted
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        raw_zip(("../../etc/passwd", b"x")),
        raw_zip(("/etc/passwd", b"x")),
        raw_zip(("data/..\\x", b"x")),
        raw_zip(("data/verdict.json", b"{}"), ("data/verdict.json", b"{}")),
        raw_zip(("data/verdict.json", b"\0" * 50_000_000), compression=zipfile.ZIP_DEFLATED),
        raw_zip(*((f"data/{n}", b"") for n in range(bag.MAX_FILES + 1))),
        b"",
        b"PK\x05\x06" + b"\0" * 18,
        b"PK\x03\x04" * 1000,
    ],
    ids=["zip-slip", "absolute", "backslash", "duplicate-name", "bomb", "too-many", "empty",
         "no-entries", "junk"],
)  # fmt: skip
def test_hostile_zips_are_refused(content: bytes) -> None:
    assert failed_at(content) <= 2


@pytest.mark.parametrize("is_zip64", [False, True])
def test_a_directory_of_too_many_entries_is_refused_before_it_is_read(
    is_zip64: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 16) + b""
    count = 0x10000 if is_zip64 else 0xFFFF
    directory = entry * count
    if is_zip64:
        end64 = struct.pack(
            "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), 0
        )
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(directory), 1)
        end = (
            end64
            + locator
            + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        )
    else:
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), 0, 0)
    content = directory + end
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.infolist()) == count

    def reads_the_directory(*_: Any) -> None:
        pytest.fail("the directory was read")

    monkeypatch.setattr(zipfile, "ZipFile", reads_the_directory)
    with pytest.raises(bag.InvalidBag):
        bag.unzipped(content)


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
    assert failed_at(kit.reworked(kit.bundle(), change)) == 5


def test_a_forged_manifest_is_caught() -> None:
    there = files()
    there[bag.MANIFEST] = there[bag.MANIFEST].replace(b"  data/verdict", b"  data/vordict")
    tags = {n: c for n, c in there.items() if not n.startswith("data/") and n != bag.TAG_MANIFEST}
    there[bag.TAG_MANIFEST] = bag.manifest_of(tags)
    assert failed_at(bag.zipped(there)) == 2


def test_a_statement_of_another_bundle_is_caught() -> None:
    assert failed_at(kit.with_statement_of(kit.bundle(), kit.other_bundle())) == 5


def test_everything_signed_again_with_a_new_key_is_caught() -> None:
    thief = kit.signers("thief")
    assert thief is not kit.signers()
    rejected = kit.dossier(kit.video(), **kit.reviewed("rejected"))
    forged = build(rejected, kit.material(kit.video()), thief)
    assert failed_at(forged) == 4
    assert verify(forged, Trust()).exit_code is ExitCode.SIGNER_UNKNOWN
    # With the victim's public key laid into it, too.
    with_key = kit.reworked(forged, lambda f: f.update({PUBLIC_KEY: files()[PUBLIC_KEY]}))
    assert failed_at(with_key) == 4


def test_an_older_edition_in_a_newer_ones_place_is_caught() -> None:
    first = kit.bundle()
    changes = kit.reviewed("rejected")
    later = kit.dossier(kit.video(), edition=2, predecessor=bag.sha256(first), **changes)
    second = build(later, kit.material(kit.video()), kit.signers())
    found = verify(second, OURS)
    assert found.exit_code is ExitCode.VERIFIED
    assert found.statement is not None
    assert found.statement["predicate"]["predecessor"] == {"sha256": bag.sha256(first)}
    assert failed_at(kit.with_statement_of(second, first)) == 5
    both = bag.unzipped(first)

    def old_verdict(f: dict[str, bytes]) -> None:
        f[VERDICT] = both[VERDICT]

    assert failed_at(kit.reworked(second, old_verdict)) == 5


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
    envelope = json.loads(files()[STATEMENT])
    again = json.dumps(change(envelope), separators=(",", ":"), sort_keys=True).encode()
    assert failed_at(kit.reworked(kit.bundle(), lambda f: f.update({STATEMENT: again}))) in (3, 4)
    spaced = json.dumps(envelope).encode()
    assert failed_at(kit.reworked(kit.bundle(), lambda f: f.update({STATEMENT: spaced}))) == 3


def test_a_verdict_that_does_not_follow_from_the_faces_is_caught() -> None:
    """Even if the right key signed it: the named model must give this verdict on the faces."""
    gathered = kit.material(kit.video())
    result = {**gathered.examination["result"], "verdict": "likely_manipulated"}
    forged = Material({**gathered.examination, "result": result}, gathered.files)
    assert failed_at(build(kit.dossier(kit.video()), forged, kit.signers())) == 7


@pytest.mark.parametrize("leans", Leaning)
def test_a_leaning_and_kinds_verify_and_cannot_be_replaced(leans: Leaning) -> None:
    gathered = kit.leaning_material(kit.video(), leans)
    result = gathered.examination["result"]
    assert (result["verdict"], result["leaning"]) == ("inconclusive", leans)
    assert ("kinds" in result) == (leans is Leaning.TOWARDS_MANIPULATED)
    found = verify(build(kit.dossier(kit.video()), gathered, kit.signers()), OURS)
    assert found.exit_code is ExitCode.VERIFIED, [s.to_json() for s in found.steps]
    assert found.document is not None
    assert found.document["method"]["kinds"] == list(kit.KINDS)
    other = next(way for way in Leaning if way is not leans)
    for change in ({"leaning": other}, {"kinds": {"swap": 1.0}}):
        forged = Material({**gathered.examination, "result": {**result, **change}}, gathered.files)
        assert failed_at(build(kit.dossier(kit.video()), forged, kit.signers())) == 7


def test_a_leaning_of_a_model_without_edges_is_caught() -> None:
    gathered = kit.material(kit.video())
    assert "leaning" not in gathered.examination["result"]
    result = {**gathered.examination["result"], "leaning": "towards_manipulated"}
    forged = Material({**gathered.examination, "result": result}, gathered.files)
    assert failed_at(build(kit.dossier(kit.video()), forged, kit.signers())) == 7


def test_error_rates_that_were_not_measured_are_caught() -> None:
    gathered = kit.material(kit.video())
    rates = gathered.files["model/reliability.json"].replace(b'"groups": 1', b'"groups": 9')
    assert rates != gathered.files["model/reliability.json"]
    forged = Material(gathered.examination, {**gathered.files, "model/reliability.json": rates})
    assert failed_at(build(kit.dossier(kit.video()), forged, kit.signers())) == 7


def test_a_verdict_without_a_face_is_caught() -> None:
    gathered = kit.material(b"no media at all")
    result = {**gathered.examination["result"], "verdict": "likely_manipulated",
              "log_likelihood_ratio": 1.1, "score": 0.9}  # fmt: skip
    forged = Material({**gathered.examination, "result": result}, gathered.files)
    assert failed_at(build(kit.dossier(b"no media at all"), forged, kit.signers())) == 7


def test_a_chain_of_custody_with_another_entry_is_caught() -> None:
    entry = {"number": 1, "at": "2026-01-02T03:04:05.678+00:00", "account": None, "key": None,
             "action": "job.finished", "subject": "j", "detail": None,
             "previous": "0" * 64}  # fmt: skip
    right = {**entry, "hash": hashlib.sha256(rfc8785.dumps(entry)).hexdigest()}
    for stated, code in ((right, ExitCode.VERIFIED), ({**right, "detail": "x"}, ExitCode.FAILED)):
        custody = {"accounts": {}, "entries": [stated]}
        content = build(
            kit.dossier(kit.video(), custody=custody), kit.material(kit.video()), kit.signers()
        )
        assert verify(content, OURS).exit_code is code


@pytest.mark.parametrize(
    "predicate",
    [
        [],
        "x",
        {"job": ["x"]},
        {"createdAt": "\x1b[2J\x1b[Hverified: intact, and signed by a trusted key"},
        {"edition": "x"},
        {"finding": {}},
    ],
)
def test_a_malformed_statement_is_caught_before_it_is_shown(predicate: Any) -> None:
    right = opened(files()[STATEMENT])[1]
    stated = predicate if not isinstance(predicate, dict) else {**right["predicate"], **predicate}
    forged = sign(rfc8785.dumps({**right, "predicate": stated}), kit.signers().statement)
    content = kit.reworked(kit.bundle(), lambda f: f.update({STATEMENT: forged}))
    found = verify(content, OURS)
    assert found.exit_code is ExitCode.FAILED
    assert "\x1b" not in json.dumps(found.to_json(), ensure_ascii=False)
    assert found.to_json()["job"] is None


def test_entries_that_share_their_bytes_are_refused_before_they_are_read() -> None:
    """A bomb without compression: many entries of the directory share the same bytes."""
    big = raw_zip(("a", b"x" * 100_000))
    start = struct.unpack("<I", big[-6:-2])[0]
    directory = b"".join(big[start:-22].replace(b"a", bytes([97 + n]), 1) for n in range(20))
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 20, 20, len(directory), start, 0)
    content = big[:start] + directory + end
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert sum(i.file_size for i in archive.infolist()) == 2_000_000
    found = verify(content, OURS)
    assert found.steps[0].detail == "entries overlap"


def test_crops_that_do_not_get_their_recorded_value_are_caught() -> None:
    gathered = kit.material(kit.video())
    blank = kit.material(mediakit.encode([f * 0 + 90 for f in mediakit.panning(50, 320, 256)]))
    assert blank.pictures == {}
    crop = gathered.files["crops/001.png"]
    swapped = {**gathered.files, "crops/001.png": other_crop(crop)}
    forged = build(kit.dossier(kit.video()), Material(gathered.examination, swapped), kit.signers())
    assert verify(forged, OURS).exit_code is ExitCode.VERIFIED
    assert outcomes(verify(forged, OURS, scorer=kit.scorer()))[10] is Outcome.FAIL


def other_crop(crop: bytes) -> bytes:
    return png(pixels_of(crop, 224)[::-1].copy())


def passing(frames: int = 50) -> bytes:
    """Return a video of a person who stays, and another one who passes by."""
    fields = mediakit.panning(frames, 320, 256)
    other = mediakit.resized(mediakit.grace_hopper()[:410], 320, 256)
    fields[20], fields[21] = other, other.copy()
    return mediakit.encode(fields)


def test_a_video_with_a_person_who_passes_by_has_evidence() -> None:
    media = passing()
    gathered = kit.material(media)
    tracks = gathered.examination["result"]["tracks"]
    assert any(t["judged"] and t["log_likelihood_ratio"] is None for t in tracks), tracks
    content = build(kit.dossier(media), gathered, kit.signers())
    assert verify(content, OURS).exit_code is ExitCode.VERIFIED
    document = json.loads(bag.unzipped(content)[VERDICT])
    valued = [t["track"] for t in tracks if t["log_likelihood_ratio"] is not None]
    assert [p["track"] for p in document["error_rates"]["people"]] == valued
    for language in LANGUAGES:
        view = SummaryPresenter(document, words(language))
        assert view.page_one()["rates"]
        assert len(view.people()) == len(tracks)


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

    def lying(*given: Any) -> dict[str, Any]:
        document = honest(*given)
        change(document)
        return document

    monkeypatch.setattr(edition_module, "verdict_document", lying)
    content = build(kit.dossier(kit.video()), kit.material(kit.video()), kit.signers())
    assert outcomes(verify(content, OURS))[7] is Outcome.FAIL


def test_custody_that_skips_an_entry_in_between_is_caught() -> None:
    def entry(number: int, previous: str) -> dict[str, Any]:
        stated = {"number": number, "at": "2026-01-02T03:04:05.678+00:00", "account": None,
                  "key": None, "action": "evidence.made", "subject": "j", "detail": None,
                  "previous": previous}  # fmt: skip
        return {**stated, "hash": hashlib.sha256(rfc8785.dumps(stated)).hexdigest()}

    first = entry(1, "0" * 64)
    for second, outcome in (
        (entry(2, first["hash"]), Outcome.PASS),
        (entry(2, "1" * 64), Outcome.FAIL),
        (entry(1, first["hash"]), Outcome.FAIL),
        (entry(5, "1" * 64), Outcome.PASS),
    ):
        custody = {"accounts": {}, "entries": [first, second]}
        dossier = kit.dossier(kit.video(), custody=custody)
        content = build(dossier, kit.material(kit.video()), kit.signers())
        assert outcomes(verify(content, OURS))[6] is outcome


def test_a_picture_that_is_a_bomb_is_not_decoded() -> None:
    bomb = png(np.zeros((4000, 4000, 3), np.uint8))
    with pytest.raises(PictureAltered, match="4000x4000"):
        pixels_of(bomb, 224)


def test_a_table_says_how_many_people_it_leaves_out() -> None:
    document = json.loads(files()[VERDICT])
    (track,) = document["result"]["tracks"]
    document["result"]["tracks"] = [
        {**track, "track": n, "log_likelihood_ratio": -1.0 + n / 100} for n in range(75)
    ]
    view = SummaryPresenter(document, words("en"))
    listed = [int(p["number"]) for p in view.people()]
    assert listed == list(range(16, 76))
    assert "15" in str(view.people_more())


def test_a_person_s_row_says_why_nothing_was_decided() -> None:
    document = json.loads(files()[VERDICT])
    (track,) = document["result"]["tracks"]
    codes = ("between_thresholds", "face_too_small")
    track["reasons"] = [{"code": code, "detail": ""} for code in codes]
    reasons = SummaryPresenter(document, words("en")).reasons_of_people()
    assert reasons == {"1": ["face_too_small"]}, "the value itself says that it is between"


@pytest.mark.parametrize("language", LANGUAGES)
def test_rates_of_conditions_with_too_few_people_are_not_stated(language: str) -> None:
    document = json.loads(files()[VERDICT])
    (track,) = document["result"]["tracks"]
    (person,) = document["error_rates"]["people"]
    rate = {"value": 0.031, "low": 0.0, "high": 0.3, "samples": 40, "groups": 4,
            "indicative": True}  # fmt: skip
    person.update(bin={"face_px": [0, None]}, false_positive_rate=rate, true_positive_rate=rate)
    lower = track["log_likelihood_ratio"] - 1
    other = {**track, "track": 1, "log_likelihood_ratio": lower, "reasons": []}
    document["result"]["tracks"].append(other)
    like_other = {**rate, "value": 0.052}
    document["error_rates"]["people"].append(
        {**person, "track": 1, "false_positive_rate": like_other, "true_positive_rate": like_other}
    )

    def told() -> tuple[str, list[list[str]]]:
        page = SummaryPresenter(document, words(language)).page_one()
        table = TablePresenter(document, words(language)).conditions()
        return " ".join(page["rates"]), [row[3:] for row in table]

    text, table = told()
    assert "3.1%" in text
    assert "3.1%" in table[0][0]
    unmeasured = {"code": "unmeasured_condition", "detail": ""}
    track["reasons"].append(unmeasured)
    text, table = told()
    assert "3.1%" not in text, "no condition that was not used"
    assert "5.2%" in text, "but that of the next person"
    assert ["3.1%" in cell for cell in table[0]] == [False, False]
    assert table[0] == [words(language)("rate_unused", groups="4")] * 2
    other["reasons"] = [unmeasured]
    text, _ = told()
    assert "5.2%" not in text


@pytest.mark.parametrize("side", [1, -1])
def test_a_value_at_the_limit_of_the_calibration_is_stated_as_at_least(side: int) -> None:
    document = json.loads(files()[VERDICT])
    limit = document["method"]["calibration"]["item"]["limit"]
    for ratio, is_most in ((side * limit, True), (side * limit / 2, False)):
        document["result"]["log_likelihood_ratio"] = ratio
        korean, english = (
            SummaryPresenter(document, words(language)).page_one()["strength"]
            for language in ("ko", "en")
        )
        assert ("at least" in english, "배 이상" in korean) == (is_most, is_most)


def test_a_moment_is_not_a_span() -> None:
    document = json.loads(files()[VERDICT])
    (track,) = document["result"]["tracks"]
    track["moments"] = [{"start_s": 1.21, "end_s": 1.24}, {"start_s": 2.0, "end_s": 3.5}]
    for language, moments in (("en", "1.2 s, 2.0–3.5 s"), ("ko", "1.2초, 2.0–3.5초")):
        (person,) = SummaryPresenter(document, words(language)).people()
        assert person["moments"] == moments


def test_rates_are_those_of_whole_videos_where_they_were_measured() -> None:
    gathered = kit.material(kit.video())
    rate = {"value": 0.01, "low": 0.0, "high": 0.03, "samples": 400, "groups": 90,
            "indicative": False}  # fmt: skip
    overall = {"false_positive_rate": rate, "true_positive_rate": {**rate, "value": 0.6}}
    verdict = judge_exact(load_exact(gathered.examination["exact"]), gathered.spec)
    assert verdict is not None
    people = [t.track for t in verdict.tracks]

    def said(measured: dict[str, Any]) -> str:
        rates = json.loads(json.dumps(error_rates(verdict, people, gathered.spec, measured)))
        document = {**json.loads(files()[VERDICT]), "error_rates": rates}
        line: str = SummaryPresenter(document, words("en")).page_one()["rates"][0]
        return line

    videos = {**gathered.reliability, "level_item": {"overall": overall}}
    assert "400 authentic videos from 90 independent people or sources" in said(videos)
    # Bundles from before whole videos were measured have tracks alone.
    tracks = {k: v for k, v in gathered.reliability.items() if k != "level_item"}
    assert "single-person recordings" in said(tracks)


def test_rates_are_those_of_whole_pictures_where_they_were_measured() -> None:
    gathered = kit.material(mediakit.picture(mediakit.grace_hopper(), "PNG"))
    verdict = judge_exact(load_exact(gathered.examination["exact"]), gathered.spec)
    assert verdict is not None
    rate = {"value": 0.01, "low": 0.0, "high": 0.03, "samples": 400, "groups": 90}
    overall = {"false_positive_rate": rate, "true_positive_rate": rate}
    nothing = {name: {**rate, "value": None} for name in overall}

    def decision(**measured: Any) -> dict[str, Any]:
        rates = {**gathered.reliability, **measured}
        return error_rates(verdict, [0], gathered.spec, rates)["decision"]  # type: ignore[no-any-return]

    whole = decision(level_picture={"overall": overall})
    assert (whole["of"], whole["true_positive_rate"]) == ("picture", rate)
    assert "of" not in decision()
    assert decision(level_picture={"overall": nothing}) == decision()


def test_a_strangers_record_of_many_people_is_not_searched_for_each_of_them() -> None:
    """Verification takes a record without a trusted key: faces times people took it for hours."""

    class Counted(tuple[Face, ...]):
        passes = 0

        def __iter__(self) -> Iterator[Face]:
            Counted.passes += 1
            return super().__iter__()

    gathered = kit.material(kit.video())
    verdict = judge_exact(load_exact(gathered.examination["exact"]), gathered.spec)
    assert verdict is not None
    face = next(f for f in verdict.faces if f.logit is not None)
    crowd = Counted(replace(face, track=number) for number in range(1000))
    record = replace(verdict, faces=crowd)
    measured = gathered.spec, gathered.reliability
    people = error_rates(record, range(1000), *measured)["people"]
    assert Counted.passes == 1
    (alone,) = error_rates(replace(record, faces=(face,)), [face.track], *measured)["people"]
    assert people == [{**alone, "track": number} for number in range(1000)]


def test_a_rate_is_indicative_below_the_bundles_own_number_of_groups() -> None:
    gathered = kit.material(kit.video())
    verdict = judge_exact(load_exact(gathered.examination["exact"]), gathered.spec)
    assert verdict is not None
    rate = {"value": 0.1, "low": 0.0, "high": 0.2, "samples": 40, "groups": 12}
    widths = [{"face_px": [0, None], "false_positive_rate": rate, "true_positive_rate": rate}]
    measured = {**gathered.reliability, "level_face": {"by_face_width": widths}}

    def marked(min_groups: int) -> bool:
        conditions = ConditionsSpec(min_groups=min_groups)
        spec = gathered.spec.model_copy(update={"conditions": conditions})
        (person,) = error_rates(verdict, [0], spec, measured)["people"]
        indicative: bool = person["false_positive_rate"]["indicative"]
        return indicative

    assert [marked(n) for n in (12, 13)] == [False, True]


def test_what_the_red_means_depends_on_the_model() -> None:
    document = json.loads(files()[VERDICT])
    shares = SummaryPresenter(document, words("en")).pictures_meaning()
    document["method"]["map"] = "patch_logit"
    assert "not shares" in SummaryPresenter(document, words("en")).pictures_meaning()
    document["method"]["map"] = "direct_effect"
    direct = SummaryPresenter(document, words("en")).pictures_meaning()
    assert "contributed most directly" in direct
    assert "not shares" not in shares + direct


def test_the_same_input_gives_the_same_bytes_but_for_signatures() -> None:
    again = bag.unzipped(build(kit.dossier(kit.video()), kit.material(kit.video()), kit.signers()))
    same = {n for n, c in files().items() if again[n] == c}
    signed = {report_of(language) for language in LANGUAGES}
    # Signatures differ in length by a byte or two, which the bag's information states.
    assert set(files()) - same <= {
        STATEMENT, bag.INFO, bag.MANIFEST, bag.TAG_MANIFEST, *signed
    }  # fmt: skip
    for name in signed:
        assert abs(len(again[name]) - len(files()[name])) < 100


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of rdflib, within case_utils
def test_other_tools_accept_a_bundle(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(kit.bundle())) as archive:
        archive.extractall(tmp_path / "bag")
    bagit.Bag(str(tmp_path / "bag")).validate()
    envelope = Envelope.from_dict(json.loads(files()[STATEMENT]))
    key = SSlibKey.from_crypto(kit.signers().statement.public_key())
    assert list(envelope.verify([key], 1)) == [key.keyid]
    (tmp_path / "case.jsonld").write_bytes(files()[CASE_GRAPH])
    checked = validate(str(tmp_path / "case.jsonld"), allow_infos=True)
    assert checked.conforms
    assert not checked.undefined_concepts


@pytest.mark.skipif(shutil.which("pdfsig") is None, reason="poppler-utils is not installed")
def test_a_pdf_reader_accepts_the_reports_signature(tmp_path: Path) -> None:
    for language in LANGUAGES:
        path = tmp_path / f"{language}.pdf"
        path.write_bytes(files()[report_of(language)])
        told = subprocess.run(["pdfsig", path], capture_output=True, text=True, check=False).stdout
        assert "Signature is Valid" in told
        assert "Total document signed" in told


def test_the_content_of_a_bundle() -> None:
    document = json.loads(files()[VERDICT])
    assert document["item"]["mime"] == "video/mp4"
    assert document["item"]["content_credentials"] == {"state": "absent"}
    assert document["result"]["tracks"]
    assert document["error_rates"]["decision"]["false_positive_rate"]["groups"] > 0
    assert document["error_rates"]["people"][0]["false_positive_rate"]["high"] <= 1.0
    assert document["verbal"]["source"]
    assert len(document["limits"]) == 5
    hashes = json.loads(files()[HASHES])
    assert len(hashes["pdq"]) == 2  # two seconds, one a second
    assert all(len(h["pdq"]) == 64 for h in hashes["pdq"])
    assert files()[TIMELINE].startswith(b"<svg")
    assert json.loads(files()[CUSTODY])["entries"] == []
    assert b"BEGIN CERTIFICATE" in files()[CERTIFICATES]


@pytest.mark.parametrize(
    ("media", "verdict"),
    [
        (b"no media at all", "unable_to_evaluate"),
        (mediakit.picture(mediakit.astronaut()[300:, :200], "PNG"), "not_applicable"),
        (mediakit.picture(mediakit.resized(mediakit.astronaut(), 120, 120), "JPEG"), None),
    ],
    ids=["undecodable", "no-face", "small"],
)
def test_a_file_that_cannot_be_judged_gets_a_report(media: bytes, verdict: str | None) -> None:
    content = build(kit.dossier(media), kit.material(media), kit.signers())
    found = verify(content, OURS)
    assert found.exit_code is ExitCode.VERIFIED, [s.to_json() for s in found.steps]
    assert found.document is not None
    if verdict:
        assert found.document["result"]["verdict"] == verdict
    assert found.document["result"]["reasons"]


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
    media = mediakit.picture(mediakit.resized(mediakit.astronaut(), 120, 120), "PNG")
    material = kit.material(media)
    reason = material.examination["result"]["reasons"][0]
    assert old in reason["detail"]
    reason["detail"] = reason["detail"].replace(old, new)
    content = build(kit.dossier(media), material, kit.signers())
    assert verify(content, OURS).exit_code is exit_code


def test_a_possible_minor_is_not_shown() -> None:
    dossier = kit.dossier(kit.video(), **kit.flagged())
    content = build(dossier, kit.material(kit.video()), kit.signers())
    there = bag.unzipped(content)
    assert not [n for n in there if n.endswith(".png")]
    assert verify(content, OURS, scorer=kit.scorer()).exit_code is ExitCode.VERIFIED
    assert len(there[report_of("en")]) < len(files()[report_of("en")]) - 50_000


def test_a_signature_has_room_for_its_certificates_without_a_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unexpected(*_: object, **__: object) -> None:
        raise AssertionError("the report was signed to measure the signature")

    monkeypatch.setattr(PdfSigningSession, "estimate_signature_container_size", unexpected)
    keys = [ec.generate_private_key(ec.SECP521R1()) for _ in range(3)]
    chain = tuple(self_made_certificate(key, "가" * 64, datetime.now(UTC)) for key in keys)
    signers = replace(kit.signers(), report_key=keys[0], report_certificates=chain)
    for part in (chain, chain[:1]):
        signers = replace(signers, report_certificates=part)
        copy = report_copy(kit.bundle(), "en", ReportCopy(faces=False), signers)
        pdf_signature.verify(copy, list(part), datetime.now(UTC))


def test_a_report_without_faces_has_a_signature_of_its_own_and_says_what_it_leaves_out() -> None:
    content, signers = kit.bundle(), kit.signers()
    copy = report_copy(content, "en", ReportCopy(faces=False), signers)
    assert len(copy) < len(files()[report_of("en")]) - 50_000
    pdf_signature.verify(copy, list(signers.report_certificates), datetime.now(UTC))
    document = json.loads(files()["data/verdict.json"])
    shown = report_texts(document, {}, {"accounts": {}, "entries": []}, words("en"))
    assert shown["pictures"] == []
    assert f"Edition {document['edition']}" in shown["pictures_note"]


def test_hostile_text_is_only_text() -> None:
    evil = "<script>alert(1)</script> #panic() \u202egnp.exe\u0000 \U0001f600 " + "ㄱ" * 10_000
    case = {"id": "c" * 26, "reference": evil, "minor": False}
    media = mediakit.picture(mediakit.astronaut(), "PNG")
    content = build(
        kit.dossier(media, case=case, issuer=evil[:60], **kit.reviewed("confirmed", evil, evil)),
        kit.material(media),
        kit.signers(),
    )
    assert verify(content, OURS).exit_code is ExitCode.VERIFIED
    shown = readable(evil)
    assert "\u202e" not in shown
    assert "\0" not in shown
    assert "[U+202E]gnp.exe[U+0000] \U0001f600" in shown
    assert len(shown) <= MAX_TEXT_CHARS + 20


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of a time-stamp authority run with openssl, and the file of its root."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    with kit.time_stamp_authority(tmp_path_factory.mktemp("tsa")) as found:
        yield found


@pytest.fixture(scope="module")
def stamped(authority: tuple[str, Path]) -> bytes:
    url = authority[0]
    return build(
        kit.dossier(kit.video()), kit.material(kit.video()), kit.signers(),
        stamp=lambda data: timestamps.request(url, data),
    )  # fmt: skip


def test_a_time_stamp_is_valid(stamped: bytes, authority: tuple[str, Path]) -> None:
    trusting = Trust(OURS.keys, certificates(authority[1]))
    for trust in (OURS, trusting):
        found = verify(stamped, trust)
        assert outcomes(found)[9] is Outcome.PASS
        assert found.exit_code is ExitCode.VERIFIED
    assert "trusted authority" in verify(stamped, trusting).steps[8].detail


def test_another_authoritys_time_stamp_is_refused(stamped: bytes, tmp_path: Path) -> None:
    kit._make_authority(tmp_path)
    trust = Trust(OURS.keys, certificates(tmp_path / "ca.crt"))
    assert failed_at(stamped, trust) == 9


def test_a_missing_time_stamp_or_one_of_another_statement_is_caught(
    stamped: bytes, authority: Any
) -> None:
    assert failed_at(kit.reworked(stamped, lambda f: f.pop(STAMP) and None)) == 9
    other = timestamps.request(authority[0], b"something else")
    assert failed_at(kit.reworked(stamped, lambda f: f.update({STAMP: other}))) == 9
    unasked = kit.reworked(kit.bundle(), lambda f: f.update({STAMP: other}))
    assert failed_at(unasked) == 9


def test_every_byte_of_a_time_stamp_counts(stamped: bytes) -> None:
    token = bag.unzipped(stamped)[STAMP]
    draw = random.Random(3)
    for at in draw.sample(range(len(token)), 60):
        changed = token[:at] + bytes([token[at] ^ 1]) + token[at + 1 :]
        tampered = kit.reworked(stamped, lambda f, c=changed: f.update({STAMP: c}))
        assert failed_at(tampered) == 9, at


def test_the_statement_says_that_the_authority_failed() -> None:
    def down(_: bytes) -> bytes:
        return timestamps.request("http://127.0.0.1:1/", b"x")

    with pytest.raises(TimestampFailed):
        down(b"")
    content = build(kit.dossier(kit.video()), kit.material(kit.video()), kit.signers(), stamp=down)
    found = verify(content, OURS)
    assert found.exit_code is ExitCode.VERIFIED
    assert "the authority failed" in found.steps[8].detail


@pytest.fixture(scope="module")
def stamped_reports(authority: tuple[str, Path]) -> bytes:
    return build(
        kit.dossier(kit.video()), kit.material(kit.video()), kit.signers(),
        post=lambda query: timestamps.post(authority[0], query),
    )  # fmt: skip


def test_a_reports_signature_has_a_time_stamp(
    stamped_reports: bytes, authority: tuple[str, Path], tmp_path: Path
) -> None:
    """PAdES B-T: the signature is valid after its certificate has expired, too."""
    trusting = Trust(OURS.keys, certificates(authority[1]))
    for trust in (OURS, trusting):
        found = verify(stamped_reports, trust)
        assert found.exit_code is ExitCode.VERIFIED, [s.to_json() for s in found.steps]
        assert "time-stamped at" in found.steps[7].detail
    (signature,) = PdfFileReader(
        io.BytesIO(bag.unzipped(stamped_reports)[report_of("en")])
    ).embedded_signatures
    stamps = [a for a in signature.signer_info["unsigned_attrs"]
              if a["type"].native == "signature_time_stamp_token"]  # fmt: skip
    assert len(stamps) == 1
    kit._make_authority(tmp_path)
    assert failed_at(stamped_reports, Trust(OURS.keys, certificates(tmp_path / "ca.crt"))) == 8


def test_a_report_is_signed_without_a_time_stamp_if_the_authority_fails() -> None:
    def down(query: bytes) -> bytes:
        return timestamps.post("http://127.0.0.1:1/", query)

    for post in (down, lambda _: b"not a reply"):
        content = build(
            kit.dossier(kit.video()), kit.material(kit.video()), kit.signers(), post=post
        )
        found = verify(content, OURS)
        assert found.exit_code is ExitCode.VERIFIED
        assert "time-stamped" not in found.steps[7].detail


def test_an_authority_that_answers_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """L8: the reply was read whole before its size was looked at, without a deadline."""

    class Endless(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(64 * 1024))

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Endless) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        with pytest.raises(TimestampFailed, match="too large"):
            timestamps.request(url, b"x")
        monkeypatch.setattr(timestamps, "DEADLINE_S", 0.0)
        with pytest.raises(TimestampFailed, match="too slowly"):
            timestamps.request(url, b"x")
        server.shutdown()


@pytest.mark.parametrize("limit", [zipfile.ZIP64_LIMIT, 1000])
def test_a_zip_in_pieces_is_the_zip_as_a_whole(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not it is so large that it needs ZIP64."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    files = {f"data/{n}.bin": bytes([n]) * 400 * n for n in range(5)}
    pieces = list(bag.zip_pieces(files.items()))
    assert len(pieces) == len(files) + 1
    assert b"".join(pieces) == bag.zipped(files)
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_one_file_of_a_bundle_is_read_alone() -> None:
    content = bag.zipped(made := {"data/a.json": b"a", VERDICT: b"{}"})
    assert all(bag.member(content, name) == made[name] for name in made)
    with pytest.raises(KeyError):
        bag.member(content, "data/other.json")
    with pytest.raises(bag.InvalidBag):
        bag.member(b"no ZIP", VERDICT)
