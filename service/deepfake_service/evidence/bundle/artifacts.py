"""Material for evidence, gathered during the examination: media may be deleted before a review.

It is stored as one ZIP, sealed under the case's key: ``examination.json`` with the verdict, the
unrounded values of every face, hashes and the container's metadata; the most suspect face crops at
the network's input size, lossless, so that they can be scored again exactly; and overlays that show
what contributed to their scores.
"""

from __future__ import annotations

import io
import json
import math
import platform
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_models.bundle.bundle import MANIFEST, BundleSpec
from deepfake_models.bundle.results import Face, MediaFacts, Verdict
from deepfake_models.bundle.spec import CropSpec
from deepfake_models.decision.serialization import ExactRecord, exact_record, load_verdict
from deepfake_models.errors import DecoderFailed, DecoderTooSlow, MediaError
from deepfake_models.faces.crops import cut_views, outside, squares
from deepfake_models.machine import installed_versions
from deepfake_models.media.interface import Frame, OpenMedia
from deepfake_models.scorer import Scorer
from deepfake_service.evidence.bundle.documents import (
    About,
    Cutout,
    Examination,
    FacePicture,
    Failed,
    FrameHashes,
    Likeness,
    Reliability,
    StatedDecision,
    read,
)
from deepfake_service.evidence.bundle.perceptual_hashes import hash_media
from deepfake_service.evidence.bundle.signs import Rect
from deepfake_service.evidence.bundle.zip_format import sha256, zipped

MAX_GATHERED_FACES = 16
"""Faces that are shown: enough for several people, few enough for a report that can be printed."""
MAX_CUTOUTS = 20
"""Places that reviewers marked and that are shown, of the newest decisions: those of one with the
most signs."""
CUTOUT_MARGIN = 0.5
"""Of the longer side of a place: what is around it is shown as well, at least 16 pixels."""
MAX_CUTOUT_SIDE = 1024
"""Pixels of a side beyond which a cut-out is reduced. Twenty of this size have some 40 MB."""
OUTSIDE = 128
"""Grey, in 8-bit RGB, of what lies outside the picture."""
PICTURE_FOLDERS = ("crops/", "heatmaps/", "places/")
EXAMINATION = "examination.json"
MODEL_MANIFEST, MODEL_RATES = "model/bundle.json", "model/reliability.json"
MODEL_CARD = "model/model-card.md"
UNDECODED = "the media could not be decoded"
TOO_SLOW = "decoding the frames that are hashed took longer than is allowed"
DECODER_ENDED = "the decoder failed repeatedly on the frames that are hashed"
VERSIONS = ("deepfake-service", "av", "numpy", "onnxruntime", "onnxruntime-gpu", "pillow")


@dataclass(frozen=True, slots=True)
class Material:
    """The content of ``examination.json``, and files by name.

    The files are ``crops/001.png``, ``heatmaps/001.png`` where the model has a map, and so on, for
    an edition also the cut-outs in ``places/``, and the model's ``model/bundle.json``,
    ``model/reliability.json`` and ``model/model-card.md``. Where the model sees several squares of
    a face, the further ones are ``crops/001-2.png`` and so on.
    """

    examination: Examination
    files: dict[str, bytes]

    @property
    def pictures(self) -> dict[str, bytes]:
        """The files that show a face, or a place that a reviewer marked."""
        return {n: c for n, c in self.files.items() if n.startswith(PICTURE_FOLDERS)}

    @property
    def spec(self) -> BundleSpec:
        """The specification in the model's manifest."""
        return BundleSpec.model_validate_json(self.files[MODEL_MANIFEST])

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the model's manifest, which identifies the model."""
        return sha256(self.files[MODEL_MANIFEST])

    @property
    def reliability(self) -> Reliability:
        """The model's measured error rates."""
        return read(Reliability, self.files[MODEL_RATES], MODEL_RATES)

    def face(self, number: int) -> bytes:
        """Return a face as people see it (``as_seen``); ``KeyError`` if there is none with this
        number."""
        picture = {p.number: p for p in self.examination.pictures}[number]
        margin = margin_of(self.examination.exact, picture.face, self.spec.crop)
        return as_seen(self.files[picture.crop], margin)

    def pack(self) -> bytes:
        """Return the material as one ZIP file."""
        return zipped({EXAMINATION: self.examination.model_dump_json().encode(), **self.files})

    @classmethod
    def unpack(cls, packed: bytes) -> Material:
        """Return the material from the file that ``pack`` returned; ``Failed`` if ``packed``
        is not such a file."""
        try:
            with zipfile.ZipFile(io.BytesIO(packed)) as archive:
                files = {name: archive.read(name) for name in archive.namelist()}
            return cls(read(Examination, files.pop(EXAMINATION), EXAMINATION), files)
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise Failed("the stored material of the evidence cannot be read") from error


