from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

from ..models.event_out_type import EventOutType

if TYPE_CHECKING:
    from ..models.event_job_out import EventJobOut


T = TypeVar("T", bound="EventOut")


@_attrs_define
class EventOut:
    """A webhook in the form of the Standard Webhooks specification."""

    type_: EventOutType
    """ What happened. """
    timestamp: datetime.datetime
    """ When the webhook was sent. """
    data: EventJobOut
    """ The job that has ended. """

    def to_dict(self) -> dict[str, Any]:
        type_ = self.type_.value

        timestamp = self.timestamp.isoformat()

        data = self.data.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "type": type_,
                "timestamp": timestamp,
                "data": data,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.event_job_out import EventJobOut  # noqa: PLC0415

        d = dict(src_dict)
        type_ = EventOutType(d.pop("type"))

        timestamp = datetime.datetime.fromisoformat(d.pop("timestamp"))

        data = EventJobOut.from_dict(d.pop("data"))

        event_out = cls(
            type_=type_,
            timestamp=timestamp,
            data=data,
        )

        return event_out
