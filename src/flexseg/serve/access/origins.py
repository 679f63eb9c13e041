"""Whether a request comes from the server's own page, or from a program, and not from another site.

Browsers tell where a request comes from (`Sec-Fetch-Site`, `Origin`), and pages cannot change that.
"""

from __future__ import annotations

import ipaddress

from starlette.datastructures import Headers

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# What proxies add; a server that is reached through one does not know who sits at this machine.
_OF_PROXIES = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def is_local_name(host: str) -> bool:
    """Whether the Host header of a request names this machine.

    Names of the internet can be made to lead to 127.0.0.1, whose pages would then pass for ours.
    """
    return is_loopback(_name_of(host))


def comes_through_proxy(headers: Headers) -> bool:
    """Whether another server has passed a request on."""
    return any(name in headers for name in _OF_PROXIES)


def is_foreign(headers: Headers, scheme: str) -> bool:
    """Whether the page of another site has sent a request.

    Programs that are no browsers tell nothing, and are not meant.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    return origin.lower() != f"{scheme}://{headers.get('host', '')}".lower()


def _name_of(host: str) -> str:
    """A host without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] if ":" in host else host
