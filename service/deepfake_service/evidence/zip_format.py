"""The bundle's container: a BagIt bag (RFC 8493) in a ZIP that has exactly one form.

Every entry is stored uncompressed, in the order of the names, at the same date, without extra
fields or comments. So a bundle can be made again from its files and compared byte for byte: nothing
can hide between or behind the entries, and nothing can unpack to more than it is.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping

from deepfake_models.errors import DeepfakeError

MAX_BYTES = 256 * 1024 * 1024
MAX_FILES = 200
MAX_TAG_BYTES = 256 * 1024
"""Of a file that is no payload: two hundred lines of a manifest have 30 kB. They are read before
any signature is, and must not take memory."""
DATA = "data/"
BAGIT, INFO = "bagit.txt", "bag-info.txt"
MANIFEST, TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
_DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*){0,3}")
_DATE = (1980, 1, 1, 0, 0, 0)


class InvalidBag(DeepfakeError):
    """The file is not a bundle in the one form that bundles have."""


def sha256(content: bytes) -> str:
    """SHA-256 in lower-case hex."""
    return hashlib.sha256(content).hexdigest()


def manifest_of(files: Mapping[str, bytes]) -> bytes:
    """A BagIt manifest of ``files``, in the order of their names."""
    return "".join(f"{sha256(files[name])}  {name}\n" for name in sorted(files)).encode()


def tagged(payload: Mapping[str, bytes], info: Mapping[str, str]) -> dict[str, bytes]:
    """``payload`` with the bag's declaration, information and manifest; not yet sealed.

    Names of ``payload`` begin with ``data/``; ``info`` has labels and one line of text each.
    """
    size = sum(map(len, payload.values()))
    lines = {**info, "Payload-Oxum": f"{size}.{len(payload)}"}
    return {
        **payload,
        BAGIT: _DECLARATION,
        INFO: "".join(f"{label}: {text}\n" for label, text in lines.items()).encode(),
        MANIFEST: manifest_of(payload),
    }


def sealed(files: Mapping[str, bytes]) -> bytes:
    """The ZIP of a bag with its tag manifest."""
    tags = {n: c for n, c in files.items() if not n.startswith(DATA)}
    return zipped({**files, TAG_MANIFEST: manifest_of(tags)})


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A ZIP of ``files`` in the one form."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, files[name])
    return out.getvalue()


def unzipped(content: bytes) -> dict[str, bytes]:
    """The files of a ZIP in the one form.

    Raises:
        InvalidBag: it has another form; saying what is wrong.
    """
    if len(content) > MAX_BYTES:
        raise InvalidBag(f"larger than the {MAX_BYTES} bytes that a bundle may have")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_FILES:
                raise InvalidBag(f"more than {MAX_FILES} files")
            names = [e.filename for e in entries]
            for entry in entries:
                if not _NAME.fullmatch(entry.filename):
                    raise InvalidBag("an entry's name is not one that bundles have")
                if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                    raise InvalidBag(f"{entry.filename}: compressed or encrypted")
            if len(set(names)) < len(names):
                raise InvalidBag("two entries have one name")
            _see_apart(entries, len(content))
            files = {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, OSError) as error:
        raise InvalidBag("this is no intact ZIP file") from error
    if zipped(files) != content:
        raise InvalidBag("there are bytes outside the entries, or headers other than a bundle's")
    return files


def member(content: bytes, name: str) -> bytes:
    """Return one file of a ZIP, without reading the others or checking the archive's form.

    Use it for archives of our own making only; ``unzipped`` checks those of others.

    Raises:
        KeyError: the archive has no file ``name``. InvalidBag: ``content`` is not a ZIP file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(name)
    except zipfile.BadZipFile as error:
        raise InvalidBag("not an intact ZIP file") from error


def _see_apart(entries: list[zipfile.ZipInfo], size: int) -> None:
    """Entries that share bytes would unpack to more than the file holds."""
    end = 0
    for entry in sorted(entries, key=lambda e: e.header_offset):
        if entry.header_offset < end or entry.compress_size != entry.file_size:
            raise InvalidBag("entries overlap")
        end = entry.header_offset + 30 + len(entry.filename) + entry.file_size
    if end > size:
        raise InvalidBag("entries are longer than the file")


def check(files: Mapping[str, bytes]) -> None:
    """See that a bag is complete: every file is in a manifest, and no manifest in another form.

    Raises:
        InvalidBag: naming the file.
    """
    payload = {n: c for n, c in files.items() if n.startswith(DATA)}
    tags = {n: c for n, c in files.items() if not n.startswith(DATA) and n != TAG_MANIFEST}
    for name in (BAGIT, INFO, MANIFEST, TAG_MANIFEST):
        if name not in files:
            raise InvalidBag(f"{name}: missing")
    for name, content in (*tags.items(), (TAG_MANIFEST, files[TAG_MANIFEST])):
        if len(content) > MAX_TAG_BYTES:
            raise InvalidBag(f"{name}: larger than such a file can be")
    if files[BAGIT] != _DECLARATION:
        raise InvalidBag(f"{BAGIT}: not the declaration of a BagIt 1.0 bag")
    for manifest, listed in ((MANIFEST, payload), (TAG_MANIFEST, tags)):
        _compare(manifest, files[manifest], listed)


def _compare(name: str, manifest: bytes, files: Mapping[str, bytes]) -> None:
    if manifest == manifest_of(files):
        return
    stated = {}
    for line in manifest.decode("utf-8", errors="replace").splitlines():
        digest, _, of = line.partition("  ")
        stated[of] = digest
    for of in sorted({*stated, *files}):
        if of not in files:
            raise InvalidBag(f"{of}: listed in {name}, but not there")
        if of not in stated:
            raise InvalidBag(f"{of}: there, but not listed in {name}")
        if stated[of] != sha256(files[of]):
            raise InvalidBag(f"{of}: its SHA-256 is {sha256(files[of])}, {name} says {stated[of]}")
    raise InvalidBag(f"{name}: not written as a bundle's is")
