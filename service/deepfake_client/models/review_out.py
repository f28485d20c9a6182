from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..models.decision import Decision
from ..models.role import Role

T = TypeVar("T", bound="ReviewOut")


@_attrs_define
class ReviewOut:
    """One decision."""

    at: datetime.datetime
    """ When it was decided. """
    name: str
    """ Name of the reviewer. """
    role: Role
    """ What an account may do. """
    decision: Decision
    """ What one person decides about an examination. The model's verdict does not change. """
    reason: str
    """ Why. """

    def to_dict(self) -> dict[str, Any]:
        at = self.at.isoformat()

        name = self.name

        role = self.role.value

        decision = self.decision.value

        reason = self.reason

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "at": at,
                "name": name,
                "role": role,
                "decision": decision,
                "reason": reason,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        at = datetime.datetime.fromisoformat(d.pop("at"))

        name = d.pop("name")

        role = Role(d.pop("role"))

        decision = Decision(d.pop("decision"))

        reason = d.pop("reason")

        review_out = cls(
            at=at,
            name=name,
            role=role,
            decision=decision,
            reason=reason,
        )

        return review_out
