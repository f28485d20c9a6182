"""Build one edition of a job's evidence: a signed bundle of the gathered material and the records.

The same input gives the same bytes, except for signatures and time stamps.

1. ``verdict.json`` has everything; timeline, custody and hashes follow.
2. The reports, in Korean and English, list the digests of those files and are signed if
   the operator has a certificate.
3. The bag's manifest covers the payload. The statement covers the manifest, the payload and the
   submitted media, and is signed.
4. A time-stamp authority, if one is configured, stamps the signed statement. Its token is signed
   too. It also stamps the signatures of the reports.
"""

from __future__ import annotations

from collections.abc import Mapping

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.decision.level import log_likelihood_ratio
from deepfake_models.decision.serialization import unjudged
from deepfake_service import program_version
from deepfake_service.evidence.bundle import dsse
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.artifacts import MODEL_CARD, Material, marked_places
from deepfake_service.evidence.bundle.documents import (
    Cutout,
    FacePicture,
    HashedFrames,
    HashesDocument,
    Method,
    ModelName,
    Records,
    StatedItem,
    ValuedPicture,
    Verbal,
    VerdictDocument,
    read,
)
from deepfake_service.evidence.bundle.dsse import Signers
from deepfake_service.evidence.bundle.error_rates import error_rates
from deepfake_service.evidence.bundle.perceptual_hashes import MIN_QUALITY
from deepfake_service.evidence.bundle.zip_format import too_large
from deepfake_service.evidence.report.plots import timeline
from deepfake_service.evidence.report.report import ORIGINAL, ReportCopy, present, report
from deepfake_service.evidence.report.summary import CLASS_ACTIVATION, question_key
from deepfake_service.platform.errors import Code, EvidenceMissing
from deepfake_service.platform.texts.formatting import strength_of
from deepfake_service.platform.texts.i18n import LANGUAGES, words
from deepfake_service.platform.timestamps import TimestampFailed, request

SOFTWARE = f"deepfake-service {program_version()}"
STATEMENT, STAMP = "signatures/statement.dsse.json", "signatures/statement.tsr"
STAMP_SIGNATURE = "signatures/statement.tsr.sig"
PUBLIC_KEY, CERTIFICATES = "signatures/key.pem", "signatures/report-certificates.pem"
VERDICT, CUSTODY, HASHES = "data/verdict.json", "data/custody.json", "data/hashes.json"
TIMELINE = "data/timeline.svg"
MODEL, MODEL_RATES = "data/model/bundle.json", "data/model/reliability.json"
MODEL_CARD_FILE = f"data/{MODEL_CARD}"


def report_of(language: str) -> str:
    """Return the name of the report in a language."""
    return f"data/report-{language}.pdf"


def build(records: Records, material: Material, signers: Signers) -> bytes:
    """Return the evidence bundle, a ZIP; ``EvidenceMissing`` if ``verdict.json`` or the bundle
    would be larger than a verifier reads."""
    document = verdict_document(records, material)
    verdict = document.canonical()
    if too_large(verdict):
        raise EvidenceMissing(code=Code.EVIDENCE_TOO_LARGE)
    hashes = HashesDocument(
        **dict(material.examination.hashes), **dict(records.item), min_quality=MIN_QUALITY
    )
    payload = {
        VERDICT: verdict,
        CUSTODY: records.custody.canonical(),
        HASHES: hashes.canonical(),
        TIMELINE: timeline(document, words("en")).encode(),
        **{
            f"data/{name}": content
            for name, content in material.files.items()
            if name.startswith("model/") or not document.case.minor
        },
    }
    payload |= {
        report_of(language): _report(document, payload, language, ORIGINAL, signers)
        for language in LANGUAGES
    }
    certificate = signers.certificate_sha256
    predicate = {
        **predicate_of(document),
        "software": SOFTWARE,
        "reportCertificate": certificate and {"sha256": certificate},
    }
    outside = {dsse.MEDIA_SUBJECT: document.item.sha256}
    name = f"{document.job.id}/{document.edition}"
    bundle = signed_bag(payload, outside, dsse.EVIDENCE_TYPE, predicate, name, signers)
    if len(bundle) > bag.MAX_BYTES:
        raise EvidenceMissing(code=Code.EVIDENCE_TOO_LARGE)
    return bundle


def predicate_of(document: VerdictDocument) -> dict[str, object]:
    """Return what the statement repeats of ``verdict.json``."""
    predecessor = document.predecessor
    return {
        "issuer": document.issuer,
        "createdAt": document.created_at,
        "case": document.case.id,
        "job": document.job.id,
        "edition": document.edition,
        "predecessor": predecessor and {"sha256": predecessor},
        "verdict": document.result.verdict,
        "finding": document.finding,
        "model": {"sha256": document.method.model.sha256},
    }


def report_copy(bundle: bytes, language: str, copy: ReportCopy, signers: Signers) -> bytes:
    """Return a copy of the report of a bundle, with a signature of its own."""
    files = bag.unzipped(bundle)
    return _report(read(VerdictDocument, files[VERDICT], VERDICT), files, language, copy, signers)


