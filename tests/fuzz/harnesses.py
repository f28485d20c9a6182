"""What is given mutants, and what must be true of every answer.

A harness returns after a documented error, and raises what must not happen.
"""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import rfc8785
from starlette.requests import Request

from deepfake_models.bundle.bundle import MANIFEST, load_bundle
from deepfake_models.bundle.results import VerdictCode
from deepfake_models.errors import BundleError, DecoderFailed, MediaError
from deepfake_models.media.credentials import CredentialState
from deepfake_models.media.decoder import mime_of
from deepfake_models.media.image import HEAD_BYTES
from deepfake_models.media.interface import DecodeLimits
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_models.scorer import Scorer
from deepfake_service.evidence.bundle.documents import Failed
from deepfake_service.evidence.bundle.look_format import file_of
from deepfake_service.evidence.bundle.readers import BundleReaders
from deepfake_service.evidence.bundle.steps import ExitCode
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.http.admission import UploadMemory
from deepfake_service.http.problems import problem_of
from deepfake_service.http.submission_form import PictureForm
from deepfake_service.http.uploads import Pictures, SubmittedForm
from deepfake_service.platform.errors import ServiceError
from deepfake_service.platform.settings import Settings
from tests.support import exhibits, small_bundles
from tests.support.mutation import requests

FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus"
REGRESSIONS = FOLDER / "regressions"

LIMITS = DecodeLimits(max_pixels=4_000_000, timeout_s=20.0)
PARENT_CPU_S = 20.0
"""Processor time of the parent for one mutant; the child has limits of its own."""

Harness = Callable[[bytes], None]

PICTURES = ("jpeg", "png", "webp", "gif", "avif", "heic")
MEDIA = ("mp4", "webm", *PICTURES)
FORMS = {
    "media": MEDIA,
    "credentials": ("mp4", "jpeg", "png", "webp"),
    "crop": ("png",),
    "evidence": ("evidence",),
    "looks": ("looks",),
    "report": ("pdf",),
    "request": ("multipart",),
    "model": ("json",),
}
"""The formats that each harness is given."""


@cache
def corpus() -> list[Path]:
    """Return the files of the corpus; the parent folder of each is its format."""
    return sorted(p for p in CORPUS.rglob("*") if p.is_file())


@cache
def seeds(form: str) -> list[bytes]:
    """Return the files of a format that mutants are made of."""
    match form:
        case "evidence":
            return [_evidence()]
        case "looks":
            return [file_of(exhibits.looks())]
        case "pdf":
            return [exhibits.bag.unzipped(_evidence())["data/report-en.pdf"]]
        case "multipart":
            return [requests.BODY]
    return [path.read_bytes() for path in corpus() if path.parent.name == form]


@cache
def _evidence() -> bytes:
    picture = (CORPUS / "jpeg" / "exif.jpg").read_bytes()
    return exhibits.build(exhibits.dossier(picture), exhibits.material(picture), exhibits.signers())


@contextmanager
def opened() -> Iterator[dict[str, Harness]]:
    """Open the parts of the service that the harnesses call."""
    with (
        closing(ProcessDecoder(LIMITS, 1)) as decoder,
        closing(BundleReaders(1)) as readers,
        _model_folder() as folder,
    ):
        scorer = Scorer.open(small_bundles.small_bundle_dir(), decoder=decoder, threads=1)
        yield {
            "media": lambda data: check_media(scorer, data),
            "credentials": lambda data: check_credentials(decoder, data),
            "crop": lambda data: check_crop(readers, data),
            "evidence": lambda data: check_evidence(readers, data),
            "looks": lambda data: check_looks(readers, data),
            "report": lambda data: check_report(readers, data),
            "request": check_request,
            "model": lambda data: check_model(folder, data),
        }


@contextmanager
def bounded() -> Iterator[None]:
    """Assert that this process spends little time on what happens in the context."""
    started = time.thread_time()
    yield
    assert time.thread_time() - started < PARENT_CPU_S


