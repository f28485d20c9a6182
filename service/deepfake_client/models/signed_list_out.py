from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.signature_out import SignatureOut


T = TypeVar("T", bound="SignedListOut")


@_attrs_define
class SignedListOut:
    """A DSSE envelope (github.com/secure-systems-lab/dsse)."""

    payload: str
    """ The list as canonical JSON (RFC 8785), in base64. """
    payload_type: str
    """ Its media type. """
    signatures: list[SignatureOut]
    """ The signatures of payload and type. """

    def to_dict(self) -> dict[str, Any]:
        payload = self.payload

        payload_type = self.payload_type

        signatures = []
        for signatures_item_data in self.signatures:
            signatures_item = signatures_item_data.to_dict()
            signatures.append(signatures_item)

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "payload": payload,
                "payloadType": payload_type,
                "signatures": signatures,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.signature_out import SignatureOut  # noqa: PLC0415

        d = dict(src_dict)
        payload = d.pop("payload")

        payload_type = d.pop("payloadType")

        signatures = []
        _signatures = d.pop("signatures")
        for signatures_item_data in _signatures:
            signatures_item = SignatureOut.from_dict(signatures_item_data)

            signatures.append(signatures_item)

        signed_list_out = cls(
            payload=payload,
            payload_type=payload_type,
            signatures=signatures,
        )

        return signed_list_out
