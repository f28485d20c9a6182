"""What people look at in kept media: frames at their own pixels, faces in order of time, and how
much they change from frame to frame.

Media are decoded in the sandbox whenever someone looks, and nothing of it is stored. A look is
audited as playing the medium is, once in ten minutes. Nothing here scores anything.
"""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from sqlalchemy.orm import Session

from deepfake_models.bundle.results import Box
from deepfake_models.decision.serialization import ExactFace
from deepfake_models.errors import MediaError, UndecodableMedia
from deepfake_models.faces.crops import whole_square
from deepfake_models.media.interface import OpenMedia
from deepfake_models.sandbox.decoder import Decoder
from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import find_visible
from deepfake_service.evidence.bundle.artifacts import OUTSIDE, decoded, index_at, png
from deepfake_service.evidence.store import examination_of
from deepfake_service.platform.answers import Published
from deepfake_service.platform.db import Case, Database, Job
from deepfake_service.platform.enums import JobState
from deepfake_service.platform.errors import Code, Conflict, NotFound, invalid_field
from deepfake_service.platform.storage import Vault
from deepfake_service.platform.storage.blobs import missing_as
from deepfake_service.review.changes import Peak, patch, peaks_of, region_changes, unmatched
from deepfake_service.review.motion import aligned, magnified
from deepfake_service.review.queries import Queries
from deepfake_service.review.views import VIEWS, View

MAX_FACES = 240
"""Faces on one contact sheet."""
AROUND_S = 0.6
MAX_AROUND = 40
"""Around a moment, all frames within this many seconds of it, and at most so many."""
FACE_SCALE = 1.6
MAX_SIDE = 256
"""A face is shown with so much around it, at its own pixels up to this side."""
MAX_FRAMES = 300
"""Frames between which changes are measured for one request."""
MAX_PEOPLE = 4
LINKED_S = 2.5
"""Between two examined frames that are at most so far apart, a person's box moves evenly."""
MOTION_S = 4.0
MOTION_QUALITY = 75
QUALITY = 90
"""Of WebP, for small pictures of faces. Whole frames are lossless."""


class FaceView(Published):
    """One face in one frame."""

    time_s: float = Field(description="When the frame is shown, in seconds.")
    person: int = Field(description="Number of the person, as in the evidence.")
    box: Box = Field(description="Left, top, right, bottom, in pixels of the frame.")
    picture: str = Field(description="The face with its surroundings: WebP in base64.")


class FaceSheet(Published):
    """Faces in order of time."""

    faces: list[FaceView] = Field(description="The faces.")
    omitted: int = Field(description="Faces left out, evenly, because there are too many.")


class PersonChanges(Published):
    """How much a person's face and what is around it change from frame to frame.

    Numbers are mean absolute differences of 8-bit RGB that remain once motion is taken out."""

    person: int = Field(description="Number of the person, as in the evidence.")
    times: list[float] = Field(description="When each frame is shown that was compared.")
    inside: list[float] = Field(description="Change of the inside of the face.")
    edge: list[float] = Field(description="Change along its edge.")
    around: list[float] = Field(description="Change around it.")
    peaks: list[Peak] = Field(description="Moments to look at. They prove nothing.")


class Changes(Published):
    """Changes between the frames of a part of a video."""

    people: list[PersonChanges] = Field(description="The largest faces, largest first.")
    next_s: float | None
    """From where to ask for the next part; null at the end of the video."""