def check_media(scorer: Scorer, data: bytes) -> None:
    """Assert that scoring gives an answer, and that a failure never has a score."""
    verdict = scorer.score(io.BytesIO(data), frames=2)
    decided = (VerdictCode.LIKELY_MANIPULATED, VerdictCode.NO_MANIPULATION_FOUND)
    without_score = (VerdictCode.NOT_APPLICABLE, VerdictCode.UNABLE_TO_EVALUATE)
    assert (verdict.score is None) == (verdict.verdict in without_score)
    assert verdict.verdict in decided or verdict.reasons
    assert verdict.score is None or 0.0 <= verdict.score <= 1.0
    json.dumps(verdict.to_json(), ensure_ascii=False, allow_nan=False).encode()


def check_credentials(decoder: ProcessDecoder, data: bytes) -> None:
    """Assert that Content Credentials have a state, or that the file costs its reader."""
    with suppress(DecoderFailed, MediaError):
        found = decoder.read_credentials(io.BytesIO(data), mime_of(data[:HEAD_BYTES]))
        assert found["state"] in list(CredentialState)
        # Nobody vouches for any signer here.
        assert found["state"] != CredentialState.TRUSTED
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()


def check_crop(readers: BundleReaders, data: bytes) -> None:
    """Assert that a crop of a bundle has its size, or is refused."""
    with suppress(Failed):
        assert readers.picture(data, 40).shape == (40, 40, 3)


def check_evidence(readers: BundleReaders, data: bytes) -> None:
    """Assert that no bundle is verified but the one that was issued, byte for byte."""
    _check_issued(readers, data, [_evidence()])


def check_looks(readers: BundleReaders, data: bytes) -> None:
    """Assert the same of a file of looks, of which the newest may be missing."""
    records = exhibits.looks()
    issued = [file_of(records[:count]) for count in range(1, len(records) + 1)]
    _check_issued(readers, data, issued)
    with suppress(ValueError, RecursionError):  # what is not in canonical form gets less far
        _check_issued(readers, rfc8785.dumps(json.loads(data)), issued)


def _check_issued(readers: BundleReaders, data: bytes, genuine: list[bytes]) -> None:
    issued = data in genuine
    own = (exhibits.signers().statement.public_key(),)
    for trust in (Trust(keys=own), Trust()):
        verification = verify(data, trust, readers=readers)
        assert (verification.exit_code is ExitCode.VERIFIED) == (issued and bool(trust.keys))
        if trust.keys and not issued:
            assert verification.exit_code is ExitCode.FAILED
        assert all(step.detail.isprintable() for step in verification.steps)
        verification.published().model_dump_json().encode()


def check_report(readers: BundleReaders, data: bytes) -> None:
    """Assert that a report is valid or refused."""
    files = exhibits.bag.unzipped(_evidence())
    certificates = files["signatures/report-certificates.pem"]
    with suppress(Failed):
        readers.check_report(data, certificates, datetime.now(UTC))
        # The digits of the signature may be written in another way, and nothing else.
        assert len(data) == len(seeds("pdf")[0])


def check_request(data: bytes) -> None:
    """Assert that a multipart request is read, or refused as the client's fault."""
    content_type, _, body = data.partition(b"\n")
    refusal: ServiceError | None = None
    try:
        asyncio.run(_read(content_type, body))
    except ServiceError as error:
        refusal = error
    assert refusal is None or problem_of(refusal).status < 500


async def _read(content_type: bytes, body: bytes) -> None:
    settings = Settings(max_buffered_bytes=1_000_000)
    state = SimpleNamespace(shared=SimpleNamespace(settings=settings))
    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/v1/frames",
        "headers": [(b"content-type", content_type)], "app": SimpleNamespace(state=state),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    sent = SubmittedForm(PictureForm, pictures=Pictures("files", 64, 100_000))
    with sent.held_in(UploadMemory(1_000_000)):
        form = await sent.read(Request(scope, receive), settings.max_request_bytes)
        assert all(upload.name.isprintable() for upload in sent.uploads)
        form.submission()


def check_model(folder: Path, data: bytes) -> None:
    """Assert that a bundle with this manifest is loaded or refused as ``BundleError``."""
    (folder / MANIFEST).write_bytes(data)
    with suppress(BundleError):
        json.dumps(load_bundle(folder).spec.model_dump(mode="json"), allow_nan=False)


@contextmanager
def _model_folder() -> Iterator[Path]:
    """Yield a copy of the small bundle."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "bundle"
        shutil.copytree(small_bundles.small_bundle_dir(), folder)
        yield folder
