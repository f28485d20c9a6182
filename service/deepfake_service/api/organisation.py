"""``/v1/organisation``: who issues reports and sends notices, and how they are reached."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import Field

from deepfake_service.casework.contacts import OrganisationRecord
from deepfake_service.http.auth import Administrator, Reader
from deepfake_service.http.dependencies import ServicesDep
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import Published

router = api_router("notices")


class OrganisationOut(Published):
    """The organisation, as reports, notices and their forms show it. Unknown fields are null."""

    name_ko: str | None = Field(description="Name in Korean.")
    name_en: str | None = Field(description="Name in English.")
    address: str | None = Field(description="Postal address.")
    phone: str | None = Field(description="Telephone number.")
    email: str | None = Field(description="E-mail address.")
    contact: str | None = Field(description="Person or department that answers.")


@router.get("/organisation", summary="Read the organisation")
def get_organisation(_: Reader, services: ServicesDep) -> OrganisationOut:
    """Return the organisation that issues reports and sends notices."""
    return OrganisationOut.model_validate(asdict(services.contacts.organisation()))


@router.put("/organisation", summary="Change the organisation")
def put_organisation(
    organisation: OrganisationRecord, caller: Administrator, services: ServicesDep
) -> OrganisationOut:
    """Replace the organisation; fields that are left out become null. Evidence and notices that
    were made keep what they have. The audit log names the fields that were changed."""
    services.contacts.change_organisation(caller, organisation)
    return OrganisationOut.model_validate(asdict(services.contacts.organisation()))
