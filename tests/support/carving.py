"""What the thief of a disk does: search its raw bytes, free blocks included, for keys and media."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deepfake_service.platform.errors import DecryptionFailed
from deepfake_service.platform.storage.envelope import (
    CHUNK_BYTES,
    HEADER_BYTES,
    TAG_BYTES,
    MasterKeys,
    UnsealedReader,
    unseal,
)
from deepfake_service.platform.storage.epoch_keys import MAGIC, PREFIX_BYTES

SEALED_KEY_BYTES = 12 + 32 + 16
"""A nonce, a key and a tag."""
ROW_BYTES = 700
"""How far a value may be from the id in the same row."""


@dataclass
class Raw:
    """Bytes as the source of a sealed stream."""

    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]


@contextlib.contextmanager
def loop_mount(folder: Path, size_mib: int = 64) -> Iterator[tuple[Path, Path]]:
    """Mount an empty ext4 file system; yield the image and where it is mounted.

    Skips the test, with the reason, where a file system cannot be mounted.
    """
    image, mounted = folder / "disk.img", folder / "disk"
    mounted.mkdir()
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed, so that no file system can be made")
    with image.open("wb") as file:
        file.truncate(size_mib * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    done = subprocess.run(
        ["mount", "-o", "loop", str(image), str(mounted)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"a loop device cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield image, mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def sealed_size(size: int) -> int:
    """Return the size in bytes of the sealed stream of ``size`` bytes of plaintext."""
    chunks = max(1, -(-size // CHUNK_BYTES))
    return HEADER_BYTES + size + chunks * TAG_BYTES


def image_of(image: Path, mounted: Path) -> bytes:
    """Return the raw bytes of a mounted image after everything was written to it."""
    subprocess.run(["sync", "-f", str(mounted)], check=True)
    return image.read_bytes()


def carve_case_keys(image: bytes, master_key: bytes, case_id: str) -> set[bytes]:
    """Return the keys of a case that can be unwrapped with anything in the image."""
    master, context = MasterKeys(master_key), f"case-key/{case_id}".encode()
    epochs = _carve_epoch_keys(image, master)
    keys = set()
    for match in re.finditer(re.escape(master._id(master_key)), image):
        wrapped = image[match.start() : match.start() + 8 + SEALED_KEY_BYTES]
        with contextlib.suppress(DecryptionFailed):
            keys.add(master.unwrap(wrapped, context))
    for match in re.finditer(re.escape(MAGIC), image):
        epoch_id = image[match.start() + len(MAGIC) : match.start() + PREFIX_BYTES]
        start = match.start() + PREFIX_BYTES
        sealed = image[start : start + SEALED_KEY_BYTES]
        for key in epochs.get(epoch_id, ()):
            with contextlib.suppress(DecryptionFailed):
                keys.add(unseal(key, sealed, context))
    return keys


def _carve_epoch_keys(image: bytes, master: MasterKeys) -> dict[bytes, list[bytes]]:
    keys: dict[bytes, list[bytes]] = {}
    for match in re.finditer(rb'"epoch": "(\w{16})".*?"wrapped": "(\w+)"', image):
        epoch_id, wrapped = (bytes.fromhex(group.decode()) for group in match.groups())
        with contextlib.suppress(DecryptionFailed):
            context = f"epoch-key/{epoch_id.hex()}".encode()
            keys.setdefault(epoch_id, []).append(master.unwrap(wrapped, context))
    return keys


def carve_media(image: bytes, case_keys: set[bytes], media_id: str, size: int) -> bytes | None:
    """Return a medium of a case, if its key and its sealed stream are in the image.

    ``size`` is its size in bytes, which the thief reads from the database in plain text.
    """
    context = f"media-key/{media_id}".encode()
    media_keys = set()
    for match in re.finditer(media_id.encode(), image):
        for start in range(match.start(), match.start() + ROW_BYTES):
            for case_key in case_keys:
                with contextlib.suppress(DecryptionFailed):
                    sealed = image[start : start + SEALED_KEY_BYTES]
                    media_keys.add(unseal(case_key, sealed, context))
    for match in re.finditer(b"DFE1", image):
        source = Raw(image[match.start() : match.start() + sealed_size(size)])
        for key in media_keys:
            with contextlib.suppress(DecryptionFailed, ValueError):
                return UnsealedReader(source, key, f"media/{media_id}".encode()).read()
    return None
