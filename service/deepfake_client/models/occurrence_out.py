from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

T = TypeVar("T", bound="OccurrenceOut")


@_attrs_define
class OccurrenceOut:
    """Where and when a medium was seen."""

    id: str
    """ Id of the occurrence. """
    media_id: str
    """ Id of the medium that was seen. """
    recorded_at: datetime.datetime
    """ When this service recorded it. """
    source_url: None | str
    """ Address at which the medium was seen. """
    platform: None | str
    """ Name of the platform. """
    account: None | str
    """ The account that published it. """
    captured_at: datetime.datetime | None
    """ When it was seen, according to the collector. """
    note: None | str
    """ The collector's note about it. """
    case_reference: None | str
    """ The reference of the case that its submitter gave. """
    collector: str
    """ Id of the account that recorded it. """
    tool: None | str
    """ The program that captured it. """
    screenshot: bool
    """ Whether a screenshot is stored with it. """

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        media_id = self.media_id

        recorded_at = self.recorded_at.isoformat()

        source_url: None | str
        source_url = self.source_url

        platform: None | str
        platform = self.platform

        account: None | str
        account = self.account

        captured_at: None | str
        if isinstance(self.captured_at, datetime.datetime):
            captured_at = self.captured_at.isoformat()
        else:
            captured_at = self.captured_at

        note: None | str
        note = self.note

        case_reference: None | str
        case_reference = self.case_reference

        collector = self.collector

        tool: None | str
        tool = self.tool

        screenshot = self.screenshot

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "media_id": media_id,
                "recorded_at": recorded_at,
                "source_url": source_url,
                "platform": platform,
                "account": account,
                "captured_at": captured_at,
                "note": note,
                "case_reference": case_reference,
                "collector": collector,
                "tool": tool,
                "screenshot": screenshot,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        media_id = d.pop("media_id")

        recorded_at = datetime.datetime.fromisoformat(d.pop("recorded_at"))

        def _parse_source_url(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        source_url = _parse_source_url(d.pop("source_url"))

        def _parse_platform(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        platform = _parse_platform(d.pop("platform"))

        def _parse_account(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        account = _parse_account(d.pop("account"))

        def _parse_captured_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                captured_at_type_0 = datetime.datetime.fromisoformat(data)

                return captured_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        captured_at = _parse_captured_at(d.pop("captured_at"))

        def _parse_note(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        note = _parse_note(d.pop("note"))

        def _parse_case_reference(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        case_reference = _parse_case_reference(d.pop("case_reference"))

        collector = d.pop("collector")

        def _parse_tool(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        tool = _parse_tool(d.pop("tool"))

        screenshot = d.pop("screenshot")

        occurrence_out = cls(
            id=id,
            media_id=media_id,
            recorded_at=recorded_at,
            source_url=source_url,
            platform=platform,
            account=account,
            captured_at=captured_at,
            note=note,
            case_reference=case_reference,
            collector=collector,
            tool=tool,
            screenshot=screenshot,
        )

        return occurrence_out
