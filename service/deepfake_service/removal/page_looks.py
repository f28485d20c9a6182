"""One look at the page of a post: it is fetched, read in the sandbox, and judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from deepfake_service.platform.enums import LookResult
from deepfake_service.platform.pages import PLAIN_AGENT, Page, Pages
from deepfake_service.post_pages.reading import PageReaders, ShownPage
from deepfake_service.post_pages.signs import (
    DATA_NAMES,
    Observation,
    PostMemory,
    PostVisit,
    address_that_never_was,
    compared,
    judge,
)

MAX_OTHER_BYTES, MAX_OTHER_HOPS = 256 * 1024, 2
"""Of the further pages of a look."""


@dataclass(frozen=True, slots=True)
class PostLooker:
    """Looks at posts without recording anything."""

    _pages: Pages
    _readers: PageReaders

    def close(self) -> None:
        """End the processes that read pages."""
        self._readers.close()

    def look(
        self,
        url: str,
        at: datetime,
        memory: PostMemory,
        never_there: Callable[[str], ShownPage | None],
    ) -> tuple[Observation, Page]:
        """Look at a post. If it is gone, look once more without naming this service; the page has
        the answers to both.

        Args:
            memory: of the look before; empty at the first one.
            never_there: returns what ``page_that_never_was`` does.
        """

        def judged(page: Page) -> Observation:
            shown = self._readers.read(page.last.text, DATA_NAMES) if page.last else None
            return judge(PostVisit(url, page, shown, memory, at, lambda: never_there(url)))

        page = self._pages.get(url)
        observation = judged(page)
        if observation.result is not LookResult.GONE:
            return observation, page
        other = self._pages.get(url, max_bytes=MAX_OTHER_BYTES, agent=PLAIN_AGENT)
        both = Page((*page.answers, *other.answers), other.failure)
        return compared(observation, judged(other).result), both

    def look_first(self, url: str, at: datetime) -> tuple[Observation, Page]:
        """Look at an address for the first time, to try what looks can do from here."""
        return self.look(url, at, PostMemory(), self.page_that_never_was)

    def page_that_never_was(self, url: str) -> ShownPage | None:
        """Return what the page of a post that never was shows, beside the one at ``url``; ``None``
        if none is served as posts are."""
        address = address_that_never_was(url)
        if address is None:
            return None
        page = self._pages.get(address, max_bytes=MAX_OTHER_BYTES, hops=MAX_OTHER_HOPS)
        if page.last is None or page.last.status != 200:
            return None
        return self._readers.read(page.last.text, DATA_NAMES)
