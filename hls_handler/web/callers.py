"""Finds who sent a request: the holder of `server.api_key`, a person whom `server.trusted_proxy`
has signed in, or another machine.
"""

from __future__ import annotations

import hmac
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.requests import Request

from hls_handler.settings.model import Server
from hls_handler.settings.values import is_loopback

# printable ASCII without the comma, with which proxies join two headers
LOGIN = re.compile(r"[!-+\--~]{1,100}")

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?")
"""Matches the header Host. Starlette's `request.url` has the server's own address if it cannot
parse the header.
"""

PROXY_HEADERS = re.compile(r"forwarded|via|x-real-ip|x-forwarded-.+")
"""Headers that proxies add to a request, and browsers do not."""


class Callers:
    def __init__(self, server: Server) -> None:
        self.key: bytes | None = None
        if server.api_key is not None:
            self.key = server.api_key.get_secret_value().encode()
        proxy = server.trusted_proxy
        self._header = ""
        self._networks: list[IPv4Network | IPv6Network] = []
        if proxy is not None:
            self._header = proxy.user_header
            self._networks += map(ip_network, proxy.networks)
        self._has_sign_in = server.has_sign_in

    def is_key(self, key: bytes) -> bool:
        return self.key is not None and hmac.compare_digest(key, self.key)

    def has_key(self, request: Request, *, or_bearer: bool = False) -> bool:
        """Return True if the key is in one header, X-API-Key or with `or_bearer` Authorization."""
        values = request.headers.getlist("x-api-key")
        if or_bearer:
            for value in request.headers.getlist("authorization"):
                scheme, _, token = value.partition(" ")
                if scheme.lower() == "bearer":
                    values.append(token.strip())
        # as Starlette decodes headers
        return len(values) == 1 and self.is_key(values[0].encode("latin-1"))

    def may_read(self, request: Request, *, or_bearer: bool = False) -> bool:
        """Return True for a request with the key or of a user, and for all if the settings have no
        sign-in.
        """
        if not self._has_sign_in or self.has_key(request, or_bearer=or_bearer):
            return True
        return self.find_user(request) is not None

    def find_user(self, request: Request) -> str | None:
        """Return the login in the header; None if there is not exactly one that can be a login.

        The header counts only if the TCP connection is from one of the networks. X-Forwarded-For
        has no effect.
        """
        address = _find_address(request)
        if address is None or not any(address in network for network in self._networks):
            return None
        values = request.headers.getlist(self._header)
        if len(values) != 1 or not LOGIN.fullmatch(values[0]):
            return None
        return values[0]


def _find_address(request: Request) -> IPv4Address | IPv6Address | None:
    """Return the address of the client; None if it is not connected over TCP."""
    if request.client is None:
        return None
    try:
        address = ip_address(request.client.host)
    except ValueError:  # a path of a socket
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:  # of a socket that accepts both
        return address.ipv4_mapped
    return address


def find_sign_of_others(request: Request) -> str | None:
    """Return what shows that another machine, or a web page of another site, may have sent the
    request; None if nothing does.

    The address of the client and the header Host count because another ASGI server than that of
    `hls serve` may listen on any address, and because a web page of another site can make its own
    name point to this machine.
    """
    address = _find_address(request)
    if address is None or not address.is_loopback:
        return "the client is not on this machine"
    host = HOST.fullmatch(request.headers.get("host", ""))
    if host is None or not is_loopback(host[1]):
        return "the header Host is not a name of this machine"
    sign = _find_sign_of_proxy(request)
    if sign is None and is_of_other_site(request):
        return "a web page of another site has sent the request"
    return sign


def _find_sign_of_proxy(request: Request) -> str | None:
    header = next((name for name in request.headers if PROXY_HEADERS.fullmatch(name)), None)
    if header is not None:
        return f"the request has the header {header.title()}"
    # Without configuration, nginx adds no header, but uses this version. Browsers do not.
    if request.scope.get("http_version") == "1.0":
        return "the request is of HTTP/1.0"
    return None


def is_of_other_site(request: Request, *, public_origin: str = "") -> bool:
    """Return True if the headers say that a web page of another site, or of another port, has sent
    the request.

    Links to our pages are allowed.
    """
    headers = request.headers
    host = headers.get("host")
    if headers.get("origin") not in (None, f"http://{host}", f"https://{host}", public_origin):
        return True
    if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return False
    is_link = (
        headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    )
    return not (is_link and request.method in ("GET", "HEAD"))
