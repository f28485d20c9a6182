"""Lists of networks and of hosts, as settings name them, and the hosts and sites of addresses."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")

_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"})

PLATFORMS = {
    "discord.com": "Discord", "facebook.com": "Facebook", "fb.watch": "Facebook",
    "instagram.com": "Instagram", "reddit.com": "Reddit", "redd.it": "Reddit", "t.me": "Telegram",
    "telegram.me": "Telegram", "tiktok.com": "TikTok", "twitter.com": "X", "x.com": "X",
    "vk.com": "VK", "youtu.be": "YouTube", "youtube.com": "YouTube",
}  # fmt: skip
"""Names of platforms that their addresses do not show, or not as they write them, by site."""


@dataclass(frozen=True, slots=True)
class CallbackHosts:
    """Receivers of webhooks that need not have public addresses."""

    names: frozenset[str] = frozenset()
    """Host names in lower case."""
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, text: str | None) -> CallbackHosts:
        """Return the hosts and networks in a list that is separated by commas; ``ValueError`` if a
        part of it is neither, as a network with bits of a host set."""
        names, networks = set(), []
        for part in filter(None, (part.strip().lower() for part in (text or "").split(","))):
            # A name whose last label is a number would be read as an IPv4 address.
            if _HOST.fullmatch(part) and not part.rpartition(".")[2].isdigit():
                names.add(part)
                continue
            networks.append(ipaddress.ip_network(part))
        return cls(frozenset(names), tuple(networks))

    def has_name(self, host: str) -> bool:
        """Return whether a host is listed by its name, whatever its address is."""
        return host.lower().removesuffix(".") in self.names

    def has_address(self, ip: Address) -> bool:
        """Return whether an address is in a listed network, also one that is mapped into IPv6."""
        inner = getattr(ip, "ipv4_mapped", None) or ip
        return any(inner in network for network in self.networks)


def networks_of(text: str | None) -> tuple[Network, ...]:
    """Return the networks in a list that is separated by commas; ``ValueError`` if one of them is
    not an address or a network."""
    parts = [part.strip() for part in (text or "").split(",")]
    return tuple(ipaddress.ip_network(part, strict=False) for part in parts if part)


def host_of(url: str | None) -> str:
    """Return the host in an address; empty if there is none, or the text is no address."""
    try:
        return urlsplit(url or "").hostname or ""
    except ValueError:
        return ""


def site_of(host: str) -> str:
    """Return the part of a host that its owner registered, in lower case.

    Without the list of public suffixes, two labels are taken for it, and three below ``co.kr`` and
    the like: sites of one owner are then one platform, as those who run it see them.
    """
    labels = host.lower().rstrip(".").split(".")
    if labels[-1].isdigit() or ":" in host:  # an address
        return host
    is_below = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return ".".join(labels[-3 if is_below else -2 :])


def platform_of(url: str | None) -> str:
    """Return the name by which the platform at an address is known, or else its host without
    ``www.``; empty if there is none."""
    host = host_of(url)
    return PLATFORMS.get(site_of(host)) or host.removeprefix("www.")


def is_of_site(host: str, site: str) -> bool:
    """Return whether a host is a site's, or below it."""
    return host == site or host.endswith(f".{site}")
