"""Finds who sent a request: the holder of `server.api_key`, a person whom `server.trusted_proxy`
has signed in, or another machine.
"""

from __future__ import annotations

import hmac
import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.requests import Request

from hls_handler.settings.model import Server

# printable ASCII without the comma, with which proxies join two headers
LOGIN = re.compile(r"[!-+\--~]{1,100}")

PROXY_HEADERS = re.compile(r"forwarded|via|x-real-ip|x-forwarded-.+")
"""Headers that proxies add to a request, and browsers do not."""


class Callers:
    def __init__(self, server: Server) -> None:
        key = server.api_key
        proxy = server.trusted_proxy
        self.key = None if key is None else key.get_secret_value().encode()
        self._header = proxy.user_header if proxy else ""
        self._networks = tuple(map(ip_network, proxy.networks)) if proxy else ()
        self._has_sign_in = server.has_sign_in

    def is_key(self, given: bytes) -> bool:
        return self.key is not None and hmac.compare_digest(given, self.key)

    def has_key(self, request: Request, *, or_bearer: bool = False) -> bool:
        """Return True if the key is in one header, X-API-Key or with `or_bearer` Authorization."""
        given = request.headers.getlist("x-api-key")
        for value in request.headers.getlist("authorization") if or_bearer else ():
            scheme, _, token = value.partition(" ")
            given += [token.strip()] if scheme.lower() == "bearer" else []
        # as Starlette decodes headers
        return len(given) == 1 and self.is_key(given[0].encode("latin-1"))

    def may_read(self, request: Request, *, or_bearer: bool = False) -> bool:
        """Return True for a request with the key or of a user, and for all if the settings have no
        sign-in.
        """
        is_known = self.has_key(request, or_bearer=or_bearer) or self.find_user(request) is not None
        return is_known or not self._has_sign_in

    def find_user(self, request: Request) -> str | None:
        """Return the login in the header; None if there is not exactly one that can be a login.

        The header counts only if the TCP connection is from one of the networks. X-Forwarded-For
        has no effect.
        """
        given = request.headers.getlist(self._header) if self._networks else []
        is_login = len(given) == 1 and LOGIN.fullmatch(given[0])
        return (
            given[0]
            if is_login and request.client and self._is_trusted(request.client.host)
            else None
        )

    def _is_trusted(self, host: str) -> bool:
        address = _parse_address(host)
        return address is not None and any(address in network for network in self._networks)


def _parse_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:  # a path of a socket
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:  # of a socket that accepts both
        return address.ipv4_mapped
    return address


def find_sign_of_others(request: Request) -> str | None:
    """Return what shows that another machine may have sent the request; None if nothing does."""
    address = _parse_address(request.client.host) if request.client else None
    if address is None or not address.is_loopback:
        return "the client is not on this machine"
    return find_sign_of_proxy(request)


def find_sign_of_proxy(request: Request) -> str | None:
    """Return what shows that a proxy has forwarded the request; None if nothing does."""
    header = next((name for name in request.headers if PROXY_HEADERS.fullmatch(name)), None)
    if header is not None:
        return f"the request has the header {header.title()}"
    # Without configuration, nginx adds no header, but uses this version. Browsers do not.
    return "the request is of HTTP/1.0" if request.scope.get("http_version") == "1.0" else None
