"""Ask who runs the network and who registered the domain of a captured post's host (RDAP).

The registries of addresses and of names are asked, which IANA's tables name (RFC 9224): for the
address that the gate connected to and for the domain, never for the link. They are reached as
pages are: public addresses only, little, and not for long. whoisit reads what they answer.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from deepfake_service.platform.answers import Published
from deepfake_service.platform.logs import logger
from deepfake_service.platform.pages import Pages

if TYPE_CHECKING:
    from whoisit.bootstrap import BaseBootstrap

DAY_S = 86_400.0
RETRY_S = 600.0
"""After IANA's tables could not be had."""
MAX_KNOWN = 1000
"""Answers that are kept for a day: many links lead to one site."""
MAX_CONTACTS = 3
_EMAIL = re.compile(r"[\w.+=-]{1,64}@[\w-]+(\.[\w-]+)+", re.ASCII)
_CDN = re.compile(
    r"cloudflare|akamai|fastly|cdn|cloudfront|bunny|gcore|g-core|ddos-?guard|imperva|incapsula"
    r"|edgio|edgecast|limelight|sucuri|stormwall|qrator",
    re.IGNORECASE,
)
"""Networks that pass on what other hosts have, by their names and those of their holders."""

_log = logger("deepfake_service.links")


class Network(Published):
    """The network of an address, as its registry says (RDAP)."""

    name: str = Field(description="Its name; this and others may be empty.")
    holder: str = Field(description="Who holds it.")
    country: str = Field(description="Code of the country that it is registered in.")
    abuse: list[str] = Field(description="E-mail addresses for reports of abuse.")
    is_cdn: bool
    """Whether it is known to pass on what others host. Its contact is then not that of the host.
    False says that it is not known to."""
    source: str = Field(description="Address of the registry's answer.")


class Domain(Published):
    """A registered domain, as its registry says (RDAP)."""

    name: str = Field(description="Its name.")
    registrar: str = Field(description="Who registered it for its owner; may be empty.")
    abuse: list[str] = Field(description="E-mail addresses for reports of abuse to the registrar.")
    source: str = Field(description="Address of the registry's answer.")


class _Entity(BaseModel):
    """A person or an organisation that an answer names."""

    name: object = None
    emails: list[str] = []


class _Answer(BaseModel):
    """What whoisit reads of a registry's answer."""

    name: object
    country: object = None
    url: object
    entities: dict[str, list[_Entity]]

    def name_of(self, role: str) -> str:
        """Return the first name of those with a role; empty if none has one."""
        return next((_text(e.name) for e in self.entities.get(role, ()) if e.name), "")

    def contacts(self) -> list[str]:
        """Return the e-mail addresses for reports of abuse."""
        given = [each for e in self.entities.get("abuse", ()) for each in e.emails]
        return [each for each in dict.fromkeys(given) if _EMAIL.fullmatch(each)][:MAX_CONTACTS]

    def network(self) -> Network:
        """Return what it says of a network."""
        name, holder = _text(self.name), self.name_of("registrant")
        return Network(
            name=name,
            holder=holder,
            country=_text(self.country)[:2].upper(),
            abuse=self.contacts(),
            is_cdn=bool(_CDN.search(f"{name} {holder}")),
            source=_text(self.url),
        )

    def domain(self) -> Domain:
        """Return what it says of a domain."""
        return Domain(
            name=_text(self.name).lower(),
            registrar=self.name_of("registrar"),
            abuse=self.contacts(),
            source=_text(self.url),
        )


class Operator(Published):
    """Whose the host of a page is, when its link was opened."""

    host: str = Field(description="The host of the page, after redirects.")
    address: str = Field(description="The address that was connected to.")
    network: Network | None = Field(None, description="Null if no registry told.")
    domain: Domain | None = None
    """Null if no registry told: not each country's domains have one that does."""


class Registries:
    """Asks registries, one at a time, and remembers their answers for a day."""

    def __init__(self, pages: Pages) -> None:
        self._lock = threading.Lock()
        self._pages = pages
        self._renewed_at = -DAY_S
        self._ask: Callable[[str, str], _Answer | None] | None = None

    def operator_of(self, host: str, address: str) -> Operator:
        """Return what is registered of a host and its address; ``None`` for what is not known."""
        network = domain = None
        with self._lock, suppress(Exception):  # of a network, or of a parser given anything
            if (ask := self._current()) is not None:
                with suppress(Exception):
                    network = ask("ip", address)
                # A registry names the registrar and its contact; what that one says is not needed.
                # Unless it is known that a name is not registered, a shorter one may be another's.
                domain = next(filter(None, (ask("domain", n) for n in _domains_of(host))), None)
        return Operator(
            host=host,
            address=address,
            network=network and network.network(),
            domain=domain and domain.domain(),
        )

    def _current(self) -> Callable[[str, str], _Answer | None] | None:
        """Return what asks the registries of IANA's tables, which are loaded once a day, and
        remembers what they answered; ``None`` if there are no tables."""
        from whoisit.bootstrap import BaseBootstrap

        now = time.monotonic()
        if now < self._renewed_at + DAY_S:
            return self._ask
        for name in ("bootstrap", "query", "parser"):  # whoisit's, which log addresses
            logging.getLogger(name).setLevel(logging.WARNING)
        self._ask, tables = None, BaseBootstrap()
        try:
            content: dict[str, object] = {"timestamp": int(time.time())}
            for name, url in tables.BOOTSTRAP_URLS.items():
                content[name] = json.loads(self._text_at(url) or "")
            tables.load_bootstrap_data(content, overrides=True, from_json=False)
        except Exception:  # as above
            self._renewed_at = now - DAY_S + RETRY_S
            _log.warning("registries_unknown")
            return None
        # What it raises is not remembered: that is asked again for the next link.
        self._ask, self._renewed_at = lru_cache(MAX_KNOWN)(partial(self._answer, tables)), now
        return self._ask

    def _answer(self, tables: BaseBootstrap, kind: str, what: str) -> _Answer | None:
        from whoisit import QueryBuilder, parse
        from whoisit.errors import UnsupportedError

        try:
            _, url, _ = QueryBuilder(tables).build(kind, what)
        except UnsupportedError:
            return None  # no registry tells
        if (text := self._text_at(url)) is None:
            return None
        return _Answer.model_validate(parse(tables, kind, what, json.loads(text)))

    def _text_at(self, url: str) -> str | None:
        """Return what is at an address; ``None`` if there is nothing (404)."""
        page = self._pages.get(url)
        if page.last is None or page.last.status not in (200, 404):
            raise ValueError("no answer")
        return page.last.text if page.last.status == 200 else None


def _domains_of(host: str) -> Iterator[str]:
    """Yield what may be the registered domain of a host: it has three labels or two, and the
    registry knows which. Nothing for an address."""
    labels = host.rsplit(".", 3)[-3:]
    if not labels[-1].isdigit() and ":" not in host:
        yield from (".".join(labels[n:]) for n in range(len(labels) - 1))


def _text(said: object) -> str:
    return "".join(c if c.isprintable() else " " for c in str(said or ""))[:200].strip()
