"""Evidence for tests, its verification, and the tools of an attacker."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import c2pa
import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deepfake_models.bundle.results import Leaning, unable
from deepfake_models.decision.serialization import judge_exact, unjudged
from deepfake_models.errors import MediaError
from deepfake_models.media.credentials import Credentials
from deepfake_models.media.decoder import InProcessDecoder, mime_of
from deepfake_models.media.image import HEAD_BYTES
from deepfake_models.scorer import Scorer
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.artifacts import MODEL_MANIFEST, Gatherer, Material
from deepfake_service.evidence.bundle.builder import build
from deepfake_service.evidence.bundle.documents import (
    About,
    Examination,
    Records,
    VerdictDocument,
)
from deepfake_service.evidence.bundle.dsse import Signers
from deepfake_service.evidence.bundle.look_format import Record, signed_look
from deepfake_service.evidence.bundle.steps import ExitCode, Outcome, Verification
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.evidence.bundle.verification import verify
from tests.support import footage, small_bundles
from tests.support.certificates import self_made_certificate
from tests.support.loopback import serving

EXAMINED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@cache
def scorer() -> Scorer:
    return Scorer.open(small_bundles.small_bundle_dir(), threads=1)


@cache
def video() -> bytes:
    return footage.encode(footage.panning(50, 320, 256))


def material(media: bytes, frames: int | None = None, judge: Scorer | None = None) -> Material:
    """Return a copy of what the worker gathers of a file; each file is examined once."""
    gathered = _material(media, frames, judge or scorer())
    return Material(gathered.examination, dict(gathered.files))


def changed(material: Material, change: Callable[[dict[str, Any]], object]) -> Material:
    """Return material whose ``examination.json`` went through ``change``."""
    found = material.examination.model_dump(mode="json")
    change(found)
    return Material(Examination.model_validate_json(json.dumps(found)), material.files)


def stated(document: dict[str, Any]) -> VerdictDocument:
    """Return the document with this content of ``verdict.json``."""
    return VerdictDocument.model_validate_json(json.dumps(document))


@cache
def _material(media: bytes, frames: int | None, judge: Scorer) -> Material:
    decoder = InProcessDecoder()
    mime = mime_of(media[:HEAD_BYTES])
    credentials = decoder.read_credentials(io.BytesIO(media), mime)
    about = About(mime=mime, content_credentials=Credentials.model_validate(credentials))
    try:
        with decoder.open(io.BytesIO(media)) as opened:
            sampled = judge.plan(opened, frames)
            parts = [judge.examine(opened, sampled)]
            verdict = judge.conclude(opened, sampled, parts)
            seen = [f.time_s for p in parts for f in p.examined]
            gatherer = Gatherer(judge, verdict, seen, EXAMINED_AT, about)
            gatherer.take(opened)
            return gatherer.material()
    except MediaError as error:
        return Gatherer(judge, unable(error), [], EXAMINED_AT, about).material()


KINDS = ("swap", "reenactment", "synthesis", "retouching")


def leaning_material(media: bytes, leans: Leaning = Leaning.TOWARDS_MANIPULATED) -> Material:
    """Return ``material`` of a model with edges of leaning and with kinds.

    Its thresholds lie so far apart that the item is inconclusive, and its edges so that the item
    and its most suspect person lean the given way.
    """
    gathered = material(media)
    value = gathered.examination.result.log_likelihood_ratio
    assert value is not None
    offset = {Leaning.TOWARDS_MANIPULATED: -0.2, Leaning.NEITHER: 0.0}.get(leans, 0.2)
    level = {
        "likely_manipulated": value + 1, "no_manipulation_found": value - 1,
        "false_positive_rate": 0.01, "false_positive_rate_upper": 0.02,
        "true_positive_rate": 0.5, "miss_rate": 0.1,
        "leaning": {
            "towards_manipulated": value + offset + 0.1, "towards_untouched": value + offset - 0.1,
            "false_positive_rate": 0.041, "false_positive_rate_upper": 0.062,
            "true_positive_rate": 0.703, "miss_rate": 0.184, "true_negative_rate": 0.655,
        },
    }  # fmt: skip
    manifest = json.loads(gathered.files[MODEL_MANIFEST])
    manifest["thresholds"] = dict.fromkeys(("face", "track", "item", "picture"), level)
    manifest["kinds"] = KINDS
    gathered.files[MODEL_MANIFEST] = json.dumps(manifest).encode()

    def with_kinds(found: dict[str, Any]) -> None:
        for face in found["exact"]["faces"]:
            if face["logit"] is not None:
                face["kind_logits"] = [0.0, 2.0, -1.0, 0.5]

    return judged_again(changed(gathered, with_kinds))


def judged_again(gathered: Material) -> Material:
    """Return material with the verdict that follows from its faces."""
    judged = judge_exact(unjudged(gathered.examination.exact), gathered.spec)
    assert judged is not None
    result = judged.to_json()
    return changed(gathered, lambda found: found.update(result=result))


@cache
def signers(name: str = "one") -> Signers:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = self_made_certificate(key, "대응센터", datetime.now(UTC))
    return Signers(Ed25519PrivateKey.generate(), key, (certificate,))


def dossier(media: bytes, **changes: Any) -> Records:
    """Return the records of a job on ``media``, with ``changes``."""
    at = "2026-01-02T03:04:05.678+00:00"
    given = {
        "issuer": "디지털성범죄 대응센터",
        "edition": 1,
        "predecessor": None,
        "created_at": at,
        "case": {"id": "c" * 26, "reference": "R-1", "minor": False},
        "job": {
            "id": "j" * 26,
            "kind": "video",
            "frames": None,
            "submitted_at": at,
            "examined_at": at,
            "requester": "Kim (person, analyst)",
        },
        "item": {"sha256": hashlib.sha256(media).hexdigest(), "size": len(media)},
        "occurrences": [
            {
                "id": "o" * 26,
                "recorded_at": at,
                "source_url": "https://example.org/1",
                "platform": "P",
                "account": None,
                "captured_at": at,
                "case_reference": None,
                "tool": "api",
                "collector": "a" * 26,
                "collector_name": "Kim",
                "screenshot": False,
                "note": None,
                "capture": None,
                "capture_sha256": None,
                "claimed": None,
            }
        ],
        "reviews": [],
        "finding": None,
        "custody": {"accounts": {}, "entries": []},
        **changes,
    }
    return Records.model_validate_json(json.dumps(given))


def reviewed(decision: str, name: str = "Kim", reason: str = "seen") -> dict[str, Any]:
    """Return ``changes`` of ``dossier``: one person's decision, as the chain of custody has it."""
    at, account = "2026-01-02T03:04:05.678+00:00", "p" * 26
    entry: dict[str, Any] = {
        "number": 1, "at": at, "account": account, "key": None, "action": "case.reviewed",
        "subject": "j" * 26, "detail": decision, "previous": "0" * 64,
    }  # fmt: skip
    return {
        "reviews": [
            {
                "at": at, "account": account, "name": name, "role": "analyst",
                "decision": decision, "reason": reason, "pictures_withheld": False,
            }
        ],
        "finding": decision,
        "custody": {
            "accounts": {account: {"name": name, "kind": "person", "role": "analyst"}},
            "entries": [chained(entry)],
        },
    }  # fmt: skip