@dataclass
class Gatherer:
    """Gathers material over as many openings of the media as it takes.

    What was taken in one of them is not lost where the decoder fails after it: hashing the frames
    of a long video takes far longer than cutting the faces.
    """

    scorer: Scorer
    verdict: Verdict
    examined_s: Sequence[float]
    """Times in seconds of the frames that the verdict is based on."""
    examined_at: datetime
    about: About
    within_s: tuple[float, float] | None = None
    """The part of a video that was examined, if not all of it."""
    _pictures: tuple[FacePicture, ...] | None = None
    _files: dict[str, bytes] = field(default_factory=dict)
    _hashes: tuple[FrameHashes, Likeness] | None = None
    _reason: str = UNDECODED

    def take(self, media: OpenMedia) -> None:
        """Take what is still missing from opened media, or raise as ``OpenMedia.frames`` does."""
        if self._pictures is None:
            faces = self.verdict.faces
            chosen = suspect_faces(faces)
            self._pictures, self._files = _pictures(media, faces, chosen, self.scorer)
        if self._hashes is None:
            self._hashes = hash_media(media)

    def end(self, error: MediaError) -> None:
        """Note why nothing more can be taken."""
        if self._pictures is not None and isinstance(error, DecoderFailed):
            self._reason = TOO_SLOW if isinstance(error, DecoderTooSlow) else DECODER_ENDED

    def material(self) -> Material:
        """Return what was taken. Hashes that are missing state the reason."""
        hashes, likeness = self._hashes or (
            FrameHashes(pdq=None, reason=self._reason),
            Likeness(),
        )
        examination = Examination(
            **dict(self.about),
            result=load_verdict(json.dumps(self.verdict.to_json()).encode()),
            exact=exact_record(self.verdict),
            examined_at=self.examined_at.isoformat(timespec="milliseconds"),
            examined_s=tuple(float(t) for t in self.examined_s),
            within_s=self.within_s,
            pictures=self._pictures or (),
            hashes=hashes,
            likeness=likeness,
            software=software(),
        )
        bundle = self.scorer.bundle.directory
        model = {
            MODEL_MANIFEST: (bundle / MANIFEST).read_bytes(),
            MODEL_RATES: (bundle / "reliability.json").read_bytes(),
            MODEL_CARD: (bundle / "MODEL_CARD.md").read_bytes(),
        }
        return Material(examination, {**self._files, **model})


def suspect_faces(faces: Sequence[Face]) -> list[int]:
    """Return the indices of the scored faces to show, in order of time.

    They are every track's most suspect face, then the most suspect ones of all: at most
    ``MAX_GATHERED_FACES``, and no two of one track within a second, or of a frame that is shown for
    long.
    """
    scored = [i for i, face in enumerate(faces) if face.logit is not None]
    by_value = sorted(scored, key=lambda i: (-(faces[i].logit or 0.0), i))
    first: dict[int, int] = {}
    for i in by_value:
        first.setdefault(faces[i].track, i)
    chosen = list(first.values())[:MAX_GATHERED_FACES]
    for i in by_value:
        if len(chosen) == MAX_GATHERED_FACES:
            break
        face, others = faces[i], [faces[k] for k in chosen if faces[k].track == faces[i].track]
        is_shown = (face.box, face.logit) in [(other.box, other.logit) for other in others]
        if not is_shown and all(abs(face.time_s - other.time_s) >= 1.0 for other in others):
            chosen.append(i)
    return sorted(chosen)


def _pictures(
    media: OpenMedia, faces: Sequence[Face], chosen: Sequence[int], scorer: Scorer
) -> tuple[tuple[FacePicture, ...], dict[str, bytes]]:
    at: dict[int, list[int]] = {}
    for i in chosen:
        at.setdefault(index_at(media, faces[i].time_s), []).append(i)
    crops: dict[int, NDArray[np.uint8]] = {}
    for _, pixels, index in decoded(media, sorted(at)):
        for i in at[index]:
            crops[i] = cut_views(pixels, faces[i].box, scorer.bundle.spec.crop, faces[i].turn)
    if not crops:
        return (), {}
    shown = sorted(crops)
    still = media.facts.kind == "image"
    maps = scorer.classifier.activation_maps([crops[i] for i in shown], still=still)
    strongest = 1e-6 if maps is None else max(float(maps.max()), 1e-6)
    pictures: list[FacePicture] = []
    files: dict[str, bytes] = {}
    for number, i in enumerate(shown, start=1):
        first, *others = squares(crops[i])
        crop, heatmap = f"crops/{number:03}.png", None
        further = {f"crops/{number:03}-{k}.png": png(s) for k, s in enumerate(others, start=2)}
        files |= {crop: png(first), **further}
        if maps is not None:
            heatmap = f"heatmaps/{number:03}.png"
            files[heatmap] = png(heat(maps[number - 1] / strongest, len(first)))
        names = tuple(further) or None
        pictures.append(
            FacePicture(number=number, face=i, crop=crop, heatmap=heatmap, further=names)
        )
    return tuple(pictures), files


