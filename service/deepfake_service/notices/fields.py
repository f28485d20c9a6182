"""The fields of each kind of notice, with the provision that requires each of them.

No field has a default that would make a statement, or sign, on behalf of a person.
"""

from __future__ import annotations

import unicodedata
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from deepfake_service.documents.characters import shown

MIN_STATEMENT_CHARS = 20
MIN_SIGNATURE_CHARS = 2
STATEMENT_TOO_SHORT = "at least 20 characters are required, or 10 Korean ones"
_EMAIL = r"^[^@\s<>,;:\"']{1,64}@[^@\s<>,;:\"']{1,190}\.[^@\s<>,;:\"'.]{2,63}$"


def _shown_in_lines(value: str) -> str:
    return shown(value, lines=True)


def _shown_in_line(value: str) -> str:
    return shown(value, lines=False)


def _substantiated(value: str) -> str:
    """Require 20 letters, of which a Hangul syllable or a Chinese character counts as two."""
    length = sum(2 if unicodedata.east_asian_width(char) == "W" else 1 for char in value)
    if length < MIN_STATEMENT_CHARS:
        raise ValueError(STATEMENT_TOO_SHORT)
    return value


Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_shown_in_line),
]
Statement = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=MIN_STATEMENT_CHARS // 2, max_length=5000),
    AfterValidator(_shown_in_lines),
    AfterValidator(_substantiated),
]
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, pattern=_EMAIL),
    AfterValidator(_shown_in_line),
]
Phone = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[0-9+() -]{6,30}$")]
Signature = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=MIN_SIGNATURE_CHARS, max_length=200),
    AfterValidator(_shown_in_line),
]
Affirmed = Literal[True]
"""A statement that a person makes by setting the field to true; false is refused."""


def legal_field(
    provision: str,
    ko: str,
    en: str,
    *,
    default: Any = ...,
    multiline: bool = False,
    example: tuple[str, str] | None = None,
) -> Any:
    """Declare a field with the provision that requires it and its label in both languages.

    Args:
        example: what a person may enter, in Korean and in English.
    """
    examples = {"example_ko": example[0], "example_en": example[1]} if example else {}
    return Field(
        default,
        description=en,
        json_schema_extra={
            "provision": provision,
            "label_ko": ko,
            "label_en": en,
            "multiline": multiline,
            **examples,
        },
    )


class Fields(BaseModel):
    """The fields of one notice."""

    model_config = ConfigDict(extra="forbid")


class EuDsa16(Fields):
    """Regulation (EU) 2022/2065 (Digital Services Act), Article 16(2)."""

    explanation: Statement = legal_field(
        "Article 16(2)(a)",
        "불법 콘텐츠라고 판단하는 이유(구체적 근거 포함)",
        "Substantiated reasons why the content is considered illegal",
        multiline=True,
    )
    notifier_name: Text | None = legal_field(
        "Article 16(2)(c)", "신고자 이름", "Name of the person or entity submitting the notice"
    )
    notifier_email: Email | None = legal_field(
        "Article 16(2)(c)", "신고자 전자우편", "E-mail address"
    )
    good_faith: Affirmed = legal_field(
        "Article 16(2)(d)",
        "이 신고에 적은 정보와 주장이 정확하고 완전하다고 진실로 믿음",
        "I have a bona fide belief that the information and allegations in this notice are "
        "accurate and complete",
    )


class UsTakeItDown(Fields):
    """TAKE IT DOWN Act, section 3(a)(1)(B)."""

    depiction: Statement = legal_field(
        "s. 3(a)(1)(B)(ii)",
        "대상 영상물을 특정하는 내용",
        "Identification of the intimate visual depiction",
        multiline=True,
    )
    digital_forgery: Affirmed | None = legal_field(
        "s. 2(a)(3), digital forgery",
        "이 영상물은 식별 가능한 개인의 디지털 위조물(digital forgery)임",
        "The depiction is a digital forgery of the identifiable individual",
        default=None,
    )
    further_location: Text | None = legal_field(
        "s. 3(a)(1)(B)(ii)",
        "영상물의 위치를 찾는 데 필요한 추가 정보",
        "Further information reasonably sufficient to locate the depiction",
        default=None,
    )
    good_faith_statement: Statement = legal_field(
        "s. 3(a)(1)(B)(iii)",
        "본인의 동의 없는 영상물이라고 진실로 믿는다는 진술과 관련 정보",
        "Statement of the good-faith belief that the depiction is not consensual, with relevant "
        "information",
        multiline=True,
    )
    signer_name: Text = legal_field("s. 3(a)(1)(B)(i)", "서명자 이름", "Name of the signatory")
    signer_capacity: Literal["identifiable_individual", "authorized_person"] = legal_field(
        "s. 3(a)(1)(B)(i)", "서명자 자격", "Capacity of the signatory"
    )
    signature: Signature = legal_field(
        "s. 3(a)(1)(B)(i)",
        "전자 서명(서명자가 직접 입력)",
        "Electronic signature, as typed by the signatory",
    )
    contact_email: Email = legal_field(
        "s. 3(a)(1)(B)(iv)", "연락처 전자우편", "Contact e-mail address"
    )
    contact_phone: Phone | None = legal_field(
        "s. 3(a)(1)(B)(iv)", "연락처 전화번호", "Contact telephone number", default=None
    )


