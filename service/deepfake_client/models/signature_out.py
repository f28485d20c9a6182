from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="SignatureOut")


@_attrs_define
class SignatureOut:
    """A signature of a DSSE envelope."""

    keyid: str
    """ Id of the key that signed, as `kid` in the JWK Set. """
    sig: str
    """ The signature in base64. """

    def to_dict(self) -> dict[str, Any]:
        keyid = self.keyid

        sig = self.sig

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "keyid": keyid,
                "sig": sig,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        keyid = d.pop("keyid")

        sig = d.pop("sig")

        signature_out = cls(
            keyid=keyid,
            sig=sig,
        )

        return signature_out
