"""Ask who runs the network and who registered the domain of a captured post's host (RDAP).

The registries of addresses and of names are asked, which IANA's tables name (RFC 9224): for the
address that the gate connected to and for the domain, never for the link. They are reached as
pages are: public addresses only, little, and not for long. whoisit reads what they answer.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any, TypeVar

import requests
from pydantic import Field
from requests.adapters import BaseAdapter

from deepfake_service.platform.answers import Published
from deepfake_service.platform.logs import logger
from deepfake_service.platform.pages import Pages

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


_R = TypeVar("_R", Network, Domain)


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
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("https://", _Checked(pages))
        self._renewed_at = -DAY_S
        self._known: dict[tuple[str, str], Any] = {}

    def of(self, host: str, address: str) -> Operator:
        """Return what is registered of a host and its address; ``None`` for what is not known."""
        import whoisit

        network = domain = None
        with self._lock:
            if not self._has_tables():
                return Operator(host=host, address=address)
            network = self._asked(whoisit.ip, address, _network)
            with contextlib.suppress(ValueError):
                ipaddress.ip_address(host)
                return Operator(host=host, address=address, network=network)
            # A registered domain has two labels or three; the registry knows which.
            labels = host.rsplit(".", 3)[-3:]
            names = [".".join(labels[n:]) for n in range(len(labels) - 1)]
            # The registry names the registrar and its contact; what that one says is not needed.
            ask = partial(whoisit.domain, follow_related=False)
            for name in names:
                domain = self._asked(ask, name, _domain)
                # Unless it is known that a name is not registered, a shorter one may be another's.
                if domain or (_domain.__name__, name) not in self._known:
                    break
        return Operator(host=host, address=address, network=network, domain=domain)

    def _has_tables(self) -> bool:
        """Load IANA's tables once a day; return whether there are some."""
        import whoisit
        from whoisit.bootstrap import BaseBootstrap

        now = time.monotonic()
        if now < self._renewed_at + DAY_S:
            return bool(whoisit.is_bootstrapped())
        for name in ("bootstrap", "query", "parser", "utils"):  # whoisit's, which log addresses
            logging.getLogger(name).setLevel(logging.WARNING)
        whoisit.clear_bootstrapping()
        try:
            tables: dict[str, Any] = {"timestamp": int(time.time())}
            for name, url in BaseBootstrap.BOOTSTRAP_URLS.items():
                tables[name] = self._session.get(url).json()
            whoisit.load_bootstrap_data(tables, overrides=True, from_json=False)
        except Exception:  # of a network, or of a parser that is given anything
            whoisit.clear_bootstrapping()
            self._renewed_at = now - DAY_S + RETRY_S
            _log.warning("registries_unknown")
            return False
        self._renewed_at = now
        self._known.clear()
        return True

    def _asked(self, ask: Callable[..., Any], what: str, read: Callable[[Any], _R]) -> _R | None:
        from whoisit.errors import ResourceDoesNotExist, UnsupportedError

        key = (read.__name__, what)
        if key in self._known:
            known: _R | None = self._known[key]
            return known
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        try:
            found = read(ask(what, session=self._session))
        except (ResourceDoesNotExist, UnsupportedError):
            found = None
        except Exception:  # as above; it is asked again for the next link
            return None
        self._known[key] = found
        return found


def _network(answer: Any) -> Network:
    holder = _names(answer, "registrant")
    name = _text(answer["name"])
    return Network(
        name=name,
        holder=holder,
        country=_text(answer["country"])[:2].upper(),
        abuse=_contacts(answer),
        is_cdn=bool(_CDN.search(f"{name} {holder}")),
        source=_text(answer["url"]),
    )


def _domain(answer: Any) -> Domain:
    return Domain(
        name=_text(answer["name"]).lower(),
        registrar=_names(answer, "registrar"),
        abuse=_contacts(answer),
        source=_text(answer["url"]),
    )


def _names(answer: Any, role: str) -> str:
    return next((_text(e["name"]) for e in answer["entities"].get(role, []) if e.get("name")), "")


def _contacts(answer: Any) -> list[str]:
    """Return the e-mail addresses for reports of abuse."""
    given = [each for e in answer["entities"].get("abuse", []) for each in e.get("emails", [])]
    return [each for each in dict.fromkeys(given) if _EMAIL.fullmatch(each)][:MAX_CONTACTS]


def _text(said: object) -> str:
    return "".join(c if c.isprintable() else " " for c in str(said or ""))[:200].strip()


class _Checked(BaseAdapter):
    """Sends whoisit's requests by ``Pages``, which follows redirects itself."""

    def __init__(self, pages: Pages) -> None:
        super().__init__()
        self._pages = pages

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Return the page at the address of a request."""
        page = self._pages.get(str(request.url))
        if page.last is None:
            raise requests.ConnectionError(str(page.failure))
        answer = requests.Response()
        answer.request, answer.url = request, page.last.url
        answer.status_code, answer.encoding = page.last.status, "utf-8"
        answer.raw = BytesIO(page.last.text.encode())
        return answer

    def close(self) -> None:
        """Do nothing: each page has a connection of its own."""
