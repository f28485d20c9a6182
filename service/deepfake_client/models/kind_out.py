from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.kind_out_kind import KindOutKind

if TYPE_CHECKING:
    from ..models.kind_out_fields import KindOutFields


T = TypeVar("T", bound="KindOut")


@_attrs_define
class KindOut:
    """A kind of notice."""

    kind: KindOutKind
    """ The kind. """
    provision: str
    """ The legal provision that it rests on. """
    clock_hours: float | None
    """ Hours from sending to the expected action. """
    clock_basis: str
    """ Where the deadline comes from. """
    needs_url: bool
    """ Whether each occurrence needs a URL. """
    needs_screenshot: bool
    """ Whether each occurrence needs a screenshot. """
    waived_for_minors: list[str]
    """ Fields that may be left out if a person shown may be a minor. """
    fields: KindOutFields
    """ JSON Schema; each field names the `provision` that it comes from. """

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind.value

        provision = self.provision

        clock_hours: float | None
        clock_hours = self.clock_hours

        clock_basis = self.clock_basis

        needs_url = self.needs_url

        needs_screenshot = self.needs_screenshot

        waived_for_minors = self.waived_for_minors

        fields = self.fields.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "kind": kind,
                "provision": provision,
                "clock_hours": clock_hours,
                "clock_basis": clock_basis,
                "needs_url": needs_url,
                "needs_screenshot": needs_screenshot,
                "waived_for_minors": waived_for_minors,
                "fields": fields,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.kind_out_fields import KindOutFields  # noqa: PLC0415

        d = dict(src_dict)
        kind = KindOutKind(d.pop("kind"))

        provision = d.pop("provision")

        def _parse_clock_hours(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        clock_hours = _parse_clock_hours(d.pop("clock_hours"))

        clock_basis = d.pop("clock_basis")

        needs_url = d.pop("needs_url")

        needs_screenshot = d.pop("needs_screenshot")

        waived_for_minors = cast(list[str], d.pop("waived_for_minors"))

        fields = KindOutFields.from_dict(d.pop("fields"))

        kind_out = cls(
            kind=kind,
            provision=provision,
            clock_hours=clock_hours,
            clock_basis=clock_basis,
            needs_url=needs_url,
            needs_screenshot=needs_screenshot,
            waived_for_minors=waived_for_minors,
            fields=fields,
        )

        return kind_out
