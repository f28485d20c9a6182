"""Texts of reports and notices in both languages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from babel.messages.catalog import Message

from deepfake_models.bundle.results import Leaning
from deepfake_service.audit.log import Action
from deepfake_service.evidence.bundle.artifacts import Material
from deepfake_service.evidence.bundle.builder import verdict_document
from deepfake_service.evidence.bundle.documents import Custody, CustodyEntry
from deepfake_service.evidence.report.reading import Reading
from deepfake_service.evidence.report.tables import tables_of
from deepfake_service.notices.compose import NoticeSubject, compose, text_of
from deepfake_service.notices.kinds import KINDS
from deepfake_service.platform.texts.formatting import day, to_the_second
from deepfake_service.platform.texts.i18n import load, words
from tests.support import exhibits, footage
from tests.support.documents import leaves, report_texts
from tests.support.notices import BASIS, GOOD, SEEN, seen
from tests.support.translations import faults

LATIN = re.compile(r"[A-Za-z]{2,}")
NAMES = {
    "PDF", "KST",
    "SHA", "PA", "log", "px", "PAdES", "PDQ", "MTCNN", "UTC", "UUID",
    # Files, commands and formats.
    "verdict", "custody", "hashes", "json", "docs", "verify", "by", "hand", "md", "rescore",
    "media", "FILE", "png", "video", "mp", "image",
    # The guideline's title.
    "ENFSI", "Guideline", "for", "Evaluative", "Reporting", "in", "Forensic", "Science",
    # Names of laws and bodies, and how provisions are cited.
    "EU", "ETS", "No", "TAKE", "IT", "DOWN", "Act", "Regulation", "Article", "Convention", "on",
    "Cybercrime", "INHOPE", "NCMEC", "CyberTipline", "URL", "ii", "iii", "iv", "digital",
    "forgery", "ZIP",
}  # fmt: skip
"""Latin words that Korean documents contain."""
NOT_WORDS = re.compile(r"{\w+}|[0-9a-f]{16,64}|deepfake-service|docs/ko/[a-z-]+\.md")
"""Placeholders, digests, and where the description of the verification is."""
POLITE = re.compile("[습입합됩랍]니[다까]|십시오|세요|해요")
PLAIN = re.compile(r"(?<!니)다[.(]|(?<!니)다$|는가\?", re.MULTILINE)
DRAWN = ("timeline", "pictures", "colour", "lang", "footer", "digest", "certificate", "words")
"""Parts of a report that are not text, or that are checked on their own."""


def latin(texts: Any, given: Any) -> set[str]:
    """Return the Latin words in ``texts`` that are neither names nor in what was ``given``."""
    supplied = {word for text in leaves(given) for word in LATIN.findall(text)}
    words_ = {w for text in leaves(texts) for w in LATIN.findall(NOT_WORDS.sub("", text))}
    return words_ - supplied - NAMES


def custody(details: Iterable[tuple[str, str | None]]) -> Custody:
    """Return a chain of custody of entries with these actions and details."""
    at, rest = "2026-01-02T03:04:05.678+00:00", {"subject": None, "previous": "", "hash": ""}
    entries = (
        CustodyEntry(number=n, at=at, account=None, key=None, action=str(a), detail=d, **rest)
        for n, (a, d) in enumerate(details)
    )
    return Custody(accounts={}, entries=tuple(entries))


def korean_report(media: bytes, material: Material, **changes: Any) -> set[str]:
    """Return the stray Latin words of a report in Korean."""
    at = "2026-01-02T03:04:05.678+00:00"
    review = {
        "at": at,
        "account": "a",
        "name": "김검토",
        "role": "analyst",
        "reason": "-",
        "pictures_withheld": False,
    }
    reviews = [{**review, "decision": d} for d in ("confirmed", "rejected", "undecided")]
    dossier = exhibits.dossier(media, reviews=reviews, finding="awaiting_second", **changes)
    stated = verdict_document(dossier, material)
    log = custody((action, None) for action in Action)
    texts, document = report_texts(stated, material.files, words("ko"), log), stated.model_dump()
    given = [document[k] for k in ("case", "job", "occurrences", "method")]
    given.append([*document["method"]["software"], document["item"]["mime"]])
    shown = {k: v for k, v in texts.items() if k not in DRAWN}
    lines = [picture["line"] for picture in texts["pictures"]]
    drawn = re.findall(r"<(?:text|title)[^>]*>([^<]*)<", texts["timeline"] or "")
    return latin([shown, lines, drawn, words("ko").plain], given)


@pytest.mark.parametrize(
    "media",
    [
        exhibits.video(),
        footage.picture(footage.grace_hopper(), "PNG"),
        footage.picture(footage.resized(footage.astronaut(), 120, 120), "JPEG"),
        b"no media at all",
    ],
    ids=["video", "picture", "small", "undecodable"],
)
def test_a_korean_report_has_no_english_in_it(media: bytes) -> None:
    assert korean_report(media, exhibits.material(media)) == set()


def test_documents_say_what_of_a_post_a_capture_alone_claims() -> None:
    claimed = {"claimed": ["source_url", "captured_at"]}
    (post,) = exhibits.dossier(b"").occurrences
    dossier = exhibits.dossier(b"", occurrences=[post.model_dump() | claimed])
    document = verdict_document(dossier, exhibits.material(b""))
    subject = NoticeSubject([seen(**claimed)], BASIS)
    for language, told in (
        ("en", "(according to the handed-in capture)"), ("ko", "(제출된 채증 파일에 따름)"),
    ):  # fmt: skip
        r = Reading(document, words(language))
        (rows,) = tables_of(r)["occurrences"]
        places, platform, captured, *_ = (value for _, value in rows)
        assert (places, platform) == (f"https://example.org/1 {told}", "P")
        assert captured.endswith(told)
        letter = compose(KINDS["eu-dsa-16"], GOOD["eu-dsa-16"], subject, language=language)
        (lines,) = (s.lines for s in letter.sections if s.name == "about")
        assert [line.endswith(told) for line in lines] == [True, False, False, True]


@pytest.mark.parametrize("still", [False, True])
def test_only_the_report_of_a_video_has_times_within_the_file(still: bool) -> None:
    media = footage.picture(footage.grace_hopper(), "PNG") if still else exhibits.video()
    material = exhibits.material(media)
    document = verdict_document(exhibits.dossier(media), material)
    texts = report_texts(document, material.files, words("en"))
    assert (texts["timeline"] is None) == still
    assert texts["pictures"]
    assert all(re.match(r"\d+\.\d s · ", p["line"]) is None for p in texts["pictures"]) == still


@pytest.mark.parametrize("leans", Leaning)
@pytest.mark.parametrize("still", [False, True])
def test_a_report_says_which_way_an_inconclusive_value_leans(leans: Leaning, still: bool) -> None:
    media = footage.picture(footage.grace_hopper(), "PNG") if still else exhibits.video()
    material = exhibits.leaning_material(media, leans)
    document = verdict_document(exhibits.dossier(media), material)
    texts = report_texts(document, {}, words("en"))
    finding = dict(map(tuple, texts["finding"]))
    assert finding["Leaning"] == words("en").of("leanings", leans)
    rates = {
        Leaning.TOWARDS_MANIPULATED: ["4.1%", "6.2%", "70.3%", "proves nothing"],
        Leaning.NEITHER: ["leans neither way"],
        Leaning.TOWARDS_UNTOUCHED: ["18.4%", "65.5%", "proves nothing"],
    }[leans]
    assert all(part in texts["leaning"] for part in rates), texts["leaning"]
    (edges,) = [value for label, value in texts["method"] if label == "Leaning"]
    assert "4.1%" in edges
    person = texts["people"][0]["verdict"]
    if leans is Leaning.TOWARDS_MANIPULATED:
        # In words alone: a share would be quoted as how certain the manipulation is.
        assert "most resembles reenactment of expressions or movements. This" in texts["kinds"]
        assert "%" not in texts["kinds"] + person + finding["Resembled kind of manipulation"]
        assert person.startswith("inconclusive (leans towards manipulated, most resembles")
    else:
        assert texts["kinds"] is None
        assert ("leans towards untouched" in person) == (leans is Leaning.TOWARDS_UNTOUCHED)
    assert korean_report(media, material) == set()
    korean = report_texts(document, {}, words("ko"))
    assert korean["leaning"].endswith("다.")


def test_a_report_of_a_model_without_edges_does_not_mention_a_leaning() -> None:
    media = exhibits.video()
    document = verdict_document(exhibits.dossier(media), exhibits.material(media))
    texts = report_texts(document, {}, words("en"))
    assert texts["leaning"] is texts["kinds"] is None
    assert "Leaning" not in [
        label for name in ("item", "finding", "method") for label, _ in texts[name]
    ]


def test_a_report_counts_frames_that_could_not_be_decoded_if_there_are_any() -> None:
    media = exhibits.video()
    stated = verdict_document(exhibits.dossier(media), exhibits.material(media))
    document = stated.model_dump(mode="json")
    for failed in (0, 2):
        document["result"]["frames"]["failed"] = failed
        for language, text in (
            ("en", "size from the first: 2."),
            ("ko", "크기가 다른 프레임: 2개."),
        ):
            examined = report_texts(document, {}, words(language))["examined"]
            assert (text in examined) == bool(failed)


@pytest.mark.parametrize("still", [False, True])
def test_a_report_says_first_that_its_model_decides_nothing(still: bool) -> None:
    media = footage.picture(footage.grace_hopper(), "PNG") if still else exhibits.video()
    stated = verdict_document(exhibits.dossier(media), exhibits.material(media))
    assert report_texts(stated, {}, words("en"))["not_for_use"] == []
    document = stated.model_dump(mode="json")
    level, kind = ("face", "pictures") if still else ("item", "videos")
    document["method"]["thresholds"][level]["true_positive_rate"] = 0.01
    document["method"]["calibration"][level]["groups"] = 3
    heading, rates, groups = report_texts(document, {}, words("en"))["not_for_use"]
    assert heading.startswith("Not for use")
    assert f"manipulated {kind}" in rates
    assert "1.0%" in rates
    assert f"for {kind} rest on only 3 people" in groups
    korean = report_texts(document, {}, words("ko"))["not_for_use"]
    assert all(line.endswith("다.") for line in korean)
    assert not LATIN.search(" ".join(korean))


@pytest.mark.parametrize(
    ("media", "asked", "frames"),
    [
        (exhibits.video(), ("this video", "이 영상"), True),
        (footage.picture(footage.grace_hopper(), "PNG"), ("this picture", "이 사진"), False),
        (b"neither of them", ("this file", "이 파일"), False),
    ],
    ids=["video", "picture", "unreadable"],
)
def test_a_report_asks_about_its_kind_of_media_and_names_no_other(
    media: bytes, asked: tuple[str, str], frames: bool
) -> None:
    document = verdict_document(exhibits.dossier(media), exhibits.material(media))
    assert asked[0] in document.question
    for n, (language, frame) in enumerate((("en", "frames"), ("ko", "프레임"))):
        texts = report_texts(document, {}, words(language))
        assert asked[n] in texts["question"]
        assert (frame in texts["not_examined"]) == frames


def test_a_korean_report_names_the_details_of_its_custody_in_korean() -> None:
    media = footage.picture(footage.grace_hopper(), "PNG")
    document = verdict_document(exhibits.dossier(media), exhibits.material(media))
    log = custody(
        (("job.finished", "succeeded"), ("evidence.read", "pictures"), ("evidence.read", "2"),
         ("case.reviewed", "body_generated"))
    )  # fmt: skip
    texts = report_texts(document, {}, words("ko"), log)
    told = [row[-1] for row in texts["custody"]]
    assert told[0] == "검사 종료 (완료)"
    assert told[1].endswith(" (얼굴 사진)")
    assert told[2].endswith(" (2)")
    assert not LATIN.search(" ".join(told))


def test_the_terms_of_use_of_the_model_are_stated_in_the_language_of_the_report() -> None:
    media = exhibits.video()
    stated = verdict_document(exhibits.dossier(media), exhibits.material(media))
    document = stated.model_dump(mode="json")
    for language, known in (("en", "research-only"), ("ko", "연구·평가용(research-only)")):
        for terms, stated in (("research-only", known), ("Agency only", "Agency only")):
            document["method"]["model"]["terms"] = terms
            texts = report_texts(document, {}, words(language))
            assert f": {stated}." in texts["limits"][-1]
            assert [words(language)("terms"), stated] in texts["method"]


def test_stored_sentences_in_english_are_translated() -> None:
    media = exhibits.video()
    reason = "is not installed where this was examined"
    hashes = {"pdq": None, "reason": f"pdqhash {reason}"}
    credentials = {"state": "not_read", "reason": f"c2pa-python {reason}"}
    material = exhibits.changed(
        exhibits.material(media),
        lambda found: found.update(hashes=hashes, content_credentials=credentials),
    )
    assert korean_report(media, material) == {"pdqhash", "pa"}
    assert words("ko").stored("something else") == "something else"


@pytest.mark.parametrize("minor", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_korean_notice_has_no_english_in_it_and_is_polite(kind: str, minor: bool) -> None:
    """It is a letter to an outsider, to whom the plain style of a report is rude."""
    given, declared = dict(GOOD[kind]), KINDS[kind].fields
    if minor:
        given |= {name: f.for_minors for name, f in declared.items() if f.for_minors}
    fields = KINDS[kind].check(given, SEEN, minor=minor)
    told = replace(BASIS[0], reasons=["원본과 비교함"])
    basis = [told, replace(told, sha256="cd" * 32, verdict="inconclusive", reviewers=1)]
    notice = compose(KINDS[kind], fields, NoticeSubject(SEEN, basis, minor=minor), language="ko")
    free = {name: value for name, value in given.items() if not declared[name].choices}
    assert (
        latin(text_of(notice), [free, [post.model_dump() for post in SEEN], "ab" * 32, "cd" * 32])
        == set()
    )
    assert POLITE.search(notice.opening)
    assert not PLAIN.search(text_of(notice)), text_of(notice)


@pytest.mark.parametrize("catalogue", ["report", "notice"])
def test_korean_documents_are_written_in_the_plain_style(catalogue: str) -> None:
    for message in load(catalogue):
        if not str(message.context).startswith("done."):  # what the console says was done
            assert not POLITE.search(str(message.string)), message.string


def test_the_console_is_in_the_polite_style() -> None:
    polite = [*words("ko", polite=True)._texts.values()]
    polite += [text for m in load("console") for text in leaves(m.string)]
    for text in polite:
        assert not PLAIN.search(text), text


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize(
    "group",
    ["answers", "verdicts", "findings", "scale", "reason_texts", "leanings", "manipulations"],
)
def test_no_two_texts_of_a_group_are_the_same(group: str, language: str) -> None:
    texts = words(language).list(group)
    assert len(texts) >= 3
    assert len(set(texts)) == len(texts)


def test_a_translation_that_does_not_match_is_reported() -> None:
    good = Message("{n} frames", "프레임 {n}개", context="frames")
    assert list(faults(good)) == []
    for bad in (
        Message("{n} frames", "프레임 {m}개", context="frames"),
        Message("{n} frames", "", context="frames"),
        Message("{n} frames", "프레임 {n}개", context="frames", flags=["fuzzy"]),
        Message("%(n)s frames", "프레임"),
        Message(("%(n)s frame", "%(n)s frames"), ("프레임 %(m)s개",)),
    ):
        assert len(list(faults(bad))) == 1, bad


def test_a_report_on_a_video_says_how_people_are_numbered() -> None:
    notes = []
    for media in (exhibits.video(), footage.picture(footage.grace_hopper(), "PNG")):
        material = exhibits.material(media)
        document = verdict_document(exhibits.dossier(media), material)
        texts = report_texts(document, {}, words("en"))
        notes.append(texts["people_note"])
    assert notes == [words("en")("people_note"), None]


def test_times_in_korean_documents_are_those_in_korea() -> None:
    at = "2026-01-02T03:04:05.678+00:00"
    assert to_the_second(at, "ko") == "2026-01-02 12:04:05 KST (03:04:05 UTC)"
    assert to_the_second(at, "en") == "2026-01-02 03:04:05 UTC"
    late = "2026-01-02T15:00:00+00:00"  # midnight in Korea
    assert to_the_second(late, "ko") == "2026-01-03 00:00:00 KST (2026-01-02 15:00:00 UTC)"
    assert to_the_second("2026-01-03T00:00:00+09:00", "ko") == to_the_second(late, "ko")
    assert [day(datetime.fromisoformat(late), to) for to in ("ko", "en")] == [
        "2026-01-03", "2026-01-02",
    ]  # fmt: skip
    assert to_the_second(None, "ko") == "–"


def test_all_times_of_a_korean_report_are_told_in_one_way() -> None:
    video = exhibits.video()
    dossier = exhibits.dossier(video, **exhibits.reviewed("confirmed"))
    document = verdict_document(dossier, exhibits.material(video))
    for language, other in (("ko", " KST ("), ("en", "05 UTC")):
        texts = list(leaves(report_texts(document, {}, words(language), dossier.custody)))
        told = [text for text in texts if re.search(r"\d\d:\d\d:\d\d", text)]
        assert len(told) >= 5
        assert all(other in text for text in told), told


def test_everything_in_a_report_is_json() -> None:
    media = exhibits.video()
    material = exhibits.material(media)
    document = verdict_document(exhibits.dossier(media), material)
    texts = report_texts(document, {}, words("en"))
    assert json.loads(json.dumps(texts)) == texts
