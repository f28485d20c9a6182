"""The container of an evidence bundle: a BagIt bag (RFC 8493) in a canonical ZIP.

A canonical ZIP stores every entry uncompressed, sorted by name, with one fixed date and without
extra fields or comments (APPNOTE.TXT 4.3 allows far more). It can therefore be made again from its
files and compared byte for byte: nothing can hide between or behind the entries, and nothing
unpacks to more than its stored size.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping

from deepfake_service.evidence.bundle.documents import Failed

MAX_BYTES = 256 * 1024 * 1024
"""Four times what one JSON file of a bundle may have. Bundles are in memory as a whole while they
are made and verified."""
MAX_FILES = 200
"""A bundle has some 20, and for each of up to 16 faces a map and a square, or several squares where
the model looks at several."""
MAX_DIRECTORY_BYTES = 64 * 1024
"""Size limit of the ZIP's directory, which has some 90 bytes for each file of a bundle."""
MAX_TAG_BYTES = 256 * 1024
"""Size limit of tag files, which are read before any signature is checked. A manifest of 200 files
takes 30 kB."""
# RFC 8493: 2.1.2 payload directory, 2.1.1 bag declaration, 2.2.2 bag metadata, 2.1.3 payload
# manifest, 2.2.1 tag manifest.
DATA = "data/"
BAGIT, INFO = "bagit.txt", "bag-info.txt"
MANIFEST, TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
_DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*){0,3}")
_DATE = (1980, 1, 1, 0, 0, 0)
_END = struct.Struct("<4s4HLLH")
_LOCATOR_BYTES = 20
_MAX_COMMENT = 0xFFFF


def sha256(content: bytes) -> str:
    """Return the SHA-256 of ``content`` in lower-case hex."""
    return hashlib.sha256(content).hexdigest()


def manifest_of(files: Mapping[str, bytes]) -> bytes:
    """Return the BagIt manifest of ``files`` (RFC 8493, 2.1.3), sorted by name."""
    return "".join(f"{sha256(files[name])}  {name}\n" for name in sorted(files)).encode()


def tagged(payload: Mapping[str, bytes], info: Mapping[str, str]) -> dict[str, bytes]:
    """Return ``payload`` with the bag's declaration, metadata and payload manifest.

    The names in ``payload`` begin with ``data/``. ``info`` holds the labels of ``bag-info.txt`` and
    one line of text for each. ``sealed`` adds the tag manifest once all tag files are there.
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
    """Return the canonical ZIP of a bag, to which the tag manifest is added."""
    tags = {n: c for n, c in files.items() if not n.startswith(DATA)}
    return zipped({**files, TAG_MANIFEST: manifest_of(tags)})


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return the canonical ZIP of ``files``."""
    return b"".join(zip_pieces((name, files[name]) for name in sorted(files)))


