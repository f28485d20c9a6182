"""Results as they were stored are published, those of earlier and newer versions included."""

from __future__ import annotations

import copy
from typing import Any

from deepfake_service.platform.db import Case, Job
from deepfake_service.platform.enums import JobState
from deepfake_service.platform.storage import seal_json
from tests.support.jobs import post_video
from tests.unit.service.conftest import Service

STORED_RESULT = {
    "media": {
        "kind": "video",
        "width": 640,
        "height": 480,
        "duration_s": 4.133,
        "frames": 122,
        "rotation": 0,
    },
    "verdict": "likely_manipulated",
    "examined": ["face"],
    "score": 0.9741,
    "log_likelihood_ratio": 1.5751,
    "reasons": [{"code": "failed_frames", "detail": "1 of 32 frames could not be decoded"}],
    "tracks": [
        {
            "track": 0,
            "verdict": "likely_manipulated",
            "score": 0.9741,
            "log_likelihood_ratio": 1.5751,
            "first_s": 0.0,
            "last_s": 4.1,
            "faces": 32,
            "judged": 31,
            "moments": [{"start_s": 0.1, "end_s": 0.9, "peak_s": 0.5, "peak_score": 0.9941}],
            "reasons": [],
        }
    ],
    "frames": {"sampled": 32, "with_face": 32, "failed": 1, "longest_gap_s": 0.133},
    "faces": [
        {
            "time_s": 0.5,
            "track": 0,
            "box": [233.0, 94.3, 418.4, 352.7],
            "confidence": 0.9999,
            "score": None,
            "log_likelihood_ratio": None,
            "verdict": "unable_to_evaluate",
            "quality": {
                "face_px": 185.4,
                "sharpness": 16.76,
                "blockiness": 1.151,
                "exposure": 0.306,
            },
            "reasons": [{"code": "face_too_blurred", "detail": "too blurred"}],
        }
    ],
}
"""A job's result as version 0.1.0 stored it."""


async def _job_with_result(service: Service, result: dict[str, Any]) -> dict[str, Any]:
    job_id = (await post_video(service)).json()["id"]
    vault = service.app.state.shared.services.vault
    with service.database.write() as session:
        job = session.get_one(Job, job_id)
        case = session.get_one(Case, job.case_id)
        seal_json(vault.case_key(case), job, result)
        job.state, job.verdict = JobState.SUCCEEDED, result["verdict"]
    answer = await service.client.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["result"]
    return found


async def test_a_result_is_published_as_it_was_stored(service: Service) -> None:
    assert await _job_with_result(service, STORED_RESULT) == STORED_RESULT


async def test_a_leaning_and_kinds_are_published(service: Service) -> None:
    leaning = copy.deepcopy(STORED_RESULT)
    shown = {"leaning": "towards_manipulated", "kinds": {"swap": 0.7, "reenactment": 0.3}}
    leaning |= shown
    leaning["tracks"][0] |= shown
    leaning["faces"][0]["leaning"] = "neither"
    assert await _job_with_result(service, leaning) == leaning
    schemas = service.app.openapi()["components"]["schemas"]
    for name in ("ResultOut", "TrackOut", "FrameOut", "TrackedFaceOut", "PlainJob"):
        assert "never proves" in schemas[name]["properties"]["leaning"]["description"]


async def test_a_result_of_a_newer_version_is_published(service: Service) -> None:
    newer = copy.deepcopy(STORED_RESULT)
    newer["faces"][0]["more"] = newer["faces"][0]["quality"]["more"] = newer["frames"]["more"] = 1
    newer["faces"][0]["reasons"] = [{"code": "of_tomorrow", "detail": "new", "more": 1}]
    result = await _job_with_result(service, newer)
    assert result["faces"][0]["reasons"] == [{"code": "of_tomorrow", "detail": "new"}]
    assert "more" not in result["faces"][0]
