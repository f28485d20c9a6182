"""``/v1/organisation``: who issues reports and sends notices, and how they are reached."""

from __future__ import annotations

from deepfake_service.accounts.organisation import Organisation
from deepfake_service.http.auth import Administrator, Reader
from deepfake_service.http.dependencies import ServicesDep
from deepfake_service.http.routing import api_router

router = api_router("notices")


@router.get("/organisation", summary="Read the organisation")
def get_organisation(_: Reader, services: ServicesDep) -> Organisation:
    """Return the organisation that issues reports and sends notices."""
    return services.sender.organisation()


@router.put("/organisation", summary="Change the organisation")
def put_organisation(
    organisation: Organisation, caller: Administrator, services: ServicesDep
) -> Organisation:
    """Replace the organisation; fields that are left out become null. Evidence and notices that
    were made keep what they have. The audit log names the fields that were changed."""
    services.sender.change_organisation(caller, organisation)
    return services.sender.organisation()