def _report(
    document: VerdictDocument,
    files: Mapping[str, bytes],
    language: str,
    copy: ReportCopy,
    signers: Signers,
) -> bytes:
    from deepfake_service.evidence.bundle import pdf_signature

    reports = {report_of(each) for each in LANGUAGES}
    payload = {
        name.removeprefix(bag.DATA): content
        for name, content in files.items()
        if name.startswith(bag.DATA) and name not in reports
    }
    shown = present(document, payload, words(language), signers.certificate_sha256, copy)
    pdf = report(shown, document.created_at)
    return pdf_signature.sign(pdf, signers, document.issuer)


def signed_bag(
    payload: Mapping[str, bytes],
    outside: Mapping[str, str],
    kind: str,
    predicate: Mapping[str, object],
    identifier: str,
    signers: Signers,
) -> bytes:
    """Return the canonical ZIP of a bag whose signed statement is about its files and what is
    ``outside`` of it, SHA-256 by the name of a subject. ``kind`` is that of the statement."""
    files = bag.tagged(
        payload,
        {
            "Bag-Software-Agent": str(predicate["software"]),
            "Bagging-Date": str(predicate["createdAt"])[:10],
            "External-Identifier": identifier,
            "Bag-Group-Identifier": str(predicate["case"]),
        },
    )
    files[PUBLIC_KEY] = dsse.public_pem(signers.statement.public_key())
    if kind == dsse.EVIDENCE_TYPE and signers.report_certificates:
        files[CERTIFICATES] = signers.certificates_pem
    digests = {**outside, **{name: bag.sha256(content) for name, content in files.items()}}

    def statement(timestamp: str) -> bytes:
        content = dsse.statement(digests, kind, {**predicate, "timestamp": timestamp})
        return dsse.sign(content, signers.statement)

    if signers.authority is None:
        return bag.sealed({**files, STATEMENT: statement("none")})
    stamped = statement("rfc3161")
    try:
        token = request(signers.authority, stamped)
    except TimestampFailed:
        # The statement says so, since a missing token could also have been removed by an attacker.
        return bag.sealed({**files, STATEMENT: statement("failed")})
    # The token has bytes that its own signature does not cover, so it is signed as a whole.
    signature = signers.statement.sign(stamp_message(token))
    return bag.sealed({**files, STATEMENT: stamped, STAMP: token, STAMP_SIGNATURE: signature})


def stamp_message(token: bytes) -> bytes:
    """Return the message whose signature covers a whole time stamp."""
    return b"deepfake-service/timestamp/1\n" + token


def verdict_document(records: Records, material: Material) -> VerdictDocument:
    """Return the content of ``verdict.json``: what is known from a job's records and what its
    examination found."""
    found, spec, en = material.examination, material.spec, words("en")
    record, hashes = unjudged(found.exact), found.hashes
    people = [t.track for t in found.result.tracks if t.log_likelihood_ratio is not None]
    # What was measured on whole videos does not hold for a part that a person chose.
    step = strength_of(found.result) if found.within_s is None else None
    question = question_key(record.media.kind if record.media else None)
    return VerdictDocument(
        **dict(records)
        | {
            "question": en(question),
            "item": StatedItem(
                **dict(records.item),
                mime=found.mime,
                content_credentials=found.content_credentials,
                perceptual=HashedFrames(
                    frames=len(hashes.pdq or ()),
                    interval_s=hashes.interval_s,
                    reason=hashes.reason,
                ),
            ),
        },
        result=found.result,
        verbal=None
        if step is None
        else Verbal(text=en.of("scale", step), source=en("verbal_source")),
        exact=found.exact,
        examined_s=found.examined_s,
        pictures=()
        if records.case.minor
        else tuple(
            _valued(picture, found.exact.faces[picture.face].logit, spec)
            for picture in found.pictures
        ),
        cutouts=_cutouts(records, material) or None,
        method=method_of(spec, material.model_sha256, found.software),
        sandbox=found.sandbox,
        error_rates=error_rates(record, people, spec, material.reliability),
        limits=tuple(text.format(terms=spec.terms) for text in en.list("limits")),
    )


def _cutouts(records: Records, material: Material) -> tuple[Cutout, ...]:
    why = "not_decoded" if records.media_kept else "media_deleted"
    why = "minor" if records.case.minor else why
    return tuple(
        place.model_copy(
            update={"file": place.name} if place.name in material.files else {"left_out": why}
        )
        for place in marked_places(records.reviews, material.examination.exact.media)
    )


def _valued(picture: FacePicture, logit: float | None, spec: BundleSpec) -> ValuedPicture:
    assert logit is not None  # suspect_faces chooses among the scored ones
    value = log_likelihood_ratio(logit, spec.calibration.face)
    return ValuedPicture(**dict(picture), logit=logit, log_likelihood_ratio=value)


def method_of(spec: BundleSpec, sha256: str, software: dict[str, str]) -> Method:
    """Return the description of the method: the model and every rule by which it was applied."""
    model = ModelName(
        name=spec.name,
        version=spec.version,
        sha256=sha256,
        terms=spec.terms,
        origin=spec.training.get("origin"),
    )
    overlay = spec.training.get("map_method", CLASS_ACTIVATION)
    rules = {name: value for name, value in spec if name in Method.model_fields}
    return Method(model=model, map=overlay, software=software, **rules)
