"""The way out to an address: by which proxy, and whose certificates are believed; the same for GitHub and for Claude.

It is said by the variables that other programs know, too. The libraries read them each in its own way (requests heeds
REQUESTS_CA_BUNDLE and believes certifi's authorities, httpx2 heeds SSL_CERT_FILE and believes the system's), so they
are told what is found here, and look at no variable themselves.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import certifi
import requests

from hls_handler.clients.wording import cause, refusal_of_proxy, unbelieved
from hls_handler.errors import SettingsError
from hls_handler.settings.checks import is_loopback
from hls_handler.settings.environment import AUTHORITIES, EXCEPTED, PROXIES, either_case


@dataclass(frozen=True, slots=True)
class Way:
    """How one address is reached. `proxy` may hold a password: people are shown `shown_proxy`."""

    proxy: str | None = field(repr=False)  # "http://user:password@proxy.example:3128"
    authorities: str  # the file or folder of the certificates that are believed
    named_by: str | None = None  # the variable that names it; None for the system's

    @property
    def shown_proxy(self) -> str | None:
        return None if self.proxy is None else _shown(urlsplit(self.proxy))

    def context(self) -> ssl.SSLContext:
        """For TLS that believes these authorities and no other."""
        folder = Path(self.authorities).is_dir()
        return ssl.create_default_context(
            cafile=None if folder else self.authorities, capath=self.authorities if folder else None
        )

    def lead(self, session: requests.Session) -> None:
        """Have a session go this way; `authorities` it is told with each request."""
        session.trust_env = False
        session.proxies = {"https": self.proxy} if self.proxy else {}

    def told(self, exc: BaseException, *, otherwise: str) -> tuple[str, str]:
        """Why no answer came, to be read after "no answer", and what to do; `otherwise` where we know no better."""
        through = f" through the proxy {self.shown_proxy}" if self.proxy else ""
        doubt = unbelieved(exc)
        if doubt is not None:
            here = f"{self.named_by} ({self.authorities})" if self.named_by else f"the system's {self.authorities}"
            remedy = (
                "name a PEM file that has the certificate of the authority behind it in SSL_CERT_FILE, and restart; "
                f"now {here} says who is believed"
            )
            return f"{through}: the certificate there is not believed: {doubt}", remedy
        status = refusal_of_proxy(exc) if self.proxy else None
        if status == 407:
            remedy = "mend the name and password in HTTPS_PROXY, and restart"
            return f"{through}: it wants another name or password (407)", remedy
        if self.proxy:
            otherwise = f"check the proxy that HTTPS_PROXY names, or except the host by NO_PROXY; {otherwise}"
        return f"{through}: {f'it answered {status}' if status else cause(exc)}", otherwise


def find_way(address: str, environ: Mapping[str, str] = os.environ) -> Way:
    """The way to an address such as "https://api.github.com". Raises `SettingsError` naming the variable to mend."""
    named_by, authorities = _authorities(environ)
    return Way(_proxy(urlsplit(address), environ), authorities, named_by)


def proxy_secrets(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The passwords in the addresses of proxies, as written and as sent: nobody may see them."""
    found = set[str]()
    for variable in either_case(*PROXIES):
        _, at, _ = environ.get(variable, "").rpartition("@")
        password = _split(environ[variable]).password if at else None
        if password:
            found |= {password, unquote(password)}
    return frozenset(found)


def _authorities(environ: Mapping[str, str]) -> tuple[str | None, str]:
    for variable in AUTHORITIES:
        named = environ.get(variable)
        if named:
            _require_certificates(variable, named)
            return variable, named
    system = ssl.get_default_verify_paths()
    for known in (system.openssl_cafile, system.openssl_capath):
        if Path(known).is_file() or (Path(known).is_dir() and any(Path(known).glob("*.[0-9]"))):
            return None, known
    return None, certifi.where()


def _require_certificates(variable: str, named: str) -> None:
    if Path(named).is_dir():
        return
    try:
        ssl.create_default_context(cafile=named)
    except ssl.SSLError:
        problem = "holds no certificates in PEM form"
    except OSError as exc:
        problem = f"cannot be read: {exc.strerror}"
    else:
        return
    raise SettingsError([f"the variable {variable}: {named} {problem}"])


def _proxy(address: SplitResult, environ: Mapping[str, str]) -> str | None:
    """Only for https: without TLS, settings allow addresses of this machine only, which no proxy can reach for us."""
    host = address.hostname or ""
    if address.scheme != "https" or is_loopback(host) or _is_excepted(host, address.port, environ):
        return None
    for variable in either_case(*PROXIES):
        named = environ.get(variable)
        if named:
            place = _split(named)
            if place.scheme != "http" or not place.hostname or _port(place) == 0:
                raise SettingsError(
                    [f"the variable {variable}: write it as http://proxy.example:3128; other kinds are not supported"]
                )
            return place.geturl()
    return None


def _split(proxy: str) -> SplitResult:
    try:
        return urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    except ValueError:
        return urlsplit("")


def _port(place: SplitResult) -> int | None:
    try:
        return place.port
    except ValueError:
        return 0


def _shown(place: SplitResult) -> str:
    host = f"[{place.hostname}]" if ":" in (place.hostname or "") else place.hostname
    return f"{place.scheme}://{host}" + (f":{place.port}" if place.port else "")


def _is_excepted(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    """By NO_PROXY: "*", hosts with all that is below them, addresses, networks; each may have a port."""
    entries = next((environ[name] for name in either_case(*EXCEPTED) if environ.get(name)), "")
    return any(_fits(entry, host, port) for entry in entries.replace(",", " ").lower().split())


def _fits(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    name, colon, its_port = entry.rpartition(":")
    if colon and its_port.isdigit():
        if int(its_port) != (port or 443):
            return False
        entry = name.strip("[]")
    name = entry.removeprefix("*").removeprefix(".")
    return name != "" and (host == name or host.endswith(f".{name}"))
