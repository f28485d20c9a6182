"""Lists of networks and of hosts, as settings name them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")


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
