"""Verification of a bundle of evidence or of a capture, or of looks, offline, in numbered steps.

1. The file is a canonical bundle ZIP: no bytes outside the entries, no name twice.
2. It is a complete BagIt bag: every file is listed in a manifest with its SHA-256.
3. The statement is an in-toto Statement in a DSSE envelope, in canonical form.
4. The statement is signed with a trusted key. A key inside the bundle is not trusted.
5. The statement's subjects are the submitted media and all other files, with their digests.
6. ``verdict.json`` agrees with the statement and with the chain of custody: who decided what. The
   bundle has the pictures that it names, and those of places are where reviewers marked them.
7. The model's manifest is that of the named model, and the verdict follows from the faces by it.
8. Each report is signed as a whole with the certificate that the statement names, if any.
9. The time stamp, if the statement mentions one, covers this statement.
10. With a scorer: every stored crop gets its recorded logits from the same model.
11. With the original file: it has the recorded digest, scoring it gives the same verdict, and it
    shows at the marked places what the bundle does.
12. With the issuer's list of revocations: the edition was neither replaced nor withdrawn.

Of a capture, the first five steps are the same. Then ``capture.json`` agrees with the statement;
the time stamp holds; and the original file, if given,
is one of those that were handed in, or a picture or video in them. Lists of revocations do not name
captures or looks, but keys that signed them.

A file of looks at a post is not a bundle. It must follow byte for byte from its records, each of
which names the one before and is signed with a trusted key.

A failure in one of the first six steps ends the verification, because later ones build on them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import Reason, Verdict, VerdictCode
from deepfake_models.decision.level import log_likelihood_ratio
from deepfake_models.decision.serialization import judge_exact, unjudged
from deepfake_models.errors import DeepfakeError, SandboxBusy, SandboxIncomplete
from deepfake_models.scorer import Scorer
from deepfake_service.evidence.bundle import builder, custody, dsse
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.artifacts import PICTURE_FOLDERS
from deepfake_service.evidence.bundle.capture_format import CaptureSteps
from deepfake_service.evidence.bundle.documents import (
    Custody,
    Failed,
    Reliability,
    VerdictDocument,
    read,
    same,
)
from deepfake_service.evidence.bundle.error_rates import error_rates
from deepfake_service.evidence.bundle.look_format import LookSteps
from deepfake_service.evidence.bundle.readers import BundleReaders
from deepfake_service.evidence.bundle.rescoring import compare_places, ratio_tolerance, rescore
from deepfake_service.evidence.bundle.steps import Found, NamedStep, Outcome, Step, Verification
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.platform.texts.i18n import LANGUAGES

MAX_DETAIL = 600
"""Characters of the detail of a step, which may repeat what an unknown bundle says."""
_DECIDED = (VerdictCode.LIKELY_MANIPULATED, VerdictCode.NO_MANIPULATION_FOUND)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
MAX_LISTED_PICTURES = 64
"""Pictures that a bundle may list: more than any version gathers, few enough to score again."""


def verify(
    content: bytes,
    trust: Trust,
    *,
    scorer: Scorer | None = None,
    original: BinaryIO | None = None,
    readers: BundleReaders | None = None,
) -> Verification:
    """Verify a bundle; a fault in it is reported as an outcome and never raised.

    ``scorer`` enables step 10, and together with ``original``, the submitted file, step 11. Without
    ``readers``, the calling process parses the bundle. ``SandboxBusy`` or ``SandboxIncomplete`` if
    there is no process to parse the bundle in.
    """
    done = Verification(hashlib.sha256(content).hexdigest())
    return _Run(content, trust, scorer, original, readers or BundleReaders(), done).run()


@dataclass
class _Run:
    _content: bytes
    _trust: Trust
    _scorer: Scorer | None
    _original: BinaryIO | None
    _readers: BundleReaders
    _done: Verification
    _files: dict[str, bytes] = field(default_factory=dict)
    _envelope: dsse.Envelope = field(init=False)
    _stated: dsse.OfBundle = field(init=False)
    _signer: Ed25519PublicKey | None = None
    _document: VerdictDocument = field(init=False)
    """The content of ``verdict.json``, once it agrees with the statement."""

    def run(self) -> Verification:
        """Take all steps, up to the first failure among the first six."""
        steps: list[NamedStep] = [
            ("The file is a bundle", self._zip),
            ("The bag is complete", self._bag),
            ("The statement is well formed", self._statement),
            ("The signature holds", self._signature),
            ("The statement covers every file", self._coverage),
        ]
        if self._content[:1] == b"{":
            steps = self._of_looks()
        for number, (title, step) in enumerate(steps, start=1):
            try:
                outcome, detail = step()
            except (SandboxBusy, SandboxIncomplete):
                raise
            except DeepfakeError as error:
                outcome, detail = Outcome.FAIL, str(error) or type(error).__name__
            except Exception as error:  # content that breaks a parser is not intact
                outcome, detail = Outcome.FAIL, f"cannot be read ({type(error).__name__})"
            # The content is not trusted yet: control characters must not reach a terminal.
            shown = "".join(c if c.isprintable() else "?" for c in detail)[:MAX_DETAIL]
            step_taken = Step(number=number, title=title, outcome=outcome, detail=shown)
            self._done.steps.append(step_taken)
            if outcome is Outcome.FAIL and number <= 6:
                break
            if number == 5:  # what it is a bundle of is signed
                if isinstance(self._stated, dsse.CaptureStatement):
                    steps += self._of_capture(self._stated)
                else:
                    steps += self._of_evidence(self._stated)
        return self._done

    def _listed(self, title: str, step: Callable[[], Found]) -> list[NamedStep]:
        return [] if self._trust.revocations is None else [(title, step)]

    def _of_evidence(self, stated: dsse.EvidenceStatement) -> list[NamedStep]:
        return [
            ("The verdict agrees with the statement", lambda: self._verdict(stated)),
            ("The verdict follows from the faces", self._judging),
            ("The reports are signed", lambda: self._reports(stated.predicate)),
            ("The time stamp holds", self._time_stamp),
            ("The crops get the recorded values", self._rescoring),
            ("The original gives this verdict", self._original_again),
            *self._listed("The issuer answers for this edition", self._revocation),
        ]

    def _of_capture(self, stated: dsse.CaptureStatement) -> list[NamedStep]:
        own = CaptureSteps(self._files, stated, self._original)
        return [
            ("The capture agrees with the statement", own.record),
            ("The time stamp holds", self._time_stamp),
            ("The original belongs to this capture", own.original),
            *self._listed("The issuer's list of revocations", lambda: _not_listed("captures")),
        ]

    def _of_looks(self) -> list[NamedStep]:
        own = LookSteps(self._content, self._trust, self._done, self._readers.looks)
        return [
            ("The looks are what their records state, one after the other", own.stated),
            ("The signatures hold", own.signatures),
            *self._listed("The issuer's list of revocations", lambda: _not_listed("looks")),
        ]

    def _zip(self) -> Found:
        self._files = self._readers.files(self._content)
        return Outcome.PASS, f"{len(self._files)} files, {len(self._content)} bytes"

    def _bag(self) -> Found:
        bag.check(self._files)
        return Outcome.PASS, "every file is listed in a manifest with its SHA-256"

    def _statement(self) -> Found:
        raw = bag.bounded(self._files, builder.STATEMENT)
        self._envelope, self._stated = dsse.opened(raw, dsse.OF_BUNDLE)
        self._done.statement, p = self._stated, self._stated.predicate
        if isinstance(p, dsse.CapturePredicate):
            return Outcome.PASS, f"capture {p.capture}, of {p.created_at}"
        return Outcome.PASS, f"job {p.job}, edition {p.edition}, of {p.created_at}"

    def _signature(self) -> Found:
        inside = dsse.opened_pem(bag.bounded(self._files, builder.PUBLIC_KEY))
        if inside is None:
            raise Failed(f"{builder.PUBLIC_KEY}: not an Ed25519 public key in canonical form")
        self._signer, named = inside, dsse.key_id(inside)
        self._trust.check_key(named)
        for key in self._trust.keys:
            if dsse.signed_by(self._envelope, key):
                if dsse.key_id(key) != named:
                    raise Failed(f"{builder.PUBLIC_KEY}: not the key that signed the statement")
                self._done.signer = named
                return Outcome.PASS, f"signed with the trusted key {named}"
        if not dsse.signed_by(self._envelope, inside):
            raise Failed("the signature does not belong to this statement")
        if self._trust.keys:
            raise Failed(f"signed with the key {named}, which is not trusted")
        return Outcome.UNKNOWN, (
            f"intact, but signed with the key {named}, which only the bundle vouches "
            "for: get the issuer's key from the issuer and give it with --public-key"
        )

    def _coverage(self) -> Found:
        is_capture = isinstance(self._stated, dsse.CaptureStatement)
        outside = re.compile(r"(file|medium)/\d{1,4}" if is_capture else dsse.MEDIA_SUBJECT)
        listed = self._stated.digests
        named = {name: digest for name, digest in listed.items() if not outside.fullmatch(name)}
        unnamed = (builder.STATEMENT, builder.STAMP, builder.STAMP_SIGNATURE, bag.TAG_MANIFEST)
        covered = {name: file for name, file in self._files.items() if name not in unnamed}
        bag.compare("the statement", named, covered)
        return Outcome.PASS, f"{len(named)} files and the submitted media"

    def _verdict(self, stated: dsse.EvidenceStatement) -> Found:
        raw = bag.bounded(self._files, builder.VERDICT)
        document = read(VerdictDocument, raw, builder.VERDICT)
        if document.canonical(as_read=True) != raw:
            raise Failed(
                f"{builder.VERDICT}: not in canonical JSON (RFC 8785), or with members that this "
                "version of the software does not know"
            )
        same("media", stated.digests[dsse.MEDIA_SUBJECT], document.item.sha256)
        predicate = stated.predicate.model_dump()
        for name, value in builder.predicate_of(document).items():
            same(name, predicate[name], value)
        if len(document.pictures) > MAX_LISTED_PICTURES:
            raise Failed(f"{builder.VERDICT}: lists more than {MAX_LISTED_PICTURES} pictures")
        names = [(*p.crops, p.heatmap) for p in document.pictures]
        listed = {f"data/{name}" for of_one in names for name in of_one if name}
        cutouts = document.cutouts or ()
        listed |= {f"data/{place.file}" for place in cutouts if place.file}
        folders = tuple(f"data/{folder}" for folder in PICTURE_FOLDERS)
        present = {name for name in self._files if name.startswith(folders)}
        same("pictures", sorted(present), sorted(listed))
        marked = {(sign.time_s, sign.rect) for r in document.reviews for sign in r.signs}
        for place in cutouts:
            if (place.time_s, place.rect) not in marked or place.file not in (None, place.name):
                raise Failed(f"{place.file or place.name}: no reviewer marked this place")
        log = read(Custody, bag.bounded(self._files, builder.CUSTODY), builder.CUSTODY)
        custody.check_chain(log.entries)
        job, case, found = document.job, document.case, document.finding
        decided = custody.Stated(
            job.id, job.requester, case.id, case.minor, document.reviews, found
        )
        custody.compare(decided, log)
        self._document = document
        told = f", reviewed: {custody.told_finding(found, document.reviews)}" if found else ""
        return Outcome.PASS, f"{document.result.verdict}{told}"

    def _judging(self) -> Found:
        document, files = self._document, self._files
        raw = bag.bounded(files, builder.MODEL)
        same("model", document.method.model.sha256, bag.sha256(raw))
        spec = BundleSpec.model_validate_json(raw)
        self._method(document, spec)
        card = files[builder.MODEL_CARD_FILE]
        same("model card", spec.files["MODEL_CARD.md"], bag.sha256(card))
        rates = bag.bounded(files, builder.MODEL_RATES)
        same("error rates", spec.files["reliability.json"], bag.sha256(rates))
        record = unjudged(document.exact)
        # A verdict on media without a face, or that could not be decoded, rests on decoding alone.
        judged = judge_exact(record, spec)
        shown = judged or record
        people = [t.track for t in shown.tracks if t.log_likelihood_ratio is not None]
        reliability = read(Reliability, rates, builder.MODEL_RATES)
        same("error rates", error_rates(shown, people, spec, reliability), document.error_rates)
        result = document.result
        if judged is None:
            same("value without a face", None, result.log_likelihood_ratio)
            if result.verdict in _DECIDED or result.tracks:
                raise Failed("the verdict has a decision, but no faces")
            return Outcome.PASS, "no face was scored, and nothing was decided"
        expected, stated = _unworded(judged).to_json(), _unworded(result).to_json()
        for name in sorted({*expected, *stated}):
            same(name, stated.get(name), expected.get(name))
        detail = f"judging {len(record.faces)} faces again gives the same verdict"
        if result.to_json() != judged.to_json():
            detail += "; its reasons are worded differently from this version of the software"
        return Outcome.PASS, detail

    def _method(self, document: VerdictDocument, spec: BundleSpec) -> None:
        method = document.method
        expected = builder.method_of(spec, method.model.sha256, method.software)
        for name, value in expected:
            same(f"method.{name}", value, getattr(method, name))
        for picture in document.pictures:
            value = log_likelihood_ratio(picture.logit, spec.calibration.face)
            logit = document.exact.faces[picture.face].logit
            same(f"logit of {picture.crop}", logit, picture.logit)
            stated = picture.log_likelihood_ratio
            same(f"value of {picture.crop}", round(value, 9), round(stated, 9))

    def _reports(self, stated: dsse.EvidencePredicate) -> Found:
        if stated.report_certificate is None:
            return Outcome.SKIPPED, "they have no signature of their own: the statement covers them"
        certificates = bag.bounded(self._files, builder.CERTIFICATES)
        named, at = stated.report_certificate.sha256, datetime.fromisoformat(stated.created_at)
        roots, detail = self._trust.timestamp_roots, ""
        for language in LANGUAGES:
            report = self._files[builder.report_of(language)]
            signed = self._readers.check_report(report, certificates, at, roots)
            same("certificate", named, signed.certificate)
            self._trust.check_key(signed.key)
            detail = f", time-stamped at {signed.stamp.isoformat()}" if signed.stamp else ""
        count = len(LANGUAGES)
        return Outcome.PASS, (
            f"{count} reports signed as a whole with the certificate {named}{detail}"
        )

    def _time_stamp(self) -> Found:
        kind, token = self._stated.predicate.timestamp, self._files.get(builder.STAMP)
        if kind != "rfc3161":
            if token is not None or builder.STAMP_SIGNATURE in self._files:
                raise Failed(f"{builder.STAMP}: present, but the statement mentions none")
            why = "the authority failed" if kind == "failed" else "none was requested"
            return Outcome.SKIPPED, f"no time stamp: {why}"
        if token is None:
            raise Failed(f"{builder.STAMP}: missing, but the statement mentions it")
        assert self._signer is not None
        try:
            self._signer.verify(self._files[builder.STAMP_SIGNATURE], builder.stamp_message(token))
        except (KeyError, InvalidSignature) as error:
            raise Failed(
                f"{builder.STAMP}: altered, or not signed with the statement's key"
            ) from error
        roots = list(self._trust.timestamp_roots)
        at = self._readers.stamp_time(token, self._files[builder.STATEMENT], roots).isoformat()
        if roots:
            return Outcome.PASS, f"{at}, by a trusted authority"
        return Outcome.PASS, f"{at}; intact, but its issuer was not checked (--timestamp-root)"

    def _rescoring(self) -> Found:
        if self._scorer is None:
            return Outcome.SKIPPED, "not requested (--rescore)"
        document = self._document
        if not document.pictures:
            return Outcome.SKIPPED, "the bundle has no crops"
        same("model", document.method.model.sha256, self._scorer.bundle.sha256)
        largest = rescore(document, self._files, self._scorer, self._readers.picture)
        count = len(document.pictures)
        return Outcome.PASS, f"{count} crops, largest difference of a logit {largest:.1e}"

    def _original_again(self) -> Found:
        if self._original is None or self._scorer is None:
            return Outcome.SKIPPED, "not requested (--media FILE)"
        document = self._document
        digest = hashlib.file_digest(self._original, "sha256").hexdigest()  # type: ignore[arg-type]
        same("SHA-256 of the file", document.item.sha256, digest)
        same("model", document.method.model.sha256, self._scorer.bundle.sha256)
        self._original.seek(0)
        job = document.job
        verdict = self._scorer.score(self._original, frames=job.frames, within=job.within_s)
        same("verdict", document.result.verdict, verdict.verdict)
        recorded, ratio = document.result.log_likelihood_ratio, verdict.log_likelihood_ratio
        tolerance = ratio_tolerance(self._scorer.bundle.spec)
        unequal = recorded is None or ratio is None or abs(recorded - ratio) > tolerance
        if recorded != ratio and unequal:
            raise Failed(f"log10 likelihood ratio {ratio}, recorded {recorded}")
        detail = f"{verdict.verdict}, log10 likelihood ratio {ratio}"
        if any(place.file for place in document.cutouts or ()):
            self._original.seek(0)
            with self._scorer.decoder.open(self._original) as media:
                count = compare_places(document, self._files, media, self._readers.picture)
            detail += f"; marked places that it shows as in the bundle: {count}"
        return Outcome.PASS, detail

    def _revocation(self) -> Found:
        listed = self._trust.revocations
        assert listed is not None
        assert self._signer is not None
        if dsse.key_id(self._signer) not in listed.revoked_at:
            return Outcome.SKIPPED, "another issuer signed it: ask for that issuer's list"
        is_superseded, detail = listed.describe(self._done.sha256)
        return Outcome.SUPERSEDED if is_superseded else Outcome.PASS, detail


def _not_listed(what: str) -> Found:
    return Outcome.SKIPPED, f"{what} are not on such lists, which name editions and keys"


def _unworded(verdict: Verdict) -> Verdict:
    """Return a verdict with the details of its reasons reduced to their numbers.

    What was counted and measured must follow from the faces. How a reason is worded may differ
    between the version that wrote the evidence and this one.
    """

    def numbers(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
        return tuple(Reason(r.code, " ".join(_NUMBER.findall(r.detail))) for r in reasons)

    tracks = tuple(replace(track, reasons=numbers(track.reasons)) for track in verdict.tracks)
    return replace(verdict, reasons=numbers(verdict.reasons), tracks=tracks)
