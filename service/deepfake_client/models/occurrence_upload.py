from __future__ import annotations

import datetime
from collections.abc import Mapping
from io import BytesIO
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from .. import types
from ..types import UNSET, File, FileTypes, Unset

T = TypeVar("T", bound="OccurrenceUpload")


@_attrs_define
class OccurrenceUpload:
    source_url: str | Unset = UNSET
    """ Where it was seen. """
    platform: str | Unset = UNSET
    """ Name of the platform. """
    account: str | Unset = UNSET
    """ The account that published it. """
    captured_at: datetime.datetime | Unset = UNSET
    """ When it was seen, not in the future: ISO 8601 with a time zone. """
    note: str | Unset = UNSET
    """ What the collector notes about it. """
    media_id: str | Unset = UNSET
    """ The medium; may be left out if the case has only one. """
    tool: str | Unset = UNSET
    """ The program that captured it. """
    screenshot: File | Unset = UNSET
    """ A PNG, JPEG or WebP picture. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        source_url = self.source_url

        platform = self.platform

        account = self.account

        captured_at: str | Unset = UNSET
        if not isinstance(self.captured_at, Unset):
            captured_at = self.captured_at.isoformat()

        note = self.note

        media_id = self.media_id

        tool = self.tool

        screenshot: FileTypes | Unset = UNSET
        if not isinstance(self.screenshot, Unset):
            screenshot = self.screenshot.to_tuple()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if source_url is not UNSET:
            field_dict["source_url"] = source_url
        if platform is not UNSET:
            field_dict["platform"] = platform
        if account is not UNSET:
            field_dict["account"] = account
        if captured_at is not UNSET:
            field_dict["captured_at"] = captured_at
        if note is not UNSET:
            field_dict["note"] = note
        if media_id is not UNSET:
            field_dict["media_id"] = media_id
        if tool is not UNSET:
            field_dict["tool"] = tool
        if screenshot is not UNSET:
            field_dict["screenshot"] = screenshot

        return field_dict

    def to_multipart(self) -> types.RequestFiles:
        files: types.RequestFiles = []

        if not isinstance(self.source_url, Unset):
            files.append(("source_url", (None, str(self.source_url).encode(), "text/plain")))

        if not isinstance(self.platform, Unset):
            files.append(("platform", (None, str(self.platform).encode(), "text/plain")))

        if not isinstance(self.account, Unset):
            files.append(("account", (None, str(self.account).encode(), "text/plain")))

        if not isinstance(self.captured_at, Unset):
            files.append(
                ("captured_at", (None, self.captured_at.isoformat().encode(), "text/plain"))
            )

        if not isinstance(self.note, Unset):
            files.append(("note", (None, str(self.note).encode(), "text/plain")))

        if not isinstance(self.media_id, Unset):
            files.append(("media_id", (None, str(self.media_id).encode(), "text/plain")))

        if not isinstance(self.tool, Unset):
            files.append(("tool", (None, str(self.tool).encode(), "text/plain")))

        if not isinstance(self.screenshot, Unset):
            files.append(("screenshot", self.screenshot.to_tuple()))

        for prop_name, prop in self.additional_properties.items():
            files.append((prop_name, (None, str(prop).encode(), "text/plain")))

        return files

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        source_url = d.pop("source_url", UNSET)

        platform = d.pop("platform", UNSET)

        account = d.pop("account", UNSET)

        _captured_at = d.pop("captured_at", UNSET)
        captured_at: datetime.datetime | Unset
        if isinstance(_captured_at, Unset):
            captured_at = UNSET
        else:
            captured_at = datetime.datetime.fromisoformat(_captured_at)

        note = d.pop("note", UNSET)

        media_id = d.pop("media_id", UNSET)

        tool = d.pop("tool", UNSET)

        _screenshot = d.pop("screenshot", UNSET)
        screenshot: File | Unset
        if isinstance(_screenshot, Unset):
            screenshot = UNSET
        else:
            screenshot = File(payload=BytesIO(_screenshot))

        occurrence_upload = cls(
            source_url=source_url,
            platform=platform,
            account=account,
            captured_at=captured_at,
            note=note,
            media_id=media_id,
            tool=tool,
            screenshot=screenshot,
        )

        occurrence_upload.additional_properties = d
        return occurrence_upload

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
