"""Proxy and certificate settings for outgoing connections, the same for GitHub and Claude.

They come from the usual environment variables. The libraries interpret these differently (requests uses
REQUESTS_CA_BUNDLE and the authorities of certifi, httpx2 uses SSL_CERT_FILE and those of the system), so the libraries
get explicit values from this module and read no variables themselves.
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

from hls_handler.clients.wording import describe_cause, find_certificate_problem, find_proxy_status
from hls_handler.errors import SettingsError
from hls_handler.settings.checks import is_loopback
from hls_handler.settings.environment import CA_VARIABLES, NO_PROXY_VARIABLES, PROXY_VARIABLES, both_cases


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Settings for one address. `proxy` may contain a password: messages show `proxy_without_credentials` instead."""

    proxy: str | None = field(repr=False)  # "http://user:password@proxy.example:3128"
    ca_path: str  # file or folder with the certificates of the trusted authorities
    ca_variable: str | None = None  # the environment variable that names it; None for the system's

    @property
    def proxy_without_credentials(self) -> str | None:
        return None if self.proxy is None else _without_credentials(urlsplit(self.proxy))

    def ssl_context(self) -> ssl.SSLContext:
        """Return a TLS context that trusts only these authorities."""
        folder = Path(self.ca_path).is_dir()
        return ssl.create_default_context(
            cafile=None if folder else self.ca_path, capath=self.ca_path if folder else None
        )

    def apply_to(self, session: requests.Session) -> None:
        """Set the proxy of a session. `ca_path` must be passed with each request."""
        session.trust_env = False
        session.proxies = {"https": self.proxy} if self.proxy else {}

    def explain_failure(self, exc: BaseException, *, otherwise: str) -> tuple[str, str]:
        """Return the reason, to be appended to "no answer", and the remedy; `otherwise` is the default remedy."""
        through = f" through the proxy {self.proxy_without_credentials}" if self.proxy else ""
        certificate_problem = find_certificate_problem(exc)
        if certificate_problem is not None:
            source = f"{self.ca_variable} ({self.ca_path})" if self.ca_variable else f"the system's {self.ca_path}"
            remedy = (
                "set SSL_CERT_FILE to a PEM file with the certificate of the server's authority, and restart; "
                f"the trusted authorities now come from {source}"
            )
            return f"{through}: certificate verification failed: {certificate_problem}", remedy
        status = find_proxy_status(exc) if self.proxy else None
        if status == 407:
            remedy = "correct the user name and password in HTTPS_PROXY, and restart"
            return f"{through}: it rejected the user name or password (407)", remedy
        if self.proxy:
            otherwise = f"check the proxy that HTTPS_PROXY names, or except the host by NO_PROXY; {otherwise}"
        return f"{through}: {f'it answered {status}' if status else describe_cause(exc)}", otherwise


def find_proxy_settings(address: str, environ: Mapping[str, str] = os.environ) -> ProxySettings:
    """Return the settings for an address such as "https://api.github.com". `SettingsError` names the wrong variable."""
    ca_variable, ca_path = _find_ca_path(environ)
    return ProxySettings(_find_proxy(urlsplit(address), environ), ca_path, ca_variable)


def proxy_passwords(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the passwords in proxy URLs, as written and as sent, so that they can be redacted."""
    found = set[str]()
    for variable in both_cases(*PROXY_VARIABLES):
        _, at, _ = environ.get(variable, "").rpartition("@")
        password = _split_proxy_url(environ[variable]).password if at else None
        if password:
            found |= {password, unquote(password)}
    return frozenset(found)


def _find_ca_path(environ: Mapping[str, str]) -> tuple[str | None, str]:
    for variable in CA_VARIABLES:
        value = environ.get(variable)
        if value:
            _require_certificates(variable, value)
            return variable, value
    system = ssl.get_default_verify_paths()
    for path in (system.openssl_cafile, system.openssl_capath):
        if Path(path).is_file() or (Path(path).is_dir() and any(Path(path).glob("*.[0-9]"))):
            return None, path
    return None, certifi.where()


def _require_certificates(variable: str, value: str) -> None:
    if Path(value).is_dir():
        return
    try:
        ssl.create_default_context(cafile=value)
    except ssl.SSLError:
        problem = "holds no certificates in PEM form"
    except OSError as exc:
        problem = f"cannot be read: {exc.strerror}"
    else:
        return
    raise SettingsError([f"the variable {variable}: {value} {problem}"])


def _find_proxy(address: SplitResult, environ: Mapping[str, str]) -> str | None:
    """Return the proxy for https. For http the settings allow only loopback addresses, which a proxy cannot reach."""
    host = address.hostname or ""
    if address.scheme != "https" or is_loopback(host) or _bypasses_proxy(host, address.port, environ):
        return None
    for variable in both_cases(*PROXY_VARIABLES):
        value = environ.get(variable)
        if value:
            url = _split_proxy_url(value)
            if url.scheme != "http" or not url.hostname or _port_or_zero(url) == 0:
                raise SettingsError(
                    [f"the variable {variable}: write it as http://proxy.example:3128; other kinds are not supported"]
                )
            return url.geturl()
    return None


def _split_proxy_url(proxy: str) -> SplitResult:
    try:
        return urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    except ValueError:
        return urlsplit("")


def _port_or_zero(url: SplitResult) -> int | None:
    try:
        return url.port
    except ValueError:
        return 0


def _without_credentials(url: SplitResult) -> str:
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    return f"{url.scheme}://{host}" + (f":{url.port}" if url.port else "")


def _bypasses_proxy(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    """Apply NO_PROXY: "*", hosts with their subdomains, addresses, networks; an entry may have a port."""
    entries = next((environ[name] for name in both_cases(*NO_PROXY_VARIABLES) if environ.get(name)), "")
    return any(_matches_entry(entry, host, port) for entry in entries.replace(",", " ").lower().split())


def _matches_entry(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    name, colon, entry_port = entry.rpartition(":")
    if colon and entry_port.isdigit():
        if int(entry_port) != (port or 443):
            return False
        entry = name.strip("[]")
    name = entry.removeprefix("*").removeprefix(".")
    return name != "" and (host == name or host.endswith(f".{name}"))