def index_at(media: OpenMedia, time_s: float) -> int:
    """Return the index of the frame that is shown at a time. One that is shown for long counts at
    later times as well."""
    return max(int(np.searchsorted(media.times, time_s + 1e-6, side="right")) - 1, 0)


def decoded(
    media: OpenMedia, indices: Sequence[int]
) -> Iterator[tuple[float, NDArray[np.uint8], int]]:
    """Yield time, pixels and index of the frames of ``indices`` that can be decoded."""
    for frame in media.frames(indices):
        if isinstance(frame, Frame):
            yield frame.time_s, frame.pixels, frame.index


def marked_places(reviews: Sequence[StatedDecision], media: MediaFacts | None) -> list[Cutout]:
    """Return the places that reviewers marked, at most ``MAX_CUTOUTS``, in order of time: each has
    a rectangle, and in a video a moment. Whether there is a picture is not said yet."""
    marked: dict[str, Cutout] = {}
    for sign in [sign for review in reversed(reviews) for sign in review.signs]:
        if media and sign.rect and (media.kind == "image" or sign.time_s is not None):
            shown = _surroundings(sign.rect, media)
            place = Cutout(time_s=sign.time_s, rect=sign.rect, shown=shown)
            marked.setdefault(place.name, place)
    chosen = list(marked.values())[:MAX_CUTOUTS]
    return sorted(chosen, key=lambda place: (place.time_s or 0.0, place.rect))


def _surroundings(rect: Rect, media: MediaFacts) -> tuple[int, int, int, int]:
    left, top, right, bottom = rect
    margin = max(CUTOUT_MARGIN * max(right - left, bottom - top), 16)
    begin = max(math.floor(left - margin), 0), max(math.floor(top - margin), 0)
    end = math.ceil(right + margin), math.ceil(bottom + margin)
    return *begin, min(end[0], media.width), min(end[1], media.height)


def cut_places(media: OpenMedia, places: Sequence[Cutout]) -> dict[str, NDArray[np.uint8]]:
    """Return the pictures of ``places`` that can be decoded, (H, W, 3) uint8 RGB by name."""
    at: dict[int, list[Cutout]] = {}
    for place in places:
        at.setdefault(index_at(media, place.time_s or 0.0), []).append(place)
    pictures: dict[str, NDArray[np.uint8]] = {}
    for _, pixels, index in decoded(media, sorted(at)):
        for place in at[index]:
            left, top, right, bottom = place.shown
            picture = Image.fromarray(pixels[top:bottom, left:right])
            picture.thumbnail((MAX_CUTOUT_SIDE, MAX_CUTOUT_SIDE), Image.Resampling.LANCZOS)
            pictures[place.name] = np.asarray(picture)
    return pictures


def margin_of(exact: ExactRecord, number: int, crop: CropSpec) -> NDArray[np.bool_]:
    """Return which pixels of the first square of the face with a number lie outside the picture:
    (size, size) bool."""
    media, face = exact.media, exact.faces[number]
    assert media is not None
    return outside(face.box, (media.width, media.height), crop.scale, crop.size, face.turn)


def as_seen(crop: bytes, margin: NDArray[np.bool_]) -> bytes:
    """Return the PNG of a crop as people see it: grey in the ``margin`` outside the picture, which
    the model's input fills by reflection. Mirrored eyes would look like a manipulation."""
    if not margin.any():
        return crop
    pixels = pixels_of(crop, margin.shape).copy()
    pixels[margin] = OUTSIDE
    return png(pixels)


def heat(shares: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """Return an activation map as an RGBA overlay, (size, size, 4) uint8.

    The more opaque the red, the more the place adds to the face's value. Values below zero, which
    lower it, are transparent.
    """
    clipped = Image.fromarray(np.clip(shares, 0.0, 1.0).astype(np.float32))
    grown = np.asarray(clipped.resize((size, size), Image.Resampling.BICUBIC))
    overlay = np.zeros((size, size, 4), np.uint8)
    overlay[..., 0] = 224
    overlay[..., 3] = np.clip(grown * 150.0, 0.0, 150.0).astype(np.uint8)
    return overlay


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode RGB or RGBA pixels, (H, W, 3 or 4) uint8, as a PNG."""
    file = io.BytesIO()
    # Pillow's default takes four times as long, to save 7% of a crop.
    Image.fromarray(pixels).save(file, "PNG", compress_level=2)
    return file.getvalue()


def pixels_of(content: bytes, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Decode a PNG that ``png`` wrote to RGB pixels, (*size, 3) uint8; ``Failed``, before they are
    decoded, if its header has another ``size`` than this height and width."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        if (image.height, image.width) != size:
            raise Failed(
                f"the picture has {image.width}x{image.height} px instead of {size[1]}x{size[0]}"
            )
        return np.asarray(image.convert("RGB"))


def software() -> dict[str, str]:
    """Return the names and versions of the software that computes results."""
    here = {"python": platform.python_version(), "machine": platform.machine()}
    return here | installed_versions(VERSIONS)
