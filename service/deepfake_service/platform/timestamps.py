"""Time stamps of a time-stamp authority (RFC 3161): proof that a statement existed at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime

from asn1crypto import cms
from cryptography import x509
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
from deepfake_service.platform.outbound import AnswerLimits, UnusableAnswer, fetch_bounded

MAX_REPLY_BYTES = 256 * 1024
"""A time stamp has a few kB with the certificates of its authority. It is stored in each bundle."""
TIMEOUT_S = 10.0
"""Longest pause in an answer."""
DEADLINE_S = 20.0
"""Longest duration of a whole answer."""
_QUERY = "application/timestamp-query"
"""Media type of a request over HTTP (RFC 3161, 3.4)."""

PostQuery = Callable[[bytes], bytes]
"""Sends a ``TimeStampReq`` and returns the reply, or raises ``TimestampFailed``."""


class TimestampFailed(DeepfakeError):
    """There is no time stamp, or none that covers this statement."""


def request(post: PostQuery, data: bytes) -> bytes:
    """Request a time stamp over ``data`` from an authority; return its reply.

    The reply is a DER-encoded ``TimeStampResp`` (RFC 3161, 2.4.2) whose token has been checked
    against ``data`` and the request's nonce. ``TimestampFailed`` if the authority cannot be
    reached, refuses, or does not give such a reply.
    """
    query = (
        TimestampRequestBuilder()
        .data(data)
        .hash_algorithm(HashAlgorithm.SHA256)
        .nonce(nonce=True)
        .cert_request(cert_request=True)
        .build()
    )
    reply = post(query.as_bytes())
    try:
        token = decode_timestamp_response(reply)
    except ValueError as error:
        # Also the reply of an authority that does not sort its certificates as DER requires.
        raise TimestampFailed("the time-stamp authority's reply cannot be read") from error
    if token.tst_info.nonce != query.nonce:
        raise TimestampFailed("the time-stamp authority's reply has the wrong nonce")
    verify(reply, data, [])
    return reply


def poster(url: str) -> PostQuery:
    """Return what sends a ``TimeStampReq`` (RFC 3161, 2.4.1) to the authority at ``url``.
    ``TimestampFailed`` if the authority cannot be reached, refuses, or its reply is compressed, too
    large, or takes longer than ``DEADLINE_S``."""
    limits = AnswerLimits(MAX_REPLY_BYTES, TIMEOUT_S, DEADLINE_S)

    def post(query: bytes) -> bytes:
        try:
            return fetch_bounded(url, limits, post=query, media_type=_QUERY)
        except UnusableAnswer as error:
            raise TimestampFailed(f"the time-stamp authority {error.message}") from error

    return post


def verify(reply: bytes, data: bytes, roots: list[x509.Certificate]) -> datetime:
    """Return the time at which the authority's reply attests that ``data`` existed.

    With ``roots``, the token must be signed by a time-stamp authority below one of them. Without,
    it must be signed by the certificate that it contains, which shows that it is intact but not who
    issued it. ``TimestampFailed`` if the time stamp is not valid for ``data``.
    """
    try:
        token = decode_timestamp_response(reply)
        if token.as_bytes() != reply:
            raise TimestampFailed("the time stamp is not in canonical form")
        if roots:
            builder = VerifierBuilder()
            for root in roots:
                builder = builder.add_root_certificate(root)
            builder.build().verify_message(token, data)
        else:
            _check_intact(token, data)
    except (ValueError, KeyError, VerificationError) as error:
        raise TimestampFailed from error
    return token.tst_info.gen_time


def _check_intact(token: TimeStampResponse, data: bytes) -> None:
    """Check a token's message imprint (RFC 3161, 2.4.2) and signature (RFC 5652, 5.4 and 5.6)."""
    imprint = token.tst_info.message_imprint
    if PKIStatus(token.status) is not PKIStatus.GRANTED:
        raise TimestampFailed("the authority did not grant the time stamp")
    if imprint.message != hashlib.sha256(data).digest():
        raise TimestampFailed("the time stamp covers something else")
    # Imported here, because it would take a tenth of a service's start.
    from pyhanko.sign.general import extract_signer_info
    from pyhanko.sign.validation.errors import SignatureValidationError
    from pyhanko.sign.validation.generic_cms import (
        extract_certs_for_validation,
        validate_sig_integrity,
    )

    signed = cms.ContentInfo.load(token.time_stamp_token(), strict=True)["content"]
    content = bytes(signed["encap_content_info"]["content"])
    try:
        signer = extract_signer_info(signed)
        digest = hashlib.new(signer["digest_algorithm"]["algorithm"].native, content).digest()
        intact, valid = validate_sig_integrity(
            signer, extract_certs_for_validation(signed).signer_cert, "tst_info", digest
        )
    except SignatureValidationError as error:
        raise TimestampFailed from error
    if not (intact and valid):
        raise TimestampFailed("the time stamp was altered")
