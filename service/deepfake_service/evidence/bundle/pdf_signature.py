"""Signatures of reports, made with pyHanko: PAdES baseline signatures (ETSI EN 319 142-1).

The level is B-B, or B-T where a time-stamp authority is configured: the signature then contains a
time stamp (RFC 3161) over itself, which shows that it was made before the certificate expired.

The import of pyHanko takes a tenth of a service's start, so this module is imported within
functions.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from asn1crypto import keys as asn1_keys
from asn1crypto import tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import signers
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.general import SigningError
from pyhanko.sign.timestamps import TimeStamper
from pyhanko.sign.validation import EmbeddedPdfSignature, validate_pdf_signature
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.generic_cms import extract_tst_data_iter
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

from deepfake_service.evidence.bundle.documents import Failed
from deepfake_service.evidence.bundle.dsse import Signers
from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.timestamps import PostQuery, TimestampFailed

FIELD = "Report"
RESERVED_BYTES = 32 * 1024
"""Hexadecimal digits that are reserved for a signature: 16 KiB. Authorities' tokens with their
certificates have up to 8 KiB, and a chain of certificates a few."""

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""Errors of the ASN.1 library on malformed content, and of pyHanko on refusals (``OSError``)."""


class _Stamper(TimeStamper):
    def __init__(self, post: PostQuery) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._post = post

    async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
        reply = await asyncio.to_thread(self._post, req.dump())
        return tsp.TimeStampResp.load(reply)


def sign(pdf: bytes, keys: Signers, reason: str, *, field: str = FIELD) -> bytes:
    """Return the PDF with a signature over the whole file, as an incremental update, in a new form
    field named ``field``; as it is, if the operator has no certificate.

    With a time-stamp authority, the signature contains a time stamp (level B-T). If the authority
    fails, it does not (level B-B).
    """
    if keys.report_key is None:
        return pdf
    if keys.authority is not None:
        with contextlib.suppress(TimestampFailed, Failed, SigningError, *_UNREADABLE):
            signed = _signed(pdf, keys, reason, _Stamper(keys.authority), field)
            # pyHanko does not check the signature of the token.
            verify(signed, list(keys.report_certificates), utc_now())
            return signed
    return _signed(pdf, keys, reason, None, field)


def _signed(
    pdf: bytes, keys: Signers, reason: str, stamper: TimeStamper | None, field: str
) -> bytes:
    chain = [_asn1(c) for c in keys.report_certificates]
    store = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    store.register_multiple(chain[1:])
    assert keys.report_key is not None
    der = keys.report_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    signer = signers.SimpleSigner(
        signing_cert=chain[0], signing_key=asn1_keys.PrivateKeyInfo.load(der), cert_registry=store
    )
    # The sub-filter ETSI.CAdES.detached makes it a PAdES signature.
    metadata = signers.PdfSignatureMetadata(
        field_name=field, md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES, reason=reason
    )
    out = signers.PdfSigner(metadata, signer=signer, timestamper=stamper).sign_pdf(
        IncrementalPdfFileWriter(io.BytesIO(pdf)),
        # Without a number, pyHanko would sign once more to measure, with another time stamp.
        bytes_reserved=RESERVED_BYTES,
    )
    signed: bytes = out.getvalue()
    return signed


def verify(
    pdf: bytes,
    certificates: list[x509.Certificate],
    at: datetime,
    timestamp_roots: Sequence[x509.Certificate] = (),
) -> datetime | None:
    """Check that the first of ``certificates`` signed the whole PDF, and was valid at ``at``.

    A time stamp in the signature must cover it and be intact and, with ``timestamp_roots``, be
    issued by an authority below one of them. Return its time, if there is one. ``Failed`` says
    what is wrong.
    """
    try:
        signatures = PdfFileReader(io.BytesIO(pdf)).embedded_signatures
        if len(signatures) != 1:
            raise Failed(f"the report has {len(signatures)} signatures instead of one")
        if signatures[0].signer_cert.dump() != certificates[0].public_bytes(Encoding.DER):
            raise Failed("the report is signed by another certificate")
        context = ValidationContext(
            trust_roots=[_asn1(c) for c in certificates], allow_fetching=False, moment=at,
            best_signature_time=at,
        )  # fmt: skip
        status = validate_pdf_signature(
            signatures[0],
            signer_validation_context=context,
            ts_validation_context=_stamp_context(signatures[0], timestamp_roots, at),
        )
    except (PdfError, SigningError, SignatureValidationError, *_UNREADABLE) as error:
        raise Failed("the report is not an intact signed PDF") from error
    stamp = status.timestamp_validity
    if not replace(status, timestamp_validity=None).bottom_line:
        raise Failed("the report was altered, or its certificate is not valid")
    if status.coverage is None or status.coverage.name != "ENTIRE_FILE":
        raise Failed("the signature does not cover the whole report")
    if stamp is None:
        return None
    if not (stamp.intact and stamp.valid and stamp.trusted):
        raise Failed("the time stamp of the report's signature is not valid")
    return stamp.timestamp


def _stamp_context(
    signature: EmbeddedPdfSignature, roots: Sequence[x509.Certificate], at: datetime
) -> ValidationContext:
    """Return what the time stamp of a signature is validated by, at the time that it states.
    Without ``roots``, the certificates in it are trusted, which shows only that it is intact."""
    token = next(extract_tst_data_iter(signature.signer_info, signed=False), None)
    trusted = [_asn1(c) for c in roots]
    if token is not None:
        at = token["encap_content_info"]["content"].parsed["gen_time"].native
        trusted = trusted or [c.chosen for c in token["certificates"]]
    return ValidationContext(trust_roots=trusted, allow_fetching=False, moment=at)


def _asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
