from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..models.decision import Decision

T = TypeVar("T", bound="ReviewIn")


@_attrs_define
class ReviewIn:
    """A person's decision about an examination."""

    decision: Decision
    """ What one person decides about an examination. The model's verdict does not change. """
    reason: str
    """ Why. It becomes part of the evidence. """

    def to_dict(self) -> dict[str, Any]:
        decision = self.decision.value

        reason = self.reason

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "decision": decision,
                "reason": reason,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        decision = Decision(d.pop("decision"))

        reason = d.pop("reason")

        review_in = cls(
            decision=decision,
            reason=reason,
        )

        return review_in