def zip_pieces(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield a ZIP of ``files`` in the canonical form, but in their order: one piece for each file,
    and one for the directory. Holds one file at a time."""
    out = _Tail()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files:
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, content)
            yield out.take()
    yield out.take()


class _Tail(io.BytesIO):
    """The end of a file whose beginning was taken: there is no seeking back to that.

    ``zipfile`` seeks back to the header of the entry that it writes, and no further. Without
    seeking it would put sizes behind the entries, which not every program can read.
    """

    def __init__(self) -> None:
        super().__init__()
        self._start = 0

    def tell(self) -> int:
        return self._start + super().tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation
        return self._start + super().seek(offset - self._start)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        content = self.getvalue()
        self._start += len(content)
        super().seek(0)
        self.truncate(0)
        return content


def unzipped(content: bytes) -> dict[str, bytes]:
    """Return the files of a canonical ZIP; ``Failed``, saying what is wrong, for another."""
    if len(content) > MAX_BYTES:
        raise Failed(f"larger than {MAX_BYTES} bytes, the limit of a bundle")
    _check_end(content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            names = [e.filename for e in entries]
            for entry in entries:
                if not _NAME.fullmatch(entry.filename):
                    raise Failed("an entry's name is not allowed in a bundle")
                # Bit 0 of the flags: encrypted (APPNOTE.TXT 4.4.4).
                if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                    raise Failed(f"{entry.filename}: compressed or encrypted")
            if len(set(names)) < len(names):
                raise Failed("two entries have the same name")
            # Entries that overlap would unpack to more than the file's size.
            if sum(entry.file_size for entry in entries) > len(content):
                raise Failed("entries overlap")
            files = {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, OSError) as error:
        raise Failed("not an intact ZIP file") from error
    if zipped(files) != content:
        raise Failed("bytes outside the entries, or headers that differ from the canonical form")
    return files


def members(content: bytes, names: Iterable[str]) -> dict[str, bytes]:
    """Return those files of a ZIP that have one of these names, without reading the others or
    checking the archive's form.

    Use it for archives of our own making only; ``unzipped`` checks those of others. ``Failed`` if
    ``content`` is not a ZIP file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            there = set(archive.namelist())
            return {name: archive.read(name) for name in names if name in there}
    except zipfile.BadZipFile as error:
        raise Failed("not an intact ZIP file") from error


def member(content: bytes, name: str) -> bytes:
    """Return one file of a ZIP of our own making, as ``members`` does; ``KeyError`` if it has no
    file ``name``."""
    return members(content, [name])[name]


def _check_end(content: bytes) -> None:
    """Check the end record, before anything that it announces is read into memory.

    A canonical ZIP ends with an end of central directory record (APPNOTE.TXT 4.3.16) without a
    comment, and has neither a ZIP64 locator (4.3.15) nor bytes between directory and record.
    """
    if len(content) < _END.size or b"PK\5\6" not in content[-_END.size - _MAX_COMMENT :]:
        raise Failed("not an intact ZIP file")
    signature, *_, count, size, offset, comment = _END.unpack(content[-_END.size :])
    start = len(content) - _END.size
    is_zip64 = content[max(0, start - _LOCATOR_BYTES) : start].startswith(b"PK\6\7")
    if signature != b"PK\5\6" or comment or is_zip64 or offset + size != start:
        raise Failed("bytes outside the entries, or headers that differ from the canonical form")
    if count > MAX_FILES or size > MAX_DIRECTORY_BYTES:
        raise Failed(f"more than {MAX_FILES} files")


def check(files: Mapping[str, bytes]) -> None:
    """Check that a bag is complete and valid (RFC 8493, 3) and its manifests canonical;
    ``Failed``, naming the file that is missing, not listed, or altered."""
    payload = {n: c for n, c in files.items() if n.startswith(DATA)}
    tags = {n: c for n, c in files.items() if not n.startswith(DATA) and n != TAG_MANIFEST}
    for name in (BAGIT, INFO, MANIFEST, TAG_MANIFEST):
        if name not in files:
            raise Failed(f"{name}: missing")
    for name, content in (*tags.items(), (TAG_MANIFEST, files[TAG_MANIFEST])):
        if len(content) > MAX_TAG_BYTES:
            raise Failed(f"{name}: larger than {MAX_TAG_BYTES} bytes")
    if files[BAGIT] != _DECLARATION:
        raise Failed(f"{BAGIT}: not the declaration of a BagIt 1.0 bag in UTF-8")
    for manifest, covered in ((MANIFEST, payload), (TAG_MANIFEST, tags)):
        if files[manifest] != manifest_of(covered):
            lines = files[manifest].decode("utf-8", errors="replace").splitlines()
            pairs = (line.partition("  ") for line in lines)
            compare(manifest, {path: digest for digest, _, path in pairs}, covered)
            raise Failed(f"{manifest}: not in canonical form")


def compare(where: str, listed: Mapping[str, str], files: Mapping[str, bytes]) -> None:
    """Check that ``files`` are those ``listed`` with their SHA-256; ``Failed``, naming the file
    that is missing, not listed, or altered."""
    for path in sorted({*listed, *files}):
        if path not in files:
            raise Failed(f"{path}: listed in {where}, but missing")
        if path not in listed:
            raise Failed(f"{path}: not listed in {where}")
        digest = sha256(files[path])
        if listed[path] != digest:
            raise Failed(f"{path}: its SHA-256 is {digest}, {where} lists {listed[path]}")


MAX_JSON_BYTES = 64 * 1024 * 1024
"""Limit of a JSON file, which is parsed as a whole: above the ``verdict.json`` named below."""
MAX_JSON_NODES = 1_200_000
"""Limit of objects and lists in a JSON file. A ``verdict.json`` of 2,064 frames with 64 faces each
has 530,000 in 48 MB."""
MAX_PEM_BYTES = 64 * 1024
"""A key has a hundred bytes, and a chain of certificates a few thousand."""


def too_large(raw: bytes) -> bool:
    """Return whether a JSON file is too large for verifiers to parse."""
    return len(raw) > MAX_JSON_BYTES or raw.count(b"[") + raw.count(b"{") > MAX_JSON_NODES


def bounded(files: Mapping[str, bytes], name: str) -> bytes:
    """Return a JSON or PEM file that is small enough to be parsed; ``Failed`` if it is missing,
    or too large."""
    if name not in files:
        raise Failed(f"{name}: missing")
    raw = files[name]
    if len(raw) > MAX_PEM_BYTES if name.endswith(".pem") else too_large(raw):
        raise Failed(f"{name}: too large for verifiers to parse")
    return raw
