from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.notice_request_captures import NoticeRequestCaptures
from ..models.notice_request_kind import NoticeRequestKind
from ..models.notice_request_language import NoticeRequestLanguage
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.notice_request_fields import NoticeRequestFields


T = TypeVar("T", bound="NoticeRequest")


@_attrs_define
class NoticeRequest:
    """A notice to create."""

    kind: NoticeRequestKind
    """ Its kind; `GET /v1/notices` lists them. """
    occurrence_ids: list[str]
    """ Ids of the occurrences that it is about. """
    fields: NoticeRequestFields
    """ The fields of its kind, as `GET /v1/notices` describes them. """
    language: NoticeRequestLanguage | Unset = NoticeRequestLanguage.KO
    """ Its language. """
    recipient: None | str | Unset = UNSET
    """ Who it is addressed to. """
    captures: NoticeRequestCaptures | Unset = NoticeRequestCaptures.CLEAR
    """ How the PDF shows the screenshots of the occurrences, if its kind needs them. """

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind.value

        occurrence_ids = self.occurrence_ids

        fields = self.fields.to_dict()

        language: str | Unset = UNSET
        if not isinstance(self.language, Unset):
            language = self.language.value

        recipient: None | str | Unset
        if isinstance(self.recipient, Unset):
            recipient = UNSET
        else:
            recipient = self.recipient

        captures: str | Unset = UNSET
        if not isinstance(self.captures, Unset):
            captures = self.captures.value

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "kind": kind,
                "occurrence_ids": occurrence_ids,
                "fields": fields,
            }
        )
        if language is not UNSET:
            field_dict["language"] = language
        if recipient is not UNSET:
            field_dict["recipient"] = recipient
        if captures is not UNSET:
            field_dict["captures"] = captures

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.notice_request_fields import NoticeRequestFields  # noqa: PLC0415

        d = dict(src_dict)
        kind = NoticeRequestKind(d.pop("kind"))

        occurrence_ids = cast(list[str], d.pop("occurrence_ids"))

        fields = NoticeRequestFields.from_dict(d.pop("fields"))

        _language = d.pop("language", UNSET)
        language: NoticeRequestLanguage | Unset
        if isinstance(_language, Unset):
            language = UNSET
        else:
            language = NoticeRequestLanguage(_language)

        def _parse_recipient(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        recipient = _parse_recipient(d.pop("recipient", UNSET))

        _captures = d.pop("captures", UNSET)
        captures: NoticeRequestCaptures | Unset
        if isinstance(_captures, Unset):
            captures = UNSET
        else:
            captures = NoticeRequestCaptures(_captures)

        notice_request = cls(
            kind=kind,
            occurrence_ids=occurrence_ids,
            fields=fields,
            language=language,
            recipient=recipient,
            captures=captures,
        )

        return notice_request
