"""Evidence of jobs, its verification, and the keys that sign it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from deepfake_models.errors import SandboxBusy
from deepfake_service.evidence.bundle.builder import TIMELINE
from deepfake_service.evidence.bundle.steps import VerificationResult
from deepfake_service.evidence.bundle.trust_store import Trust, certificates, pinned_keys
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.evidence.bundle.zip_format import MAX_BYTES
from deepfake_service.evidence.editions import IssuedEdition
from deepfake_service.evidence.report.report import ORIGINAL, ReportCopy
from deepfake_service.evidence.signing_keys import PublicKeys
from deepfake_service.http.admission import HEAVY
from deepfake_service.http.answers import (
    BINARY,
    DOCUMENT,
    OCTETS,
    file_answer,
    file_route,
    pdf_answer,
)
from deepfake_service.http.auth import Call, Reader, Verifier
from deepfake_service.http.dependencies import ContextDep
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import JobId, Language
from deepfake_service.http.uploads import receive_body, streams_body
from deepfake_service.platform.answers import Published
from deepfake_service.platform.errors import MalformedRequest, Overloaded, UnsupportedContentType

router = api_router("evidence", prefix="")

Edition = Annotated[
    int | None, Query(ge=1, description="Number of the edition; the newest if unset.", examples=[1])
]
Number = Annotated[
    int, Path(ge=1, le=999, description="Number of the face in the evidence, from 1.", examples=[1])
]
MIRRORED = "Return the model's input: its margin is mirrored, so it can show eyes twice."
ModelInput = Annotated[bool, Query(description=MIRRORED)]


class _Report(BaseModel):
    """Which report is asked for."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    lang: Language = "ko"
    """Language of the report."""
    edition: Edition = None
    faces: bool = True
    """Whether it shows pictures of faces."""
    signature_line: bool = False
    """Whether it has a line for name, date and signature of the person who hands it in, on paper.
    """

    @property
    def asked(self) -> ReportCopy:
        """The copy that is asked for."""
        return ReportCopy(self.faces, self.signature_line)


ReportQuery = Annotated[_Report, Query()]


async def _report_reader(call: Reader, query: ReportQuery) -> AsyncIterator[Call]:
    """Return the call; making a copy counts against the account's budget."""
    cost = 0 if query.asked == ORIGINAL else HEAVY
    with call.state.budget.enter(call.caller.account_id, cost):
        yield call


class EditionsOut(Published):
    """The editions of a job's evidence, newest first."""

    editions: list[IssuedEdition] = Field(description="The editions.")


@file_route(router, "/v1/jobs/{job_id}/evidence", "Get the evidence bundle", "application/zip")
def get_evidence(job_id: JobId, call: Reader, edition: Edition = None) -> Response:
    """Return a signed bundle (BagIt in a ZIP) with the result, the method, its error rates, and
    everything that is needed to verify it offline. Audited."""
    number, bundle = call.services.evidence_store.read(call.caller, job_id, edition)
    return file_answer(bundle, "application/zip", f"evidence-{job_id}-{number}.zip")


@router.get("/v1/jobs/{job_id}/evidence/editions", summary="List editions")
def list_editions(job_id: JobId, call: Reader) -> EditionsOut:
    """List the editions of a job's evidence. An edition never changes; each review adds one."""
    editions = call.services.evidence_store.editions(call.caller, job_id)
    return EditionsOut(editions=editions)


@file_route(router, "/v1/jobs/{job_id}/report.pdf", "Get the report", "application/pdf")
def get_report(
    job_id: JobId, call: Annotated[Call, Depends(_report_reader)], query: ReportQuery
) -> Response:
    """Return the report of an edition: a PDF/A, in Korean or English, signed if the operator has a
    certificate. Audited. With `faces=false` or `signature_line=true`, it is a copy that is made
    when it is requested."""
    store = call.services.evidence_store
    content = store.report(call.caller, job_id, query.lang, query.asked, query.edition)
    return pdf_answer(content, f"report-{job_id}-{query.lang}.pdf")


@file_route(router, "/v1/jobs/{job_id}/timeline.svg", "Get the timeline", "image/svg+xml")
def get_timeline(job_id: JobId, call: Reader) -> Response:
    """Draw when each person is visible, the suspect moments, and what was not examined."""
    content = call.services.evidence_store.member(call.caller, job_id, TIMELINE)
    return Response(content, media_type="image/svg+xml", headers=DOCUMENT)


