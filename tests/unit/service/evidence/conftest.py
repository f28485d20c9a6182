"""What the tests of evidence share: each report is checked once, however many bundles have it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from deepfake_service.evidence.bundle import pdf_signature

check = pdf_signature.verify


@pytest.fixture(autouse=True, scope="package")
def reports_checked_once() -> Iterator[None]:
    """Remember the reports that are intact: a check reads each digit of a signature by itself, and
    most tests change another file of the bundle."""
    intact: dict[tuple[object, ...], datetime | None] = {}

    def remembered(
        pdf: bytes,
        certificates: list[x509.Certificate],
        at: datetime,
        timestamp_roots: Sequence[x509.Certificate] = (),
    ) -> datetime | None:
        chains = [[c.public_bytes(Encoding.DER) for c in certificates],
                  [c.public_bytes(Encoding.DER) for c in timestamp_roots]]  # fmt: skip
        asked = (pdf, at, *map(tuple, chains))
        if asked not in intact:
            intact[asked] = check(pdf, certificates, at, timestamp_roots)
        return intact[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pdf_signature, "verify", remembered)
        yield
