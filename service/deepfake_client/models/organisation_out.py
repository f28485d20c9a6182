from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

T = TypeVar("T", bound="OrganisationOut")


@_attrs_define
class OrganisationOut:
    """The organisation, as reports, notices and their forms show it. Unknown fields are null."""

    name_ko: None | str
    """ Name in Korean. """
    name_en: None | str
    """ Name in English. """
    address: None | str
    """ Postal address. """
    phone: None | str
    """ Telephone number. """
    email: None | str
    """ E-mail address. """
    contact: None | str
    """ Person or department that answers. """

    def to_dict(self) -> dict[str, Any]:
        name_ko: None | str
        name_ko = self.name_ko

        name_en: None | str
        name_en = self.name_en

        address: None | str
        address = self.address

        phone: None | str
        phone = self.phone

        email: None | str
        email = self.email

        contact: None | str
        contact = self.contact

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "name_ko": name_ko,
                "name_en": name_en,
                "address": address,
                "phone": phone,
                "email": email,
                "contact": contact,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_name_ko(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        name_ko = _parse_name_ko(d.pop("name_ko"))

        def _parse_name_en(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        name_en = _parse_name_en(d.pop("name_en"))

        def _parse_address(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        address = _parse_address(d.pop("address"))

        def _parse_phone(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        phone = _parse_phone(d.pop("phone"))

        def _parse_email(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        email = _parse_email(d.pop("email"))

        def _parse_contact(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        contact = _parse_contact(d.pop("contact"))

        organisation_out = cls(
            name_ko=name_ko,
            name_en=name_en,
            address=address,
            phone=phone,
            email=email,
            contact=contact,
        )

        return organisation_out