def chained(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of the audit log with its hash."""
    return {**entry, "hash": hashlib.sha256(rfc8785.dumps(entry)).hexdigest()}


def flagged() -> dict[str, Any]:
    """Return ``changes`` of ``dossier``: a person shown may be a minor."""
    entry: dict[str, Any] = {
        "number": 1, "at": "2026-01-02T03:04:05.678+00:00", "account": None, "key": None,
        "action": "minor.flagged", "subject": "c" * 26, "detail": None, "previous": "0" * 64,
    }  # fmt: skip
    return {
        "case": {"id": "c" * 26, "reference": None, "minor": True},
        "custody": {"accounts": {}, "entries": [chained(entry)]},
    }


@cache
def bundle() -> bytes:
    """Return a bundle about ``video()``, signed by ``signers()``."""
    return build(dossier(video()), material(video()), signers())


@cache
def other_bundle() -> bytes:
    """Return a bundle about a picture, signed by the same signers."""
    picture = footage.picture(footage.grace_hopper(), "PNG")
    job = dossier(picture).job.model_dump() | {"id": "k" * 26}
    return build(dossier(picture, job=job), material(picture), signers())


def statement_in(envelope: bytes) -> dict[str, Any]:
    """Return the statement in a DSSE envelope."""
    return dict(json.loads(base64.b64decode(json.loads(envelope)["payload"])))


LOOK_TEXT = "This post was removed."


def looks(
    count: int = 3, key: Ed25519PrivateKey | None = None, *, each_kept: str = ""
) -> list[Record]:
    """Return the records of so many looks at a post, the last of which found it gone, or all, of
    whose pages a text was kept."""
    key = key or signers().statement
    made: list[Record] = []
    previous = None
    for number in range(1, count + 1):
        text = each_kept or (LOOK_TEXT if number == count else "")
        predicate = {
            "id": f"look{number}", "post": "post", "number": number, "previous_sha256": previous,
            "at": f"2026-12-{number % 28 + 1:02}T00:00:00.000+00:00", "account": None,
            "result": "gone" if text else "up", "strong": True, "signals": [{"kind": "status"}],
            "note": None, "screenshot_sha256": None,
        }  # fmt: skip
        envelope, previous = signed_look("https://example.org/1", predicate, text, key)
        made.append((envelope, text))
    return made


def reworked(content: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """Return a bundle whose files went through ``change``, with manifests that match again."""
    files = bag.unzipped(content)
    change(files)
    payload = {n: c for n, c in files.items() if n.startswith(bag.DATA)}
    files[bag.MANIFEST] = bag.manifest_of(payload)
    files.pop(bag.TAG_MANIFEST)
    return bag.sealed(files)


@contextmanager
def time_stamp_authority(folder: Path) -> Iterator[tuple[str, Path]]:
    """Run a time-stamp authority with openssl; yield its URL and the PEM file of its root."""
    make_authority(folder)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:  # openssl's serial file must not be shared
                (folder / "q").write_bytes(query)
                openssl(folder, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "q",
                         "-out", "r")  # fmt: skip
                reply = (folder / "r").read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            return

    with serving(HTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/", folder / "ca.crt"


def make_authority(folder: Path) -> None:
    (folder / "tsa.cnf").write_text(
        """[tsa]
default_tsa = t1
[t1]
serial = ./serial
crypto_device = builtin
signer_cert = ./tsa.crt
signer_key = ./tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""
    )
    (folder / "tsa.ext").write_text(
        "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=critical,timeStamping\n"
    )
    (folder / "serial").write_text("01")
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "3650",
             "-subj", "/CN=Root of time")  # fmt: skip
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=Time")  # fmt: skip
    openssl(folder, "x509", "-req", "-in", "tsa.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
             "-CAcreateserial", "-days", "3650", "-extfile", "tsa.ext",
             "-out", "tsa.crt")  # fmt: skip


