from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="EditionOut")


@_attrs_define
class EditionOut:
    """One edition of a job's evidence."""

    edition: int
    """ Number of the edition, from 1. """
    sha256: str
    """ SHA-256 of the bundle. """
    created_at: datetime.datetime
    """ When it was created. """
    kept: bool
    """ Whether the edition is still stored. """
    withheld: bool
    """ Whether it is withheld: it shows faces, and a person may be a minor. """

    def to_dict(self) -> dict[str, Any]:
        edition = self.edition

        sha256 = self.sha256

        created_at = self.created_at.isoformat()

        kept = self.kept

        withheld = self.withheld

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "edition": edition,
                "sha256": sha256,
                "created_at": created_at,
                "kept": kept,
                "withheld": withheld,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        edition = d.pop("edition")

        sha256 = d.pop("sha256")

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        kept = d.pop("kept")

        withheld = d.pop("withheld")

        edition_out = cls(
            edition=edition,
            sha256=sha256,
            created_at=created_at,
            kept=kept,
            withheld=withheld,
        )

        return edition_out
