"""What a fetched page shows. Its HTML is parsed in the sandbox, by lxml."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from typing import BinaryIO

from lxml import etree  # type: ignore[import-untyped]
from pydantic import Field

from deepfake_models.errors import MediaError
from deepfake_models.sandbox.pool import ProcessPool, TaskBounds
from deepfake_models.sandbox.protocol import Options
from deepfake_service.platform.answers import Published

TASK = f"{__name__}:read_task"
MEMORY_BYTES = 1 << 30
BOUNDS = TaskBounds(timeout_s=60.0, memory_bytes=MEMORY_BYTES, cpu_s=10.0)
"""For one page of a mebibyte, which usually takes some hundredths of a second."""
PAGES_AT_ONCE = 2
MAX_TEXT_CHARS = 300_000
MAX_TITLE_CHARS = 500
_UNSHOWN = ("script", "style", "svg", "textarea")
_PLAYER = re.compile(r"<video\b|VideoObject|og:video|twitter:player", re.IGNORECASE)


class ShownPage(Published):
    """What a page shows, as far as results depend on it."""

    title: str = ""
    heading: str = ""
    marks: frozenset[str] = frozenset()
    """Classes and ids of its elements."""
    metas: dict[str, str] = Field(default_factory=dict)
    """The values of its `meta` and `link` elements, by name."""
    data: dict[str, str] = Field(default_factory=dict)
    """The first JSON value of each wanted name in its scripts, as text. What users write is in
    other values."""
    has_player: bool = False
    text: str = ""

    @property
    def medium(self) -> str:
        """The address of the video or picture that it names; empty if it names none."""
        return self.metas.get("og:video") or self.metas.get("og:image") or ""


def read_page(markup: str, data_names: Sequence[str] = ()) -> ShownPage:
    """Return what a page shows. Only call this in the sandbox: pages are hostile.

    Args:
        data_names: what to return ``data`` of, as it stands in scripts before a colon.
    """
    parser = etree.HTMLParser(
        encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(markup.encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError:  # it is empty
        root = None
    if root is None:
        return ShownPage()
    scripts = "\n".join(script.text or "" for script in root.iter("script"))
    etree.strip_elements(root, *_UNSHOWN, with_tail=False)
    metas: dict[str, str] = {}
    for element in root.iter("meta", "link"):
        name = element.get("property") or element.get("name") or element.get("rel")
        value = element.get("content") or element.get("href")
        if name and value:
            metas.setdefault(name.lower(), value)
    return ShownPage(
        title=_text_of(root.find(".//title"))[:MAX_TITLE_CHARS],
        heading=_text_of(root.find(".//h1"))[:MAX_TITLE_CHARS],
        marks=frozenset(
            mark
            for element in root.iter()
            for name in ("class", "id")
            for mark in element.get(name, "").split()
        ),
        metas=metas,
        data={name: _data_of(scripts, name) for name in data_names},
        has_player=_PLAYER.search(markup) is not None,
        text=_text_of(root)[:MAX_TEXT_CHARS],
    )


def _text_of(element: etree._Element | None) -> str:
    """Return what an element shows, on one line."""
    return "" if element is None else " ".join(" ".join(element.itertext()).split())


def _data_of(scripts: str, name: str) -> str:
    found = re.search(re.escape(name) + r"\s*+:\s*+", scripts)
    if found is None:
        return ""
    try:
        value, _ = json.JSONDecoder().raw_decode(scripts, found.end())
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


class PageReaders:
    """Confined processes that read pages. Close with ``close()``."""

    def __init__(self, *, require: bool) -> None:
        options = Options(tasks=(TASK,), memory_bytes=MEMORY_BYTES)
        self._pool = ProcessPool(options, PAGES_AT_ONCE, require=require)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()

    def read(self, markup: str, data_names: Sequence[str]) -> ShownPage | None:
        """Return what ``read_page`` does; ``None`` if the page broke its reader. ``SandboxBusy`` or
        ``SandboxIncomplete`` if there is no process."""
        source, argument = io.BytesIO(markup.encode()), json.dumps(list(data_names)).encode()
        try:
            return ShownPage.model_validate_json(self._pool.run(TASK, source, argument, BOUNDS))
        except (MediaError, ValueError):  # of a process that was taken over
            return None


def prepare() -> None:
    """Load what lxml would only when it first reads a page."""
    read_page("<title>A</title><p class=b>&amp;</p>")


def read_task(source: BinaryIO, argument: bytes) -> bytes:
    """Read a page in the confined process."""
    page = read_page(source.read().decode(), json.loads(argument))
    return page.model_dump_json().encode()
