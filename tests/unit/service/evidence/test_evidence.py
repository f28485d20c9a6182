"""Evidence bundles: what they contain, and that they verify."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import bagit
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pyhanko.sign.signers.pdf_signer import PdfSigningSession
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from deepfake_service.evidence.bundle import pdf_signature
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.builder import (
    CERTIFICATES,
    CUSTODY,
    HASHES,
    STATEMENT,
    TIMELINE,
    VERDICT,
    build,
    report_copy,
    report_of,
)
from deepfake_service.evidence.bundle.steps import ExitCode, Outcome
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.evidence.report.reading import Reading
from deepfake_service.evidence.report.report import ReportCopy, present
from deepfake_service.evidence.report.summary import summary_of
from deepfake_service.platform.texts.characters import MAX_TEXT_CHARS, readable
from deepfake_service.platform.texts.i18n import LANGUAGES, words
from tests.support import exhibits, footage
from tests.support.certificates import self_made_certificate
from tests.support.documents import NO_CUSTODY, leaves, report_texts
from tests.support.exhibits import OURS, files_of_bundle, outcomes


def test_a_bundle_verifies_down_to_the_original() -> None:
    found = verify(
        exhibits.bundle(), OURS, scorer=exhibits.scorer(), original=io.BytesIO(exhibits.video())
    )
    assert found.exit_code is ExitCode.VERIFIED
    assert outcomes(found) == {n: Outcome.SKIPPED if n == 9 else Outcome.PASS for n in range(1, 12)}


def passing(frames: int = 50) -> bytes:
    """Return a video of a person who stays, and another one who passes by."""
    fields = footage.panning(frames, 320, 256)
    other = footage.resized(footage.grace_hopper()[:410], 320, 256)
    fields[20], fields[21] = other, other.copy()
    return footage.encode(fields)


def test_a_video_with_a_person_who_passes_by_has_evidence() -> None:
    media = passing()
    gathered = exhibits.material(media)
    tracks = gathered.examination.result.tracks
    assert any(t.judged and t.log_likelihood_ratio is None for t in tracks), tracks
    content = build(exhibits.dossier(media), gathered, exhibits.signers())
    assert verify(content, OURS).exit_code is ExitCode.VERIFIED
    document = json.loads(bag.unzipped(content)[VERDICT])
    valued = [t.track for t in tracks if t.log_likelihood_ratio is not None]
    assert [p["track"] for p in document["error_rates"]["people"]] == valued
    for language in LANGUAGES:
        view = summary_of(Reading(exhibits.stated(document), words(language)))
        assert view["rates"]
        assert len(view["people"]) == len(tracks)


def test_the_same_input_gives_the_same_bytes_but_for_signatures() -> None:
    again = bag.unzipped(
        build(
            exhibits.dossier(exhibits.video()),
            exhibits.material(exhibits.video()),
            exhibits.signers(),
        )
    )
    same = {n for n, c in files_of_bundle().items() if again[n] == c}
    signed = {report_of(language) for language in LANGUAGES}
    # Signatures differ in length by a byte or two, which the bag's information states.
    assert set(files_of_bundle()) - same <= {
        STATEMENT, bag.INFO, bag.MANIFEST, bag.TAG_MANIFEST, *signed
    }  # fmt: skip
    for name in signed:
        assert abs(len(again[name]) - len(files_of_bundle()[name])) < 100


def test_other_tools_accept_a_bundle(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(exhibits.bundle())) as archive:
        archive.extractall(tmp_path / "bag")
    bagit.Bag(str(tmp_path / "bag")).validate()
    envelope = Envelope.from_dict(json.loads(files_of_bundle()[STATEMENT]))
    key = SSlibKey.from_crypto(exhibits.signers().statement.public_key())
    assert list(envelope.verify([key], 1)) == [key.keyid]


@pytest.mark.skipif(shutil.which("pdfsig") is None, reason="poppler-utils is not installed")
def test_a_pdf_reader_accepts_the_reports_signature(tmp_path: Path) -> None:
    for language in LANGUAGES:
        path = tmp_path / f"{language}.pdf"
        path.write_bytes(files_of_bundle()[report_of(language)])
        told = subprocess.run(["pdfsig", path], capture_output=True, text=True, check=False).stdout
        assert "Signature is Valid" in told
        assert "Total document signed" in told


def test_the_content_of_a_bundle() -> None:
    document = json.loads(files_of_bundle()[VERDICT])
    assert document["item"]["mime"] == "video/mp4"
    assert document["item"]["content_credentials"] == {"state": "absent"}
    assert document["result"]["tracks"]
    assert document["error_rates"]["decision"]["false_positive_rate"]["groups"] > 0
    assert document["error_rates"]["people"][0]["false_positive_rate"]["high"] <= 1.0
    assert document["result"]["examined"] == ["face"]
    assert document["verbal"] is None, "no strength is stated on the side of not manipulated"
    assert len(document["limits"]) == 5
    hashes = json.loads(files_of_bundle()[HASHES])
    assert len(hashes["pdq"]) == 2  # two seconds, one a second
    assert all(len(h["pdq"]) == 64 for h in hashes["pdq"])
    assert files_of_bundle()[TIMELINE].startswith(b"<svg")
    assert json.loads(files_of_bundle()[CUSTODY])["entries"] == []
    assert b"BEGIN CERTIFICATE" in files_of_bundle()[CERTIFICATES]


@pytest.mark.parametrize(
    ("media", "verdict"),
    [
        (b"no media at all", "unable_to_evaluate"),
        (footage.picture(footage.astronaut()[300:, :200], "PNG"), "not_applicable"),
        (footage.picture(footage.resized(footage.astronaut(), 120, 120), "JPEG"), None),
    ],
    ids=["undecodable", "no-face", "small"],
)
def test_a_file_that_cannot_be_judged_gets_a_report(media: bytes, verdict: str | None) -> None:
    content = build(exhibits.dossier(media), exhibits.material(media), exhibits.signers())
    found = verify(content, OURS)
    assert found.exit_code is ExitCode.VERIFIED, found.steps
    if verdict:
        assert found.published().verdict == verdict


def test_a_possible_minor_is_not_shown() -> None:
    dossier = exhibits.dossier(exhibits.video(), **exhibits.flagged())
    content = build(dossier, exhibits.material(exhibits.video()), exhibits.signers())
    there = bag.unzipped(content)
    assert not [n for n in there if n.endswith(".png")]
    assert verify(content, OURS, scorer=exhibits.scorer()).exit_code is ExitCode.VERIFIED
    assert len(there[report_of("en")]) < len(files_of_bundle()[report_of("en")]) - 50_000


def test_a_signature_has_room_for_its_certificates_without_a_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unexpected(*_: object, **__: object) -> None:
        raise AssertionError("the report was signed to measure the signature")

    monkeypatch.setattr(PdfSigningSession, "estimate_signature_container_size", unexpected)
    keys = [ec.generate_private_key(ec.SECP521R1()) for _ in range(3)]
    chain = tuple(self_made_certificate(key, "가" * 64, datetime.now(UTC)) for key in keys)
    signers = replace(exhibits.signers(), report_key=keys[0], report_certificates=chain)
    for part in (chain, chain[:1]):
        signers = replace(signers, report_certificates=part)
        copy = report_copy(exhibits.bundle(), "en", ReportCopy(faces=False), signers)
        pdf_signature.verify(copy, list(part), datetime.now(UTC))


def test_a_report_without_faces_has_a_signature_of_its_own_and_says_what_it_leaves_out() -> None:
    content, signers = exhibits.bundle(), exhibits.signers()
    copy = report_copy(content, "en", ReportCopy(faces=False), signers)
    assert len(copy) < len(files_of_bundle()[report_of("en")]) - 50_000
    pdf_signature.verify(copy, list(signers.report_certificates), datetime.now(UTC))
    document = json.loads(files_of_bundle()["data/verdict.json"])
    shown = report_texts(document, {}, words("en"))
    assert shown["pictures"] == []
    assert f"Edition {document['edition']}" in shown["pictures_note"]


def test_a_copy_of_a_report_can_leave_out_what_reviewers_wrote() -> None:
    document = json.loads(files_of_bundle()["data/verdict.json"])
    review = {"at": document["created_at"], "account": "a", "name": "Kim", "role": "analyst",
              "decision": "confirmed", "reason": "The mother told us.",
              "pictures_withheld": False}  # fmt: skip
    told = exhibits.stated(document | {"reviews": [review], "finding": "confirmed"})
    custody = {"custody.json": NO_CUSTODY.canonical()}
    for copy, is_told in ((ReportCopy(), True), (ReportCopy(reasons=False), False)):
        shown = "\n".join(leaves(present(told, custody, words("en"), "ab" * 32, copy)))
        assert ("The mother told us." in shown) == is_told
        assert ("Reason, as written: not in this copy" in shown) != is_told


def test_hostile_text_is_only_text() -> None:
    evil = "<script>alert(1)</script> #panic() \u202egnp.exe\u0000 \U0001f600 " + "ㄱ" * 10_000
    case = {"id": "c" * 26, "reference": evil, "minor": False}
    media = footage.picture(footage.astronaut(), "PNG")
    content = build(
        exhibits.dossier(
            media, case=case, issuer=evil[:60], **exhibits.reviewed("confirmed", evil, evil)
        ),
        exhibits.material(media),
        exhibits.signers(),
    )
    assert verify(content, OURS).exit_code is ExitCode.VERIFIED
    shown = readable(evil)
    assert "\u202e" not in shown
    assert "\0" not in shown
    assert "[U+202E]gnp.exe[U+0000] \U0001f600" in shown
    assert len(shown) <= MAX_TEXT_CHARS + 20