def openssl(folder: Path, *words: str) -> None:
    """Run ``openssl WORDS`` in ``folder``."""
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def with_credentials(folder: Path, picture: bytes, claim: dict[str, Any]) -> bytes:
    """Return a JPEG with Content Credentials that make a claim. ``folder`` gets ``signed.jpg`` and
    the keys and certificates of its signer, below ``ca.crt``."""
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt", "-days", "365",
             "-subj", "/CN=Anchor")  # fmt: skip
    openssl(folder, "req", *curve, "-keyout", "leaf.key", "-out", "leaf.csr",
             "-subj", "/O=Camera maker/CN=Camera")  # fmt: skip
    (folder / "ext").write_text(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=critical,emailProtection\nsubjectKeyIdentifier=hash\n"
        "authorityKeyIdentifier=keyid\n"
    )
    openssl(folder, "x509", "-req", "-in", "leaf.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
             "-CAcreateserial", "-days", "365", "-extfile", "ext", "-out", "leaf.crt")  # fmt: skip
    chain = (folder / "leaf.crt").read_bytes() + (folder / "ca.crt").read_bytes()
    (folder / "plain.jpg").write_bytes(picture)
    signer = c2pa.Signer.from_info(
        c2pa.C2paSignerInfo(
            c2pa.C2paSigningAlg.ES256, chain, (folder / "leaf.key").read_bytes(), None
        )
    )
    signed = folder / "signed.jpg"
    c2pa.Builder(json.dumps(claim)).sign_file(str(folder / "plain.jpg"), str(signed), signer)
    return signed.read_bytes()


OURS = Trust(keys=(signers().statement.public_key(),))


def files_of_bundle() -> dict[str, bytes]:
    return bag.unzipped(bundle())


def failed_at(content: bytes, trust: Trust = OURS) -> int:
    """Return the number of the step at which a bundle fails."""
    found = verify(content, trust)
    assert found.exit_code is ExitCode.FAILED, found.published()
    return next(s.number for s in found.steps if s.outcome is Outcome.FAIL)


def outcomes(found: Verification) -> dict[int, Outcome]:
    return {s.number: s.outcome for s in found.steps}