@dataclass(frozen=True, slots=True)
class MediaViewer:
    """Shows kept media to callers, who find only what they may see.

    All methods raise ``NotFound`` if there is no such job, the caller may not see it, or its medium
    is no longer kept; ``Forbidden`` if a person shown may be a minor; ``Conflict`` if
    the job has no result, or the medium cannot be decoded there.
    """

    database: Database
    vault: Vault
    queries: Queries
    decoder: Decoder

    def frame(self, caller: Caller, job_id: str, at_s: float, view: View | None) -> bytes:
        """Return the frame that is shown at ``at_s`` seconds, or a view of it, as PNG."""
        with self._opened(caller, job_id) as media:
            return _frame_at(media, at_s, view)

    def frame_of_medium(self, caller: Caller, case_id: str, media_id: str, at_s: float) -> bytes:
        """Return the frame of any kept medium of a case, which need not have a job."""
        file, _ = self.queries.playback(caller, case_id, media_id)
        with self._decoded(file) as media:
            return _frame_at(media, at_s, None)

    def require_shown(self, field: str, blob: str, key: bytes) -> None:
        """Raise ``InvalidRequest``, naming the field, unless the first frame of a stored medium can
        be decoded."""
        try:
            with self._decoded(self.vault.open(blob, key)) as media:
                _frame_at(media, 0.0, None)
        except Conflict as error:
            raise invalid_field(field, "send a picture or a video that can be decoded") from error

    def sheet(self, caller: Caller, job_id: str, around_s: float | None) -> FaceSheet:
        """Return all examined faces in order of time, or those of every frame around a moment."""
        faces = self._faces(caller, job_id)
        with self._opened(caller, job_id) as media:
            if around_s is None:
                shown = [(index_at(media, f.time_s), f.track, f.box) for f in faces]
            else:
                paths = _paths(faces)
                near = np.flatnonzero(np.abs(media.times - around_s) <= AROUND_S).tolist()
                nearest = sorted(near, key=lambda i: abs(media.times[i] - around_s))[:MAX_AROUND]
                shown = [
                    (index, track, box)
                    for index in sorted(nearest)
                    for track, path in paths.items()
                    if (box := path.box_at(float(media.times[index]))) is not None
                ]
            shown = sorted(set(shown))
            kept = shown[:: -(-len(shown) // MAX_FACES) or 1]
            of_frame = defaultdict(list)
            for index, track, box in kept:
                of_frame[index].append((track, box))
            views = [
                FaceView(time_s=time_s, person=track + 1, box=box, picture=_cut_out(pixels, box))
                for time_s, pixels, index in decoded(media, sorted(of_frame))
                for track, box in of_frame[index]
            ]
        return FaceSheet(faces=views, omitted=len(shown) - len(kept))

    def changes(self, caller: Caller, job_id: str, from_s: float) -> Changes:
        """Return how much faces change between the first ``MAX_FRAMES`` frames from ``from_s``."""
        paths = _largest(_paths(self._faces(caller, job_id)))
        with self._opened(caller, job_id) as media:
            first = int(np.searchsorted(media.times, from_s))
            indices = list(range(first, min(first + MAX_FRAMES, len(media.times))))
            found: dict[int, list[tuple[float, tuple[float, float, float]]]] = defaultdict(list)
            before: NDArray[np.uint8] | None = None
            for time_s, pixels, _ in decoded(media, indices):
                for track, path in paths.items():
                    box = path.box_at(time_s)
                    if before is not None and box is not None:
                        apart = unmatched(patch(before, box), patch(pixels, box))
                        found[track].append((time_s, region_changes(apart)))
                before = pixels
            end = indices[-1] if indices else len(media.times)
            following = float(media.times[end]) if end + 1 < len(media.times) else None
        return Changes(
            people=[_of_person(track, found[track]) for track in paths if found[track]],
            next_s=following,
        )

    def motion(self, caller: Caller, job_id: str, person: int, from_s: float) -> bytes:
        """Return a person's face from a moment on, beside itself with its small motions magnified,
        as an animated WebP. ``NotFound`` if the person is not seen in two frames of it."""
        path = _paths(self._faces(caller, job_id)).get(person - 1)
        with self._opened(caller, job_id) as media:
            if path is None:
                raise NotFound
            within = (media.times >= from_s) & (media.times < from_s + MOTION_S)
            indices = np.flatnonzero(within).tolist()[:MAX_FRAMES]
            shown = [
                (time_s, aligned(pixels, box))
                for time_s, pixels, _ in decoded(media, indices)
                if (box := path.box_at(time_s)) is not None
            ]
        if len(shown) < 2:
            raise NotFound
        times = [time_s for time_s, _ in shown]
        first, *rest = magnified([face for _, face in shown], times)
        last_ms = 1000 * (times[-1] - times[-2])
        lasting = [*(1000 * np.diff(times)), last_ms]
        content = io.BytesIO()
        first.save(
            content, "WEBP", save_all=True, append_images=rest, loop=0, quality=MOTION_QUALITY,
            duration=[round(each) for each in lasting],
        )  # fmt: skip
        return content.getvalue()

    def _faces(self, caller: Caller, job_id: str) -> tuple[ExactFace, ...]:
        with self.database.read() as session:
            job, case = _examined(session, caller, job_id)
        with missing_as(NotFound, job_id=job_id):
            return examination_of(self.vault, job, self.vault.case_key(case)).exact.faces

    @contextmanager
    def _opened(self, caller: Caller, job_id: str) -> Iterator[OpenMedia]:
        with self.database.read() as session:
            job, _ = _examined(session, caller, job_id)
        file, _ = self.queries.playback(caller, job.case_id, job.media_id)
        with self._decoded(file) as media:
            yield media

    @contextmanager
    def _decoded(self, file: BinaryIO) -> Iterator[OpenMedia]:
        with file:
            try:
                with self.decoder.open(file) as media:
                    yield media
            except MediaError as error:
                raise Conflict(
                    "The file cannot be decoded at this moment.", code=Code.NOT_REVIEWABLE
                ) from error


def _examined(session: Session, caller: Caller, job_id: str) -> tuple[Job, Case]:
    job, case = find_visible(session, caller, Job, job_id)
    if job.state != JobState.SUCCEEDED:
        raise Conflict("There is no result to look at yet.", code=Code.NOT_REVIEWABLE)
    return job, case


@dataclass(frozen=True, slots=True)
class _Path:
    """Where a person's face is, between the frames in which it was examined."""

    times: NDArray[np.float64]
    boxes: NDArray[np.float64]

    def box_at(self, time_s: float) -> Box | None:
        """Return the box at a time; ``None`` where the person was not seen."""
        after = int(np.searchsorted(self.times, time_s))
        around = self.times[max(after - 1, 0) : after + 1]
        if len(around) < 2:
            exact = after < len(self.times) and self.times[after] == time_s
            return _box(self.boxes[after]) if exact else None
        if around[1] - around[0] > LINKED_S:
            return None
        share = (time_s - around[0]) / (around[1] - around[0])
        return _box(self.boxes[after - 1] * (1 - share) + self.boxes[after] * share)


def _box(values: NDArray[np.float64]) -> Box:
    left, top, right, bottom = values.tolist()
    return left, top, right, bottom


def _paths(faces: Sequence[ExactFace]) -> dict[int, _Path]:
    """Return the path of each track."""
    of_track: dict[int, dict[float, Box]] = defaultdict(dict)
    for face in sorted(faces, key=lambda face: face.time_s):
        of_track[face.track][face.time_s] = face.box
    return {
        track: _Path(np.array(list(seen)), np.array(list(seen.values())))
        for track, seen in of_track.items()
    }


def _largest(paths: dict[int, _Path]) -> dict[int, _Path]:
    def size(track: int) -> float:
        boxes = paths[track].boxes
        return -float((boxes[:, 2] - boxes[:, 0]).max())

    return {track: paths[track] for track in sorted(paths, key=size)[:MAX_PEOPLE]}


def _of_person(
    track: int, found: Sequence[tuple[float, tuple[float, float, float]]]
) -> PersonChanges:
    times = [time_s for time_s, _ in found]
    inside, edge, around = ([round(values[n], 2) for _, values in found] for n in range(3))
    return PersonChanges(
        person=track + 1, times=times, inside=inside, edge=edge, around=around,
        peaks=peaks_of(times, np.array([inside, edge, around])),
    )  # fmt: skip


def _frame_at(media: OpenMedia, at_s: float, view: View | None) -> bytes:
    for _, pixels, _ in decoded(media, [index_at(media, at_s)]):
        return png(VIEWS[view](pixels) if view else pixels)
    raise UndecodableMedia


def _cut_out(pixels: NDArray[np.uint8], box: Box) -> str:
    left, top, right, bottom = whole_square(box, FACE_SCALE)
    face = Image.new("RGB", (right - left, bottom - top), (OUTSIDE,) * 3)
    face.paste(Image.fromarray(pixels), (-left, -top))
    face.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    face.save(content, "WEBP", quality=QUALITY)
    return base64.b64encode(content.getvalue()).decode()
