"""What people look at in kept media: frames, contact sheets, changes over time."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from deepfake_service.http.answers import file_route
from deepfake_service.http.auth import DocumentReader
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import CaseId, JobId, MediaId
from deepfake_service.review.media_viewer import Changes, FaceSheet
from deepfake_service.review.views import View

router = api_router("media", prefix="")

_SECONDS = Query(ge=0, le=86_400, description="Seconds from the first frame.", examples=[3.21])
Moment = Annotated[float, _SECONDS]
Person = Annotated[
    int, Query(ge=1, le=9999, description="Number of the person, as in the evidence.", examples=[1])
]
Around = Annotated[float | None, _SECONDS]
Shown = Annotated[
    View | None, Query(description="A view; the frame itself if unset.", examples=["noise"])
]


@file_route(router, "/v1/jobs/{job_id}/frame.png", "Get a frame", "image/png")
def get_frame(
    job_id: JobId, call: DocumentReader, at: Moment = 0.0, view: Shown = None
) -> Response:
    """Return the frame that is shown at a moment at its own pixels, or a view of it, as long as the
    file is kept. Views amplify what is hard to see; none of them measures anything. Audited as
    playing the file is."""
    content = call.services.media_viewer.frame(call.caller, job_id, at, view)
    return Response(content, media_type="image/png")


@file_route(
    router, "/v1/cases/{case_id}/media/{media_id}/frame.png", "Get a frame of a medium", "image/png"
)
def get_frame_of_medium(
    case_id: CaseId, media_id: MediaId, call: DocumentReader, at: Moment = 0.0
) -> Response:
    """Return the frame of a kept medium of a case that is shown at a moment, also of one that was
    not examined, such as a picture to compare items with. Audited as playing it is."""
    content = call.services.media_viewer.frame_of_medium(call.caller, case_id, media_id, at)
    return Response(content, media_type="image/png")


@router.get("/v1/jobs/{job_id}/sheet", summary="Get a contact sheet")
def get_sheet(job_id: JobId, call: DocumentReader, around: Around = None) -> FaceSheet:
    """Return all examined faces in order of time, those without a value too; with `around`, the
    faces of every frame around that moment. Audited as playing the file is."""
    return call.services.media_viewer.sheet(call.caller, job_id, around)


@router.get("/v1/jobs/{job_id}/changes", summary="Get changes over time")
def get_changes(job_id: JobId, call: DocumentReader, from_s: Moment = 0.0) -> Changes:
    """Return how much faces change from frame to frame once motion is taken out, part by part. It
    says where to look and nothing else. Audited as playing the file is."""
    return call.services.media_viewer.changes(call.caller, job_id, from_s)


@file_route(router, "/v1/jobs/{job_id}/motion.webp", "Get a face in motion", "image/webp")
def get_motion(
    job_id: JobId, call: DocumentReader, person: Person = 1, from_s: Moment = 0.0
) -> Response:
    """Return a person's face for four seconds from a moment on, beside itself with its small
    motions magnified, as an animated WebP. Authentic faces are distorted as well. Audited as
    playing the file is."""
    content = call.services.media_viewer.motion(call.caller, job_id, person, from_s)
    return Response(content, media_type="image/webp")
