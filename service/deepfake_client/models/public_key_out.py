from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define

from ..models.public_key_out_kty import PublicKeyOutKty
from ..types import UNSET, Unset

T = TypeVar("T", bound="PublicKeyOut")


@_attrs_define
class PublicKeyOut:
    """A public key as a JWK (RFC 7517)."""

    kty: PublicKeyOutKty
    """ Type of the key (RFC 7518, RFC 8037). """
    crv: str
    """ Its curve. """
    x: str
    """ The public key, or its x coordinate, in base64url. """
    kid: str
    """ Id of the key, which signatures name. """
    use: Literal["sig"]
    """ It signs. """
    alg: str
    """ The algorithm of its signatures. """
    y: None | str | Unset = UNSET
    """ Its y coordinate, of a key of type EC. """
    x5c: list[str] | None | Unset = UNSET
    """ Its certificate in base64 (DER), of a key that signs reports. """

    def to_dict(self) -> dict[str, Any]:
        kty = self.kty.value

        crv = self.crv

        x = self.x

        kid = self.kid

        use = self.use

        alg = self.alg

        y: None | str | Unset
        if isinstance(self.y, Unset):
            y = UNSET
        else:
            y = self.y

        x5c: list[str] | None | Unset
        if isinstance(self.x5c, Unset):
            x5c = UNSET
        elif isinstance(self.x5c, list):
            x5c = self.x5c

        else:
            x5c = self.x5c

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "kty": kty,
                "crv": crv,
                "x": x,
                "kid": kid,
                "use": use,
                "alg": alg,
            }
        )
        if y is not UNSET:
            field_dict["y"] = y
        if x5c is not UNSET:
            field_dict["x5c"] = x5c

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        kty = PublicKeyOutKty(d.pop("kty"))

        crv = d.pop("crv")

        x = d.pop("x")

        kid = d.pop("kid")

        use = cast(Literal["sig"], d.pop("use"))
        if use != "sig":
            raise ValueError(f"use must match const 'sig', got '{use}'")

        alg = d.pop("alg")

        def _parse_y(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        y = _parse_y(d.pop("y", UNSET))

        def _parse_x5c(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                x5c_type_0 = cast(list[str], data)

                return x5c_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        x5c = _parse_x5c(d.pop("x5c", UNSET))

        public_key_out = cls(
            kty=kty,
            crv=crv,
            x=x,
            kid=kid,
            use=use,
            alg=alg,
            y=y,
            x5c=x5c,
        )

        return public_key_out
