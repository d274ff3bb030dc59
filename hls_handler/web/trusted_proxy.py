"""Finds the person whom a proxy has signed in: `server.trusted_proxy`, for the console, the API, /stats and /health."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.requests import Request

from hls_handler.settings.model import Server

LOGIN = re.compile(r"[!-+\--~]{1,100}")  # printable ASCII without the comma, with which proxies join two headers


class TrustedProxy:
    def __init__(self, server: Server) -> None:
        given = server.trusted_proxy
        self._header = given.user_header if given else ""
        self._networks = tuple(map(ip_network, given.networks)) if given else ()

    def find_user(self, request: Request) -> str | None:
        """Return the login in the header; None if there is not exactly one that can be a login.

        The header counts only if the TCP connection is from one of the networks. X-Forwarded-For has no effect.
        """
        given = request.headers.getlist(self._header) if self._networks else []
        is_login = len(given) == 1 and LOGIN.fullmatch(given[0])
        return given[0] if is_login and request.client and self._is_trusted(request.client.host) else None

    def _is_trusted(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:  # a path of a socket
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:  # of a socket that accepts both
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