class KrTba225(Fields):
    """전기통신사업법 제22조의5제1항, 같은 법 시행령 제30조의5."""

    reporter_name: Text = legal_field(
        "시행령 제30조의5",
        "신고·요청인(기관·단체) 이름",
        "Name of the person or organization reporting",
    )
    reporter_phone: Phone = legal_field("시행령 제30조의5", "전화번호", "Telephone")
    reporter_email: Email = legal_field("시행령 제30조의5", "전자우편", "E-mail address")
    request: Literal["report", "deletion"] = legal_field(
        "시행령 제30조의5",
        "신고·요청 구분(유통신고 또는 삭제요청)",
        "Report of circulation or request for deletion",
    )
    reason: Literal["illegal_filming", "false_video", "child_sexual_exploitation"] = legal_field(
        "법 제22조의5제1항",
        "불법촬영물등의 종류(불법촬영물, 허위영상물, 아동·청소년성착취물)",
        "Kind of material: illegally filmed, false video, or child or youth sexual exploitation",
    )
    location_without_url: Text | None = legal_field(
        "시행령 제30조의5",
        "URL이 없는 경우: 검색어 또는 위치(댓글은 작성자와 시각)",
        "If there is no URL: search term or location (for a comment, its author and time)",
        default=None,
    )
    statement: Statement = legal_field(
        "시행령 제30조의5", "신고·요청 내용", "Details of the report or request", multiline=True
    )
    signed_on: date = legal_field("시행령 제30조의5", "작성일", "Date of signature")
    signature: Signature = legal_field("시행령 제30조의5", "서명 또는 인", "Signature")


class KrD4u(Fields):
    """중앙디지털성범죄피해자지원센터(D4U)에 대한 삭제지원 신청."""

    requester_name: Text = legal_field("D4U 삭제지원 신청", "신청인 이름", "Name of the applicant")
    requester_relation: Literal["victim", "family", "representative", "centre"] = legal_field(
        "D4U 삭제지원 신청", "피해자와의 관계", "Relation to the victim"
    )
    requester_phone: Phone = legal_field("D4U 삭제지원 신청", "전화번호", "Telephone")
    identity_proof: Text = legal_field(
        "D4U 삭제지원 신청",
        "신원 확인 자료(따로 첨부하는 서류의 이름)",
        "Proof of identity (names of the documents enclosed separately)",
        example=(
            "예: 신분증 사본, 위임장",
            "For example: copy of an identity card, power of attorney",
        ),
    )
    victim_shown: Statement = legal_field(
        "D4U 삭제지원 신청",
        "피해자임을 확인할 수 있는 장면",
        "Scenes that show that the person is the victim",
        multiline=True,
    )
    post_title: Text = legal_field("D4U 삭제지원 신청", "게시물 제목", "Title of the post")
    keywords: Text = legal_field(
        "D4U 삭제지원 신청", "검색어", "Search terms by which the post is found"
    )


class Budapest29(Fields):
    """Convention on Cybercrime (ETS 185), Article 29(2): expedited preservation."""

    authority: Text = legal_field(
        "Article 29(2)(a)", "보전을 요청하는 기관", "Authority seeking the preservation"
    )
    offence: Text = legal_field("Article 29(2)(b)", "수사 대상 범죄", "Offence under investigation")
    facts: Statement = legal_field(
        "Article 29(2)(b)", "관련 사실의 요약", "Brief summary of the facts", multiline=True
    )
    data: Statement = legal_field(
        "Article 29(2)(c)",
        "보전할 데이터와 범죄와의 관계",
        "Stored data to be preserved and its relationship to the offence",
        multiline=True,
    )
    custodian: Text = legal_field(
        "Article 29(2)(d)",
        "데이터 보관자를 식별할 수 있는 정보 또는 컴퓨터 시스템의 위치",
        "Information identifying the custodian of the data or the location of the system",
    )
    necessity: Statement = legal_field(
        "Article 29(2)(e)", "보전의 필요성", "Necessity of the preservation", multiline=True
    )
    assistance_will_follow: Affirmed = legal_field(
        "Article 29(2)(f)",
        "저장된 데이터의 수색·압수·제공을 위한 형사사법공조를 요청할 의사가 있음",
        "We intend to request mutual assistance for the search, seizure or disclosure of the data",
    )
    signed_by: Text = legal_field("Article 29(2)(a)", "담당자", "Official in charge")
