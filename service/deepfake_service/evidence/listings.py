"""What lists show of a job: name, platform, value between its thresholds, and a small picture.

All of it is sealed under the key of the case. Only ``Job.rank`` is in plain text, because a list of
ten thousand jobs cannot be put in order by values that have to be opened first. It has steps of
half a decade, and so tells little more than the verdict and the leaning, which are plain as well.
"""

from __future__ import annotations

import io
import math
from dataclasses import asdict, dataclass, replace

from PIL import Image, ImageFilter
from sqlalchemy.orm import Session

from deepfake_models.bundle.results import VerdictCode
from deepfake_service.evidence.bundle.artifacts import Material
from deepfake_service.platform.db import Job, Listing
from deepfake_service.platform.storage import context_of, open_json, seal_json
from deepfake_service.platform.storage.envelope import seal

STEPS_PER_DECADE = 2
MAX_RANK = 20
THUMBNAIL_PX = 14
"""Width of a thumbnail. So few pixels are blurred for good: there is no sharp picture behind it."""
_BLUR_PX = 8


@dataclass(frozen=True, slots=True)
class ListEntry:
    """What lists show of a job; ``None`` is not known."""

    name: str | None = None
    platform: str | None = None
    llr: float | None = None
    still: bool | None = None
    """Whether it is a picture."""
    duration_s: float | None = None
    low: float | None = None
    high: float | None = None
    """The thresholds of the value."""
    limit: float | None = None
    """The largest value."""


Listed = tuple[ListEntry, bytes | None]
"""What the end of an examination adds to a job's entry in lists: all but name and platform, and a
thumbnail where its evidence can show faces."""


def rank_of(log10_ratio: float | None) -> int | None:
    """Return the step of half a decade in which a log10 likelihood ratio lies, in [-20, 20]."""
    if log10_ratio is None:
        return None
    return max(-MAX_RANK, min(MAX_RANK, math.floor(STEPS_PER_DECADE * log10_ratio)))


def begin_listing(
    session: Session, case_key: bytes, job_id: str, name: str | None, platform: str | None
) -> None:
    """Store what is known of a new job."""
    listing = Listing(id=job_id)
    seal_json(case_key, listing, asdict(ListEntry(name, platform)))
    session.add(listing)


def end_listing(session: Session, case_key: bytes, job: Job, listed: Listed) -> None:
    """Add the result of a job that ends to its entry, and rank the job."""
    listing, (result, thumbnail) = session.get_one(Listing, job.id), listed
    known = open_listing(case_key, listing)
    result = replace(result, name=known.name, platform=known.platform)
    seal_json(case_key, listing, asdict(result))
    job.shown, job.rank = thumbnail is not None, rank_of(result.llr)
    if thumbnail is not None:
        listing.thumbnail = seal(case_key, thumbnail, context_of("thumbnail", job.id))


def open_listing(case_key: bytes, listing: Listing | None) -> ListEntry:
    """Return what is known of a job."""
    return ListEntry(**open_json(case_key, listing)) if listing is not None else ListEntry()


def open_reasons(case_key: bytes, job: Job) -> list[str]:
    """Return the codes of the reasons for which a job could not be evaluated, each once."""
    if job.verdict != VerdictCode.UNABLE_TO_EVALUATE or job.result is None:
        return []
    return list(dict.fromkeys(reason["code"] for reason in open_json(case_key, job)["reasons"]))


def listed_result(material: Material) -> Listed:
    """Return what lists show of the material of a job's evidence."""
    result = material.examination.result
    media, still = result.media, result.media is not None and result.media.kind == "image"
    entry = ListEntry(
        llr=result.log_likelihood_ratio,
        still=still if media else None,
        duration_s=media.duration_s if media else None,
    )
    if entry.llr is not None:
        spec = material.spec
        level = spec.thresholds.still if still else spec.thresholds.item
        calibration = spec.calibration.face if still else spec.calibration.item
        entry = replace(
            entry,
            low=level.no_manipulation_found,
            high=level.likely_manipulated,
            limit=calibration.limit,
        )
    return entry, _thumbnail(material)


def _thumbnail(material: Material) -> bytes | None:
    shown, faces = material.examination.pictures, material.examination.exact.faces
    if not shown:
        return None
    top = max(shown, key=lambda picture: faces[picture.face].logit or 0.0)
    with Image.open(io.BytesIO(material.face(top.number))) as picture:
        blurred = picture.convert("RGB").filter(ImageFilter.GaussianBlur(_BLUR_PX))
    small = blurred.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=70)
    return out.getvalue()
