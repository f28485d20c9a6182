"""The package of a notice, which its page offers for download."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from deepfake_service.casework.notice_package import package_of
from deepfake_service.http.auth import PackageReader, check_still_authenticated
from deepfake_service.http.dependencies import ServicesDep
from deepfake_service.web.notices import Id
from deepfake_service.web.pages import HEADERS, PageRoute

router = APIRouter(include_in_schema=False, route_class=PageRoute)

PIECE_BYTES = 256 * 1024


@router.get("/notices/{notice_id}/package.zip")
def get_package(
    request: Request, notice_id: Id, caller: PackageReader, services: ServicesDep
) -> Response:
    """Return what is sent with a notice as a ZIP, which is made while it is sent."""
    package = package_of(
        services.notice_desk, services.cases, services.evidence_store, caller, notice_id
    )
    return StreamingResponse(
        _sent(request, package),
        media_type="application/zip",
        headers={
            **HEADERS,
            "Content-Disposition": f'attachment; filename="notice-{notice_id}.zip"',
        },
    )


def _sent(request: Request, package: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a package as long as its reader is signed in. Otherwise the answer is cut off, so that
    no client takes it for whole."""
    for piece in package:
        check_still_authenticated(request)
        for start in range(0, len(piece), PIECE_BYTES):
            yield piece[start : start + PIECE_BYTES]
