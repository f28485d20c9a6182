"""Time stamps by an authority (RFC 3161): that a statement existed, by somebody else's clock."""

from __future__ import annotations

import hashlib
from datetime import datetime

import httpx
from asn1crypto import cms
from cryptography import x509
from pyhanko.sign.general import extract_signer_info
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.generic_cms import (
    extract_certs_for_validation,
    validate_sig_integrity,
)
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from deepfake_models.errors import DeepfakeError

MAX_REPLY_BYTES = 256 * 1024
TIMEOUT_S = 10.0
_REPLY = "application/timestamp-reply"
_QUERY = "application/timestamp-query"


class TimestampFailed(DeepfakeError):
    """The time-stamp authority did not give a usable time stamp."""


class InvalidTimestamp(DeepfakeError):
    """The time stamp is not one of what it lies beside."""


def request(url: str, data: bytes) -> bytes:
    """A token over ``data`` from the authority at ``url``: its reply, as it is kept.

    Raises:
        TimestampFailed: it cannot be reached, refuses, or gives something else.
    """
    query = (
        TimestampRequestBuilder()
        .data(data)
        .hash_algorithm(HashAlgorithm.SHA256)
        .nonce(nonce=True)
        .cert_request(cert_request=True)
        .build()
    )
    try:
        answer = httpx.post(
            url, content=query.as_bytes(), headers={"Content-Type": _QUERY}, timeout=TIMEOUT_S
        )
    except httpx.HTTPError as error:
        raise TimestampFailed("the time-stamp authority does not answer") from error
    if answer.status_code != 200 or len(answer.content) > MAX_REPLY_BYTES:
        raise TimestampFailed("the time-stamp authority refused")
    reply = answer.content
    try:
        token = decode_timestamp_response(reply)
    except ValueError as error:
        # Of an authority that does not sort its certificates as DER wants, too.
        raise TimestampFailed("the time-stamp authority's reply cannot be read") from error
    if token.tst_info.nonce != query.nonce:
        raise TimestampFailed("the time-stamp authority answered another request")
    try:
        verify(reply, data, [])
    except InvalidTimestamp as error:
        raise TimestampFailed("the time-stamp authority's token does not hold") from error
    return reply


def verify(reply: bytes, data: bytes, roots: list[x509.Certificate]) -> datetime:
    """The time that a kept reply states for ``data``.

    Without ``roots``, it is seen to be signed by the certificate that it brings along, which says
    that it is intact, not by whom it is.

    Raises:
        InvalidTimestamp: it does not hold.
    """
    try:
        token = decode_timestamp_response(reply)
        if token.as_bytes() != reply:
            raise InvalidTimestamp("the time stamp is not in canonical form")
        if roots:
            builder = VerifierBuilder()
            for root in roots:
                builder = builder.add_root_certificate(root)
            builder.build().verify_message(token, data)
        else:
            _see_intact(token, data)
    except (ValueError, KeyError, VerificationError, SignatureValidationError) as error:
        raise InvalidTimestamp from error
    return token.tst_info.gen_time


def _see_intact(token: TimeStampResponse, data: bytes) -> None:
    imprint = token.tst_info.message_imprint
    if PKIStatus(token.status) is not PKIStatus.GRANTED:
        raise InvalidTimestamp("the authority did not grant it")
    if imprint.message != hashlib.sha256(data).digest():
        raise InvalidTimestamp("it is one of something else")
    signed = cms.ContentInfo.load(token.time_stamp_token(), strict=True)["content"]
    content = bytes(signed["encap_content_info"]["content"])
    signer = extract_signer_info(signed)
    digest = hashlib.new(signer["digest_algorithm"]["algorithm"].native, content).digest()
    intact, valid = validate_sig_integrity(
        signer, extract_certs_for_validation(signed).signer_cert, "tst_info", digest
    )
    if not (intact and valid):
        raise InvalidTimestamp("it was altered")
