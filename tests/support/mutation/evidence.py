"""Evidence bundles: changed as archives, as bags with correct manifests, and signed anew."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.builder import PUBLIC_KEY, STAMP, STAMP_SIGNATURE, STATEMENT
from deepfake_service.evidence.bundle.dsse import (
    EVIDENCE_TYPE,
    MEDIA_SUBJECT,
    public_pem,
    sign,
    statement,
)
from tests.support import exhibits
from tests.support.mutation import chunks, documents, mutate, pdfs
from tests.support.mutation.noise import scramble

NOT_SUBJECTS = (STATEMENT, STAMP, STAMP_SIGNATURE, bag.TAG_MANIFEST)


def mutant(content: bytes, rng: random.Random) -> bytes:
    """Return a bundle that differs from ``content``.

    A third is changed as a ZIP. In another third, files are changed and the manifests are right
    again. In the last, an attacker's key has also signed a statement about the changed files, so
    that everything behind the signature is read.
    """
    depth = rng.randrange(3)
    changed = content
    while changed == content:
        changed = mutate("zip", content, rng) if depth == 0 else _rebuilt(content, rng, depth == 2)
    return changed


@cache
def attackers_key() -> Ed25519PrivateKey:
    """Return the key with which mutants are signed; the same in every run."""
    return Ed25519PrivateKey.from_private_bytes(bytes(32))


def _rebuilt(content: bytes, rng: random.Random, with_signature: bool) -> bytes:
    files = bag.unzipped(content)
    predicate, media = _statement_of(files)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _change_files(files, rng)
    payload = {n: c for n, c in files.items() if n.startswith(bag.DATA)}
    if rng.random() < 0.9:
        files[bag.MANIFEST] = bag.manifest_of(payload)
    if with_signature:
        files[PUBLIC_KEY] = public_pem(attackers_key().public_key())
        digests = {n: bag.sha256(c) for n, c in files.items() if n not in NOT_SUBJECTS}
        if rng.random() < 0.4:
            predicate = _canonical(predicate, rng)
        named = {MEDIA_SUBJECT: media, **digests}
        files[STATEMENT] = sign(statement(named, EVIDENCE_TYPE, predicate), attackers_key())
    files.pop(bag.TAG_MANIFEST, None)
    return bag.sealed(files)


def _statement_of(files: dict[str, bytes]) -> tuple[Any, str]:
    stated = exhibits.statement_in(files[STATEMENT])
    media = next(s["digest"]["sha256"] for s in stated["subject"] if s["name"] == MEDIA_SUBJECT)
    return stated["predicate"], media


def _change_files(files: dict[str, bytes], rng: random.Random) -> None:
    """Change, remove, exchange or add a file."""
    name, other = rng.choice(sorted(files)), rng.choice(sorted(files))
    match rng.randrange(8):
        case 0:
            del files[name]
        case 1:
            files[name] = files[other]
        case 2:
            files[rng.choice(("data/crops/999.png", "data/extra.json", "x.txt"))] = files[name]
        case _:
            files[name] = _changed(files[name], rng)


def _changed(content: bytes, rng: random.Random) -> bytes:
    # Another file's content may stand under this name.
    if content.startswith((b"{", b"[")):
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            return scramble(content, rng)
        canonical = rfc8785.dumps(_canonical(document, rng))
        return canonical if rng.random() < 0.9 else documents.mutate(content, rng)
    if content.startswith(b"%PDF"):
        return pdfs.mutate(content, rng)
    return (
        chunks.mutate(content, rng)
        if content.startswith(chunks.SIGNATURE)
        else scramble(content, rng)
    )


def _canonical(document: Any, rng: random.Random) -> Any:
    """Return a changed copy of ``document`` that has a canonical form (RFC 8785)."""
    while True:
        changed = documents.changed(document, rng)
        try:
            rfc8785.dumps(changed)
        except (ValueError, UnicodeError, RecursionError):
            continue
        return changed
