from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="ModelOut")


@_attrs_define
class ModelOut:
    """The model that scored, and the terms of its use."""

    bundle: str
    """ Name of the model bundle. """
    version: str
    """ Version of the bundle. """
    sha256: str
    """ SHA-256 of bundle.json, which identifies the bundle. """
    terms: str
    """ The terms under which it may be used. """

    def to_dict(self) -> dict[str, Any]:
        bundle = self.bundle

        version = self.version

        sha256 = self.sha256

        terms = self.terms

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "bundle": bundle,
                "version": version,
                "sha256": sha256,
                "terms": terms,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        bundle = d.pop("bundle")

        version = d.pop("version")

        sha256 = d.pop("sha256")

        terms = d.pop("terms")

        model_out = cls(
            bundle=bundle,
            version=version,
            sha256=sha256,
            terms=terms,
        )

        return model_out