@file_route(router, "/v1/jobs/{job_id}/faces/{number}.png", "Get a face", "image/png")
def get_face(
    job_id: JobId, number: Number, call: Reader, model_input: ModelInput = False
) -> Response:
    """Return a face of the evidence, cut out and resampled to the size of the model's input. What
    lies outside the picture is grey. Audited."""
    kind = "crops" if model_input else "faces"
    content = call.services.evidence_store.picture(call.caller, job_id, kind, number)
    return Response(content, media_type="image/png")


@file_route(router, "/v1/jobs/{job_id}/heatmaps/{number}.png", "Get a heat map", "image/png")
def get_heatmap(job_id: JobId, number: Number, call: Reader) -> Response:
    """Return a transparent overlay of the face's size that marks the regions that raised its score.
    There is none of a model without a map. Audited."""
    content = call.services.evidence_store.picture(call.caller, job_id, "heatmaps", number)
    return Response(content, media_type="image/png")


_BUNDLE = {
    **BINARY,
    "contentMediaType": "application/zip",
    "description": "The ZIP of a bundle, or the JSON file of looks at a post, of any content type "
    "but multipart.",
}


@router.post(
    "/v1/verify",
    summary="Verify a bundle",
    openapi_extra={"requestBody": {"required": True, "content": {OCTETS: {"schema": _BUNDLE}}}},
)
@streams_body
async def verify_evidence(call: Verifier) -> VerificationResult:
    """Run the steps of `deepfake verify` on a bundle, or on looks at a post, which is not stored.
    Trusted are the keys of this service, retired ones included, and the pinned keys of others; the
    list of revocations is this service's own, as it is now. The body is the file itself."""
    # Taken for the ZIP, a form or a compressed body would make genuine evidence look altered.
    if call.request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise UnsupportedContentType(
            "Send the ZIP itself as the body, as curl --data-binary @evidence.zip does, not a form."
        )
    content = io.BytesIO()  # in memory: a bundle has pictures of faces
    with call.state.memory.share() as take:
        # No more than may be held at a time: the client would be told to try again for ever.
        limit = min(MAX_BYTES, call.state.settings.max_request_bytes)
        async for chunk in receive_body(call.request, limit):
            take(len(chunk))
            content.write(chunk)
        if not content.tell():
            raise MalformedRequest("The body is empty. Send the ZIP itself as the body.")
        return await anyio.to_thread.run_sync(_verify, content.getvalue(), call)


def _verify(content: bytes, call: Call) -> VerificationResult:
    services, settings = call.services, call.state.settings
    keys = (*services.evidence_store.keys.published(), *pinned_keys(settings.pinned_keys))
    listed = services.revocation_list.current(hashlib.sha256(content).hexdigest())
    trust = Trust(keys, certificates(settings.timestamp_roots), listed)
    try:
        verification = verify(content, trust, readers=call.state.require_engine().bundle_readers)
    except SandboxBusy as error:
        raise Overloaded from error
    return verification.published()


@router.get(
    "/.well-known/jwks.json",
    summary="Get the public keys that sign evidence",
)
def get_public_keys(context: ContextDep) -> PublicKeys:
    """Return every key that signs or has signed evidence of this service, as a JWK Set (RFC 7517).
    To verify evidence, obtain the keys from a source other than the evidence itself."""
    keys = context.services.evidence_store.keys
    keys.current()
    return keys.jwks()


class SignatureOut(Published):
    """A signature of a DSSE envelope."""

    keyid: str = Field(description="Id of the key that signed, as `kid` in the JWK Set.")
    sig: str = Field(description="The signature in base64.")


class SignedListOut(Published):
    """A DSSE envelope (github.com/secure-systems-lab/dsse)."""

    payload: str = Field(description="The list as canonical JSON (RFC 8785), in base64.")
    payloadType: str = Field(description="Its media type.")  # noqa: N815
    signatures: list[SignatureOut] = Field(description="The signatures of payload and type.")


@router.get(
    "/v1/revocations",
    summary="Get the editions and keys that must not be relied on",
    response_class=Response,
    responses={200: {"model": SignedListOut}},
)
def get_revocations(context: ContextDep) -> Response:
    """Return a signed list (DSSE) of the digests of replaced and withdrawn editions of evidence and
    of revoked keys, for `deepfake verify --revocations`. It needs no key and names no case."""
    return Response(context.services.revocation_list.signed(), media_type="application/json")
