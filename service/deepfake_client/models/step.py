from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..models.outcome import Outcome

T = TypeVar("T", bound="Step")


@_attrs_define
class Step:
    """One step: its number, title, outcome and an explanation."""

    number: int
    """ Number of the step, from 1. """
    title: str
    """ What is checked. """
    outcome: Outcome
    """ Outcome of a step. """
    detail: str
    """ An explanation. """

    def to_dict(self) -> dict[str, Any]:
        number = self.number

        title = self.title

        outcome = self.outcome.value

        detail = self.detail

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "number": number,
                "title": title,
                "outcome": outcome,
                "detail": detail,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        number = d.pop("number")

        title = d.pop("title")

        outcome = Outcome(d.pop("outcome"))

        detail = d.pop("detail")

        step = cls(
            number=number,
            title=title,
            outcome=outcome,
            detail=detail,
        )

        return step
