"""Signatures of reports: PAdES baseline level B-B (ETSI EN 319 142-1), made with pyHanko."""

from __future__ import annotations

import io
from datetime import datetime

from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import signers
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.general import SigningError
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

from deepfake_models.errors import DeepfakeError
from deepfake_service.evidence.signers import Signers

FIELD = "Report"


class InvalidReport(DeepfakeError):
    """The report's signature is not valid."""


def sign(pdf: bytes, keys: Signers, reason: str) -> bytes:
    """Return the PDF with a signature over the whole file, as an incremental update."""
    chain = [_asn1(c) for c in keys.report_certificates]
    store = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    store.register_multiple(chain[1:])
    der = keys.report_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    signer = signers.SimpleSigner(
        signing_cert=chain[0],
        signing_key=asn1_keys.PrivateKeyInfo.load(der),
        cert_registry=store,
    )
    # The sub-filter ETSI.CAdES.detached makes it a PAdES signature.
    metadata = signers.PdfSignatureMetadata(
        field_name=FIELD, md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES, reason=reason
    )
    out = signers.PdfSigner(metadata, signer=signer).sign_pdf(
        IncrementalPdfFileWriter(io.BytesIO(pdf))
    )
    signed: bytes = out.getvalue()
    return signed


def verify(pdf: bytes, certificates: list[x509.Certificate], at: datetime) -> None:
    """Check that the first of ``certificates`` signed the whole PDF, and was valid at ``at``.

    Raises:
        InvalidReport: the message says what is wrong.
    """
    try:
        signatures = PdfFileReader(io.BytesIO(pdf)).embedded_signatures
        if len(signatures) != 1:
            raise InvalidReport(f"the report has {len(signatures)} signatures instead of one")
        if signatures[0].signer_cert.dump() != certificates[0].public_bytes(Encoding.DER):
            raise InvalidReport("the report is signed by another certificate")
        context = ValidationContext(
            trust_roots=[_asn1(c) for c in certificates], allow_fetching=False, moment=at,
            best_signature_time=at,
        )  # fmt: skip
        status = validate_pdf_signature(signatures[0], signer_validation_context=context)
    except (PdfError, SigningError, SignatureValidationError, ValueError, KeyError) as error:
        raise InvalidReport("the report is not an intact signed PDF") from error
    if not status.bottom_line:
        raise InvalidReport("the report was altered, or its certificate is not valid")
    if status.coverage is None or status.coverage.name != "ENTIRE_FILE":
        raise InvalidReport("the signature does not cover the whole report")


def _asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
