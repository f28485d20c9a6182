from __future__ import annotations

import datetime
from collections.abc import Mapping
from io import BytesIO
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from .. import types
from ..models.callback_content import CallbackContent
from ..models.priority import Priority
from ..models.retention_policy import RetentionPolicy
from ..types import UNSET, File, Unset

T = TypeVar("T", bound="VideoUpload")


@_attrs_define
class VideoUpload:
    file: File
    """ The video or picture. """
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
    case_reference: str | Unset = UNSET
    """ Your reference of the case to which this belongs. White space around it does not count. """
    callback_url: str | Unset = UNSET
    """ Called with a signed webhook when the job ends, or at once if it has ended. A URL that the job already has
    is not called again. """
    callback_content: CallbackContent | Unset = UNSET
    """ What a webhook says about its job. """
    priority: Priority | Unset = UNSET
    """ The priority of a job in the queue. """
    frames: int | Unset = UNSET
    """ How many frames to examine, 1 to 2000. """
    retention: RetentionPolicy | Unset = UNSET
    """ How long the media of a job are kept. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        file = self.file.to_tuple()

        source_url = self.source_url

        platform = self.platform

        account = self.account

        captured_at: str | Unset = UNSET
        if not isinstance(self.captured_at, Unset):
            captured_at = self.captured_at.isoformat()

        note = self.note

        case_reference = self.case_reference

        callback_url = self.callback_url

        callback_content: str | Unset = UNSET
        if not isinstance(self.callback_content, Unset):
            callback_content = self.callback_content.value

        priority: str | Unset = UNSET
        if not isinstance(self.priority, Unset):
            priority = self.priority.value

        frames = self.frames

        retention: str | Unset = UNSET
        if not isinstance(self.retention, Unset):
            retention = self.retention.value

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "file": file,
            }
        )
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
        if case_reference is not UNSET:
            field_dict["case_reference"] = case_reference
        if callback_url is not UNSET:
            field_dict["callback_url"] = callback_url
        if callback_content is not UNSET:
            field_dict["callback_content"] = callback_content
        if priority is not UNSET:
            field_dict["priority"] = priority
        if frames is not UNSET:
            field_dict["frames"] = frames
        if retention is not UNSET:
            field_dict["retention"] = retention

        return field_dict

    def to_multipart(self) -> types.RequestFiles:
        files: types.RequestFiles = []

        files.append(("file", self.file.to_tuple()))

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

        if not isinstance(self.case_reference, Unset):
            files.append(
                ("case_reference", (None, str(self.case_reference).encode(), "text/plain"))
            )

        if not isinstance(self.callback_url, Unset):
            files.append(("callback_url", (None, str(self.callback_url).encode(), "text/plain")))

        if not isinstance(self.callback_content, Unset):
            files.append(
                (
                    "callback_content",
                    (None, str(self.callback_content.value).encode(), "text/plain"),
                )
            )

        if not isinstance(self.priority, Unset):
            files.append(("priority", (None, str(self.priority.value).encode(), "text/plain")))

        if not isinstance(self.frames, Unset):
            files.append(("frames", (None, str(self.frames).encode(), "text/plain")))

        if not isinstance(self.retention, Unset):
            files.append(("retention", (None, str(self.retention.value).encode(), "text/plain")))

        for prop_name, prop in self.additional_properties.items():
            files.append((prop_name, (None, str(prop).encode(), "text/plain")))

        return files

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        file = File(payload=BytesIO(d.pop("file")))

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

        case_reference = d.pop("case_reference", UNSET)

        callback_url = d.pop("callback_url", UNSET)

        _callback_content = d.pop("callback_content", UNSET)
        callback_content: CallbackContent | Unset
        if isinstance(_callback_content, Unset):
            callback_content = UNSET
        else:
            callback_content = CallbackContent(_callback_content)

        _priority = d.pop("priority", UNSET)
        priority: Priority | Unset
        if isinstance(_priority, Unset):
            priority = UNSET
        else:
            priority = Priority(_priority)

        frames = d.pop("frames", UNSET)

        _retention = d.pop("retention", UNSET)
        retention: RetentionPolicy | Unset
        if isinstance(_retention, Unset):
            retention = UNSET
        else:
            retention = RetentionPolicy(_retention)

        video_upload = cls(
            file=file,
            source_url=source_url,
            platform=platform,
            account=account,
            captured_at=captured_at,
            note=note,
            case_reference=case_reference,
            callback_url=callback_url,
            callback_content=callback_content,
            priority=priority,
            frames=frames,
            retention=retention,
        )

        video_upload.additional_properties = d
        return video_upload

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
