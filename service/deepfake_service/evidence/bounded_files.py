"""Files of a stranger's bundle that the verifying process parses itself, and their limits.

JSON and PEM are not parsed in a confined process: Python's json and cryptography's parsers of PEM
and X.509 (in Rust) are safe in memory, so that bounding the size bounds what a file can do. JSON
that is nested too deeply raises ``RecursionError``, and the step of the verification fails.
"""

from __future__ import annotations

from collections.abc import Mapping

from deepfake_service.evidence.builder import too_large
from deepfake_service.evidence.zip_format import InvalidBag

MAX_PEM_BYTES = 64 * 1024
"""A key has a hundred bytes, and a chain of certificates a few thousand."""


def json_file(files: Mapping[str, bytes], name: str) -> bytes:
    """Return a JSON file that is small enough to be parsed.

    Raises:
        InvalidBag: it is missing, or larger than ``builder.MAX_JSON_BYTES`` or has too many values.
    """
    content = _file(files, name)
    if too_large(content):
        raise InvalidBag(f"{name}: larger than a verifier parses")
    return content


def pem_file(files: Mapping[str, bytes], name: str) -> bytes:
    """Return a PEM file of at most ``MAX_PEM_BYTES``.

    Raises:
        InvalidBag: it is missing or larger.
    """
    content = _file(files, name)
    if len(content) > MAX_PEM_BYTES:
        raise InvalidBag(f"{name}: larger than a verifier parses")
    return content


def _file(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise InvalidBag(f"{name}: missing")
    return files[name]
