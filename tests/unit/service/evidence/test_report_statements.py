"""What the reports of evidence state: error rates, the values of people, and moments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from deepfake_models.bundle.bundle import ConditionsSpec
from deepfake_models.bundle.results import Face, VerdictCode
from deepfake_models.decision.serialization import judge_exact, unjudged
from deepfake_service.evidence.bundle.artifacts import MODEL_RATES
from deepfake_service.evidence.bundle.builder import VERDICT, verdict_document
from deepfake_service.evidence.bundle.documents import Reliability, read
from deepfake_service.evidence.bundle.error_rates import error_rates
from deepfake_service.evidence.report.reading import Reading
from deepfake_service.evidence.report.summary import reasons_of_people, summary_of
from deepfake_service.evidence.report.tables import tables_of
from deepfake_service.platform.texts.i18n import LANGUAGES, words
from tests.support import exhibits, footage
from tests.support.documents import report_texts
from tests.support.exhibits import files_of_bundle, stated


def test_a_table_says_how_many_people_it_leaves_out() -> None:
    document = json.loads(files_of_bundle()[VERDICT])
    (track,) = document["result"]["tracks"]
    document["result"]["tracks"] = [
        {**track, "track": n, "log_likelihood_ratio": -1.0 + n / 100} for n in range(75)
    ]
    view = page_of(document, "en")
    listed = [int(p["number"]) for p in view["people"]]
    assert listed == list(range(16, 76))
    assert "15" in str(view["people_more"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_more_faces_than_frames_are_explained(language: str) -> None:
    document, told = json.loads(files_of_bundle()[VERDICT]), words(language)
    faces, explained = document["exact"]["faces"], told("examined_repeated")
    assert explained not in str(page_of(document, language))
    faces.append({**faces[-1], "time_s": faces[-1]["time_s"] + 2.0})
    assert explained in str(page_of(document, language))


def test_a_person_s_row_says_why_nothing_was_decided() -> None:
    document = json.loads(files_of_bundle()[VERDICT])
    (track,) = document["result"]["tracks"]
    codes = ("between_thresholds", "face_too_small")
    track["reasons"] = [{"code": code, "detail": ""} for code in codes]
    reasons = reasons_of_people(stated(document))
    assert reasons == {"1": ["face_too_small"]}, "the value itself says that it is between"


@pytest.mark.parametrize("language", LANGUAGES)
def test_rates_of_conditions_with_too_few_people_are_not_stated(language: str) -> None:
    document = json.loads(files_of_bundle()[VERDICT])
    (track,) = document["result"]["tracks"]
    (person,) = document["error_rates"]["people"]
    rate = {"value": 0.031, "low": 0.0, "high": 0.3, "samples": 40, "groups": 4,
            "indicative": True}  # fmt: skip
    person.update(bin={"face_px": [0, None]}, false_positive_rate=rate, true_positive_rate=rate)
    lower = track["log_likelihood_ratio"] - 1
    other = {**track, "track": 1, "log_likelihood_ratio": lower, "reasons": []}
    document["result"]["tracks"].append(other)
    like_other = {**rate, "value": 0.052}
    document["error_rates"]["people"].append(
        {**person, "track": 1, "false_positive_rate": like_other, "true_positive_rate": like_other}
    )

    def told() -> tuple[str, list[list[str]]]:
        page = page_of(document, language)
        table = tables_of(Reading(stated(document), words(language)))["conditions"]
        return " ".join(page["rates"]), [row[3:] for row in table]

    text, table = told()
    assert "3.1%" in text
    alike = {"en": "counts alike", "ko": "똑같이 한 건으로"}[language]
    note = tables_of(Reading(stated(document), words(language)))["rates_note"]
    assert alike in text, "unlike the rates of videos beside them, where a source is limited"
    assert alike in note
    assert "3.1%" in table[0][0]
    unmeasured = {"code": "unmeasured_condition", "detail": ""}
    track["reasons"].append(unmeasured)
    text, table = told()
    assert "3.1%" not in text, "no condition that was not used"
    assert "5.2%" in text, "but that of the next person"
    assert ["3.1%" in cell for cell in table[0]] == [False, False]
    assert table[0] == [words(language)("rate_unused", groups="4")] * 2
    other["reasons"] = [unmeasured]
    text, _ = told()
    assert "5.2%" not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_said_how_many_faces_like_this_one_are_found_where_nothing_was(language: str) -> None:
    document = judged("inconclusive", 0.1)
    (person,) = document["error_rates"]["people"]
    rate = {"value": 0.06, "low": 0.02, "high": 0.13, "samples": 90, "groups": 30,
            "indicative": False}  # fmt: skip
    measured = {"false_positive_rate": rate, "true_positive_rate": rate, "face_px": 55.2}
    person.update(measured, bin={"face_px": [0, 64]})
    told = words(language)
    little, few = told("why_little"), told("rates_indicative")

    def why() -> str:
        return str(summary_of(Reading(stated(document), told))["reasons"][0])

    assert all(part in why() for part in ("55", "6.0% [2.0%, 13.0%]", little))
    assert few not in why()
    person["true_positive_rate"] = {**rate, "value": 0.25, "indicative": True}
    assert little not in why()
    assert few in why()
    person["bin"] = None  # faces like these were not measured: the rate of all such media is stated
    overall = {**rate, "value": 0.464, "low": 0.41, "high": 0.52}
    document["error_rates"]["decision"]["true_positive_rate"] = overall
    assert "46.4% [41.0%, 52.0%]" in why()
    assert "55" not in why()
    document["result"]["verdict"] = "likely_manipulated"
    assert not any(
        "46.4%" in reason for reason in summary_of(Reading(stated(document), told))["reasons"]
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_not_examined_has_a_line_of_its_own(language: str) -> None:
    document, told = judged("inconclusive", 0.1), words(language)
    rows = {name: cells for name, *cells in tables_of(Reading(stated(document), told))["signs"]}
    assert rows[told("signs_faces")][0] == told.of("verdicts", "inconclusive")
    absent = told.of("credential_states", document["item"]["content_credentials"]["state"])
    assert absent in rows[told("credentials")][0]
    for name in ("signs_metadata", "signs_whole", "signs_body", "signs_speech"):
        assert rows[told(name)] == [told("signs_unexamined"), "–"]


def test_a_value_at_the_limit_of_the_calibration_is_stated_as_at_least() -> None:
    document = judged("likely_manipulated", 1.0)
    limit = document["method"]["calibration"]["item"]["limit"]
    for ratio, is_most in ((limit, True), (limit / 2, False)):
        document["result"]["log_likelihood_ratio"] = ratio
        korean, english = (page_of(document, language)["strength"] for language in ("ko", "en"))
        assert ("at least" in english, "적어도" in korean) == (is_most, is_most)


def page_of(document: dict[str, Any], language: str) -> dict[str, Any]:
    """Return what page one of the report of a document says."""
    return summary_of(Reading(stated(document), words(language)))


def judged(verdict: str, ratio: float, **changes: Any) -> dict[str, Any]:
    """Return a document with this verdict and value, and with ``changes``."""
    document: dict[str, Any] = json.loads(files_of_bundle()[VERDICT]) | changes
    document["result"] |= {"verdict": verdict, "log_likelihood_ratio": ratio}
    return document


def test_the_answer_and_its_colour_carry_the_strength_of_the_evidence() -> None:
    told = [page_of(judged("likely_manipulated", ratio), "en") for ratio in (0.88, 1.2, 2.2, 3.2)]
    adverbs = ("weakly", "moderately", "moderately strongly", "strongly")
    assert [t["answer"] for t in told] == [
        f"The examination {adverb} supports that a face was manipulated." for adverb in adverbs
    ]
    assert len({t["colour"] for t in told}) == 4
    assert [t["weak"] for t in told] == [True, False, False, False]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("verdict", ["likely_manipulated", "no_manipulation_found", "inconclusive"])
def test_nothing_that_was_measured_on_whole_videos_is_stated_of_a_chosen_part(
    verdict: str, language: str
) -> None:
    told, ratio = words(language), 2.2 if verdict == "likely_manipulated" else -0.1
    document = judged(verdict, ratio)
    document["result"]["leaning"] = "towards_untouched"
    document["error_rates"]["people"][0]["bin"] = None
    rate = {"value": 0.464, "low": 0.41, "high": 0.52, "samples": 90, "groups": 30,
            "indicative": False}  # fmt: skip
    decision = document["error_rates"]["decision"]
    decision.update(false_positive_rate=rate, true_positive_rate=rate)

    def page() -> dict[str, Any]:
        reading = Reading(stated(document), told)
        return {**summary_of(reading), **tables_of(reading), "spread": reading.histogram}

    assert "46.4%" in str(page())
    document["job"].update(within_s=[0.0, 1.0], frames=600)
    of_part = page()
    assert "46.4%" not in str(of_part)
    assert of_part["rates"] == [told("rates_unknown")]
    left_out = ("missed", "strength", "leaning", "spread", "spread_note")
    assert [of_part[name] for name in left_out] == [None] * len(left_out)
    labels = {label for label, _ in of_part["finding"]}
    assert labels.isdisjoint({told("verbal"), told("score")})
    assert told("llr") in labels
    if verdict == "likely_manipulated":
        assert of_part["answer"] == told.of("supports", "part")
        assert of_part["weak"]


@pytest.mark.parametrize(
    ("verdict", "ratio", "value", "edge"),
    [
        ("inconclusive", 0.8731, "+0.8731", "≥ +0.8742"),
        ("likely_manipulated", 0.8742, "+0.8742", "≥ +0.8742"),
        ("no_manipulation_found", -0.3912, "-0.3912", "< -0.3877"),
        ("inconclusive", 0.86, "+0.86", "≥ +0.87"),
    ],
)
def test_a_value_is_not_rounded_to_the_threshold_that_it_missed(
    verdict: str, ratio: float, value: str, edge: str
) -> None:
    document = judged(verdict, ratio)
    edges = {"likely_manipulated": 0.8742, "no_manipulation_found": -0.3877}
    document["method"]["thresholds"]["item"].update(edges)
    document["error_rates"].update(
        likely_manipulated_from=0.8742, no_manipulation_found_below=-0.3877
    )
    tables: dict[str, Any] = tables_of(Reading(stated(document), words("en")))
    assert dict(map(tuple, tables["finding"]))["log10 likelihood ratio"].startswith(value)
    assert edge in dict(map(tuple, tables["method"]))["Thresholds"]


@pytest.mark.parametrize("ratio", [-1.58, -0.1, 0.23])
def test_no_manipulation_found_states_its_misses_and_neither_ratio_nor_strength(
    ratio: float,
) -> None:
    document = judged("no_manipulation_found", ratio)
    document["error_rates"]["decision"]["stated_with_thresholds"]["miss_rate"] = 0.0995
    told = page_of(document, "en")
    assert told["strength"] is None
    assert told["colour"] == page_of(judged("inconclusive", 0.2), "en")["colour"]
    assert told["answer"].startswith("No manipulation of the face was found. Body, clothes and")
    assert told["missed"].startswith("About 10 of 100 manipulated videos get this verdict too")
    rows = dict(map(tuple, tables_of(Reading(stated(document), words("en")))["finding"]))
    assert {"Verbal equivalent", "Score"}.isdisjoint(rows)
    assert "no likelihood ratio" in rows["log10 likelihood ratio"]
    assert page_of(judged("likely_manipulated", 1.2), "en")["missed"] is None


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("finding", ["confirmed", "body_generated", "rejected", "undecided"])
def test_what_people_decided_leads_with_its_reasons(finding: str, language: str) -> None:
    decided = exhibits.reviewed(finding, "Kim", "The original has other clothes.")
    changes = {name: decided[name] for name in ("reviews", "finding")}
    told = page_of(judged("no_manipulation_found", -0.6, **changes), language)
    lines = told["reviews"] if finding == "undecided" else told["concluded"]["lines"]
    assert lines[1].endswith(": “The original has other clothes.”")
    assert "Kim" in lines[0]
    assert (told["concluded"] is None) == (finding == "undecided")
    if told["concluded"]:
        assert told["concluded"]["answer"] == words(language).of("concluded", finding)
        assert told["reviews"] == []
        assert told["colour"] not in (told["concluded"]["colour"], "#dcfce7")


def test_a_report_counts_the_people_who_state_the_finding() -> None:
    (review,) = exhibits.reviewed("confirmed")["reviews"]
    reviews = [
        {**review, "account": account, "decision": decision}
        for account, decision in (
            ("a", "confirmed"), ("b", "undecided"), ("c", "body_generated"),
            ("d", "confirmed"), ("d", "undecided"),
        )
    ]  # fmt: skip
    document = judged("no_manipulation_found", -0.6, reviews=reviews, finding="confirmed")
    concluded = page_of(document, "en")["concluded"]
    assert concluded["label"] == "Result of the review (people who found this: 1)"


def test_what_content_credentials_say_of_the_whole_file_is_one_sentence() -> None:
    document = judged("no_manipulation_found", -0.6)

    def told(**credentials: Any) -> Any:
        document["item"]["content_credentials"] = credentials
        return page_of(document, "en")["provenance"]

    source = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    actions = [{"action": "c2pa.created", "source_type": source}]
    generated = told(state="valid", generator="Painter", actions=actions)
    assert generated.startswith("The file's Content Credentials say that it was generated")
    assert "“Painter” (valid signature, signer not in the trust list)" in generated
    assert "not named" in told(state="invalid", generator=None, actions=actions)
    assert "saved it: “Camera” (" in told(state="trusted", generator="Camera", actions=[])
    forged = told(state="invalid", generator="Camera” (valid). “No", actions=[])
    assert "saved it: “Camera' (valid). 'No” (present, but not valid)" in forged
    assert told(state="absent") is told(state="not_read", reason="") is None


def test_a_moment_is_not_a_span() -> None:
    document = json.loads(files_of_bundle()[VERDICT])
    (track,) = document["result"]["tracks"]
    track["moments"] = [
        {"start_s": start, "end_s": end, "peak_s": start, "peak_score": 0.9}
        for start, end in ((1.21, 1.24), (2.0, 3.5))
    ]
    for language, moments in (("en", "1.2 s, 2.0–3.5 s"), ("ko", "1.2초, 2.0–3.5초")):
        (person,) = page_of(document, language)["people"]
        assert person["moments"] == moments


def reliability(content: dict[str, Any]) -> Reliability:
    return read(Reliability, json.dumps(content).encode(), MODEL_RATES)


def test_rates_are_those_of_whole_videos_where_they_were_measured() -> None:
    gathered = exhibits.material(exhibits.video())
    rate = {"value": 0.01, "low": 0.0, "high": 0.03, "samples": 400, "groups": 90,
            "indicative": False}  # fmt: skip
    overall = {"false_positive_rate": rate, "true_positive_rate": {**rate, "value": 0.6}}
    verdict = judge_exact(unjudged(gathered.examination.exact), gathered.spec)
    assert verdict is not None
    people = [t.track for t in verdict.tracks]

    def said(measured: dict[str, Any]) -> str:
        rates = error_rates(verdict, people, gathered.spec, reliability(measured)).model_dump(
            mode="json"
        )
        document = {**json.loads(files_of_bundle()[VERDICT]), "error_rates": rates}
        line: str = page_of(document, "en")["rates"][0]
        return line

    model = json.loads(gathered.files[MODEL_RATES])
    videos = {**model, "level_item": {"overall": overall}}
    assert "400 authentic videos from 90 independent people or sources" in said(videos)
    # Bundles from before whole videos were measured have tracks alone.
    tracks = {k: v for k, v in model.items() if k != "level_item"}
    assert "single-person recordings" in said(tracks)


def test_rates_are_those_of_whole_pictures_where_they_were_measured() -> None:
    gathered = exhibits.material(footage.picture(footage.grace_hopper(), "PNG"))
    verdict = judge_exact(unjudged(gathered.examination.exact), gathered.spec)
    assert verdict is not None
    rate = {"value": 0.01, "low": 0.0, "high": 0.03, "samples": 400, "groups": 90}
    overall = {"false_positive_rate": rate, "true_positive_rate": rate}
    nothing = {name: {**rate, "value": None} for name in overall}

    def decision(**measured: Any) -> dict[str, Any]:
        rates = reliability({**json.loads(gathered.files[MODEL_RATES]), **measured})
        return error_rates(verdict, [0], gathered.spec, rates).decision.model_dump()

    whole = decision(level_picture={"overall": overall})
    assert (whole["of"], whole["true_positive_rate"]) == ("picture", rate)
    assert "of" not in decision()
    assert decision(level_picture={"overall": nothing}) == decision()


def test_a_strangers_record_of_many_people_is_not_searched_for_each_of_them() -> None:
    """Verification takes a record without a trusted key: faces times people took it for hours."""

    class Counted(tuple[Face, ...]):
        passes = 0

        def __iter__(self) -> Iterator[Face]:
            Counted.passes += 1
            return super().__iter__()

    gathered = exhibits.material(exhibits.video())
    verdict = judge_exact(unjudged(gathered.examination.exact), gathered.spec)
    assert verdict is not None
    face = next(f for f in verdict.faces if f.logit is not None)
    crowd = Counted(replace(face, track=number) for number in range(1000))
    record = replace(verdict, faces=crowd)
    measured = gathered.spec, gathered.reliability
    people = error_rates(record, range(1000), *measured).people
    assert Counted.passes == 1
    (alone,) = error_rates(replace(record, faces=(face,)), [face.track], *measured).people
    assert list(people) == [alone.model_copy(update={"track": n}) for n in range(1000)]


def test_a_rate_is_indicative_below_the_bundles_own_number_of_groups() -> None:
    gathered = exhibits.material(exhibits.video())
    verdict = judge_exact(unjudged(gathered.examination.exact), gathered.spec)
    assert verdict is not None
    rate = {"value": 0.1, "low": 0.0, "high": 0.2, "samples": 40, "groups": 12}
    widths = [{"face_px": [0, None], "false_positive_rate": rate, "true_positive_rate": rate}]
    measured = reliability({"level_face": {"by_face_width": widths}})

    def marked(min_groups: int) -> bool:
        conditions = ConditionsSpec(min_groups=min_groups)
        spec = gathered.spec.model_copy(update={"conditions": conditions})
        (person,) = error_rates(verdict, [0], spec, measured).people
        assert person.false_positive_rate
        return bool(person.false_positive_rate.indicative)

    assert [marked(n) for n in (12, 13)] == [False, True]


def test_faces_have_overlays_only_if_the_item_is_called_manipulated() -> None:
    material = exhibits.material(exhibits.video())
    found = verdict_document(exhibits.dossier(exhibits.video()), material)
    document = found.model_dump(mode="json")
    for verdict in VerdictCode:
        document["result"]["verdict"] = verdict
        is_likely = verdict is VerdictCode.LIKELY_MANIPULATED
        texts = report_texts(document, material.files, words("en"))
        assert {p["heat"] is not None for p in texts["pictures"]} == {is_likely}
        assert ("Red marks" in texts["pictures_meaning"]) is is_likely
        assert ("There is no overlay" in texts["pictures_meaning"]) is not is_likely


def test_what_the_red_means_depends_on_the_model() -> None:
    document = json.loads(files_of_bundle()[VERDICT])
    document["result"]["verdict"] = VerdictCode.LIKELY_MANIPULATED
    shares = page_of(document, "en")["pictures_meaning"]
    document["method"]["map"] = "patch_logit"
    assert "not shares" in page_of(document, "en")["pictures_meaning"]
    document["method"]["map"] = "direct_effect"
    direct = page_of(document, "en")["pictures_meaning"]
    assert "contributed most directly" in direct
    assert "not shares" not in shares + direct
