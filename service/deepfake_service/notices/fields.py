"""The fields of each kind of notice: what a person has to supply, and the provision it comes from.

What a person states or signs is theirs: nothing here has a default that would state it for them.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

T = TypeVar("T")

_EMAIL = r"^[^@\s<>,;:\"']{1,64}@[^@\s<>,;:\"']{1,190}\.[^@\s<>,;:\"'.]{2,63}$"


def _printable(value: str) -> str:
    if any(ord(c) < 32 and c not in "\n\t" for c in value):
        raise ValueError("holds control characters")
    return value


Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_printable),
]
Statement = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=20, max_length=5000),
    AfterValidator(_printable),
]
Email = Annotated[str, StringConstraints(strip_whitespace=True, pattern=_EMAIL)]
Phone = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[0-9+() -]{6,30}$")]
Signature = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=2, max_length=200),
    AfterValidator(_printable),
]
Affirmed = Literal[True]
"""Something that a person states by setting it; nothing else will do."""


def of(provision: str, ko: str, en: str, *, default: Any = ..., multiline: bool = False) -> Any:
    """A field with the provision that asks for it, and its name in both languages."""
    return Field(
        default,
        description=en,
        json_schema_extra={
            "provision": provision,
            "label_ko": ko,
            "label_en": en,
            "multiline": multiline,
        },
    )


class Fields(BaseModel):
    """What a person supplies for one notice."""

    model_config = ConfigDict(extra="forbid")


class EuDsa16(Fields):
    """Regulation (EU) 2022/2065 (Digital Services Act), Article 16(2)."""

    explanation: Statement = of(
        "Article 16(2)(a)",
        "불법이라고 보는 이유",
        "Why the content is illegal, sufficiently substantiated",
        multiline=True,
    )
    notifier_name: Text | None = of(
        "Article 16(2)(c)", "신고자 이름", "Name of the person or entity that notifies"
    )
    notifier_email: Email | None = of("Article 16(2)(c)", "신고자 전자우편", "E-mail address")
    good_faith: Affirmed = of(
        "Article 16(2)(d)",
        "이 신고의 정보와 주장이 정확하고 완전하다고 선의로 믿음",
        "I believe in good faith that the information and allegations in this notice are accurate "
        "and complete",
    )


class UsTakeItDown(Fields):
    """TAKE IT DOWN Act, section 3(a)(1)(B)."""

    depiction: Statement = of(
        "s. 3(a)(1)(B)(ii)",
        "해당 영상물의 특정",
        "Identification of the intimate visual depiction",
        multiline=True,
    )
    digital_forgery: Affirmed | None = of(
        "s. 2(a)(3), digital forgery",
        "식별 가능한 개인의 디지털 위조물이라고 진술함",
        "It is a digital forgery of the identifiable individual",
        default=None,
    )
    further_location: Text | None = of(
        "s. 3(a)(1)(B)(ii)",
        "위치를 찾는 데 필요한 추가 정보",
        "Further information sufficient to locate it",
        default=None,
    )
    good_faith_statement: Statement = of(
        "s. 3(a)(1)(B)(iii)",
        "동의 없이 게시되었다는 선의의 진술과 관련 사실",
        "Brief statement of a good-faith belief that it is not consensual, with relevant facts",
        multiline=True,
    )
    signer_name: Text = of("s. 3(a)(1)(B)(i)", "서명자 이름", "Name of the person who signs")
    signer_capacity: Literal["identifiable_individual", "authorized_person"] = of(
        "s. 3(a)(1)(B)(i)", "서명자 자격", "The identifiable individual, or authorised by them"
    )
    signature: Signature = of(
        "s. 3(a)(1)(B)(i)",
        "전자 서명",
        "Physical or electronic signature, as the person writes it",
    )
    contact_email: Email = of("s. 3(a)(1)(B)(iv)", "연락처 전자우편", "Contact: e-mail address")
    contact_phone: Phone | None = of(
        "s. 3(a)(1)(B)(iv)", "연락처 전화번호", "Contact: telephone", default=None
    )


class KrTba225(Fields):
    """전기통신사업법 제22조의5제1항, 같은 법 시행령 제30조의5."""

    reporter_name: Text = of("시행령 제30조의5", "신고·요청인(기관·단체) 이름", "Reporter")
    reporter_phone: Phone = of("시행령 제30조의5", "전화번호", "Telephone")
    reporter_email: Email = of("시행령 제30조의5", "전자우편", "E-mail address")
    request: Literal["report", "deletion"] = of(
        "시행령 제30조의5", "유통신고 / 삭제요청", "Report of circulation, or request for deletion"
    )
    reason: Literal["illegal_filming", "false_video", "child_sexual_exploitation"] = of(
        "법 제22조의5제1항",
        "불법촬영물 / 허위영상물 / 아동·청소년성착취물",
        "Illegally filmed, falsified video, or sexual exploitation of children",
    )
    location_without_url: Text | None = of(
        "시행령 제30조의5",
        "URL이 없는 경우: 검색어 또는 위치(댓글은 작성자와 시각)",
        "Where there is no URL: search term or location (of a comment, author and time)",
        default=None,
    )
    statement: Statement = of("시행령 제30조의5", "신고·요청 내용", "Statement", multiline=True)
    signed_on: date = of("시행령 제30조의5", "작성일", "Date")
    signature: Signature = of("시행령 제30조의5", "서명 또는 인", "Signature")


class KrD4u(Fields):
    """디지털성범죄피해자지원센터(D4U) 삭제지원 신청."""

    requester_name: Text = of("D4U 삭제지원 신청", "신청인 이름", "Requester")
    requester_relation: Literal["victim", "family", "representative", "centre"] = of(
        "D4U 삭제지원 신청", "피해자와의 관계", "Relation to the victim"
    )
    requester_phone: Phone = of("D4U 삭제지원 신청", "전화번호", "Telephone")
    identity_proof: Text = of(
        "D4U 삭제지원 신청", "신원 확인 자료(첨부)", "Proof of identity that is enclosed"
    )
    victim_shown: Statement = of(
        "D4U 삭제지원 신청",
        "피해자임을 확인할 수 있는 장면",
        "How the media show that it is the victim",
        multiline=True,
    )
    post_title: Text = of("D4U 삭제지원 신청", "게시물 제목", "Title of the post")
    keywords: Text = of("D4U 삭제지원 신청", "검색어", "Keywords by which it is found")


class Budapest29(Fields):
    """Convention on Cybercrime (ETS 185), Article 29(2): expedited preservation."""

    authority: Text = of("Article 29(2)(a)", "보전을 요청하는 기관", "Authority that asks")
    offence: Text = of("Article 29(2)(b)", "수사 대상 범죄", "Offence that is investigated")
    facts: Statement = of(
        "Article 29(2)(b)", "관련 사실의 요약", "Brief summary of the facts", multiline=True
    )
    data: Statement = of(
        "Article 29(2)(c)",
        "보전할 데이터와 범죄와의 관계",
        "Stored data to be preserved, and its relation to the offence",
        multiline=True,
    )
    custodian: Text = of(
        "Article 29(2)(d)",
        "보관자 또는 컴퓨터 시스템의 위치",
        "What identifies the custodian of the data, or the location of the system",
    )
    necessity: Statement = of(
        "Article 29(2)(e)", "보전의 필요성", "Why preservation is necessary", multiline=True
    )
    assistance_will_follow: Affirmed = of(
        "Article 29(2)(f)",
        "데이터의 수색·압수·공개를 위한 사법공조 요청을 제출할 예정임",
        "A request for mutual assistance for the search, seizure or disclosure of the data will "
        "be submitted",
    )
    signed_by: Text = of("Article 29(2)(a)", "담당자", "Official in charge")
