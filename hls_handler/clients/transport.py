"""Outgoing HTTP connections to GitHub and Claude: proxy and certificate settings, causes of failures, Retry-After.

The libraries httpx2 and requests (of OpenTelemetry's exporter) interpret the environment variables for proxies and
certificates differently. Both get explicit values from this module and read no variables themselves.
"""

from __future__ import annotations

import math
import os
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

import certifi
import httpx2

from hls_handler.errors import Permanent, SettingsError
from hls_handler.logs import mask_secrets
from hls_handler.settings.load import CA_VARIABLES, NO_PROXY_VARIABLES, PROXY_VARIABLES, both_cases
from hls_handler.settings.values import is_loopback

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Proxy and certificate authorities for one address. Messages show `proxy_without_credentials`, never `proxy`."""

    proxy: str | None = field(repr=False)  # "http://user:password@proxy.example:3128"
    ca_path: str  # file or folder with the certificates of the trusted authorities
    ca_variable: str | None = None  # the environment variable that names `ca_path`; None for the system's authorities

    @property
    def proxy_without_credentials(self) -> str | None:
        return None if self.proxy is None else str(httpx2.URL(self.proxy).copy_with(userinfo=b""))

    def new_transport(self, **options: Any) -> LimitedTransport:
        """Return a transport with the proxy and the authorities. `options` are those of httpx2's transport."""
        return LimitedTransport(verify=ssl_context(self.ca_path), trust_env=False, proxy=self.proxy, **options)

    def new_session(self) -> requests.Session:
        """Return a session with the proxy. The caller must pass `ca_path` with each request."""
        import requests  # only for traces

        session = requests.Session()
        session.trust_env = False
        session.proxies = {"https": self.proxy} if self.proxy else {}
        return session

    def explain_failure(self, exc: BaseException, *, otherwise: str) -> tuple[str, str]:
        """Return the cause, such as ": Connection refused", and the remedy. `otherwise` is the default remedy."""
        through = f" through the proxy {self.proxy_without_credentials}" if self.proxy else ""
        certificate_problems = [e.verify_message for e in _causes(exc) if isinstance(e, ssl.SSLCertVerificationError)]
        if certificate_problems:
            source = f"{self.ca_variable} ({self.ca_path})" if self.ca_variable else f"the system's {self.ca_path}"
            remedy = (
                "set SSL_CERT_FILE to a PEM file with the certificate of the server's authority, and restart; "
                f"the trusted authorities now come from {source}"
            )
            return f"{through}: certificate verification failed: {certificate_problems[0]}", remedy
        status = _find_proxy_status(exc) if self.proxy else None
        if status == 407:
            remedy = "correct the user name and password in HTTPS_PROXY, and restart"
            return f"{through}: it rejected the user name or password (407)", remedy
        if self.proxy:
            otherwise = f"check the proxy that HTTPS_PROXY names, or add the host to NO_PROXY; {otherwise}"
        return f"{through}: {f'it answered {status}' if status else describe_cause(exc)}", otherwise


class LimitedTransport(httpx2.HTTPTransport):
    """Sends a request once. It reads error responses, but no body over `MAX_ERROR_BYTES`, which becomes empty."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        if response.is_success:
            return response
        try:
            body = read_body(response.iter_bytes(), MAX_ERROR_BYTES)
        finally:
            response.close()
        headers = [(name, value) for name, value in response.headers.multi_items() if name not in _BODY_HEADERS]
        return httpx2.Response(response.status_code, headers=headers, content=body, extensions=response.extensions)


_BODY_HEADERS = frozenset({"content-encoding", "content-length", "transfer-encoding"})


def read_body(chunks: Iterable[bytes], max_bytes: int) -> bytes | None:
    """Return the body, or None if it is larger; the rest is not read."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            return None
    return bytes(body)


def exchange(address: str, path: str, question: object, timeout_s: float) -> bytes:
    """Send a POST with `question` as JSON, or a GET if it is None, and return the body of the response.

    Nothing is repeated or redirected. Raises `Permanent` without a response of status 200 and at most 100 kB.
    """
    proxy = find_proxy_settings(address)
    method = "GET" if question is None else "POST"
    try:
        with (
            httpx2.Client(transport=proxy.new_transport(), trust_env=False, timeout=timeout_s) as client,
            client.stream(method, f"{address}{path}", json=question) as response,
        ):
            body = read_body(response.iter_bytes(), MAX_ANSWER_BYTES)
    except httpx2.HTTPError as exc:
        raise Permanent(f"no answer{proxy.explain_failure(exc, otherwise='')[0]}") from None
    if response.status_code != 200 or body is None:
        raise Permanent("the answer is too long" if body is None else f"the answer has status {response.status_code}")
    return body


@cache  # loading all authorities takes tens of milliseconds, and a megabyte for each context
def ssl_context(ca_path: str) -> ssl.SSLContext:
    """Return the process's TLS context that trusts only the authorities in the file or folder."""
    is_folder = Path(ca_path).is_dir()
    return ssl.create_default_context(cafile=None if is_folder else ca_path, capath=ca_path if is_folder else None)


def find_proxy_settings(address: str, environ: Mapping[str, str] = os.environ) -> ProxySettings:
    """Return the settings for an address such as "https://api.github.com". Raises `SettingsError`."""
    ca_variable, ca_path = _find_ca_path(environ)
    return ProxySettings(_find_proxy(urlsplit(address), environ), ca_path, ca_variable)


def proxy_passwords(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the passwords in the proxy variables, as written and percent-decoded, so that they can be redacted."""
    found = set[str]()
    for variable in both_cases(*PROXY_VARIABLES):
        credentials, _, _ = environ.get(variable, "").rpartition("@")
        _, _, password = credentials.removeprefix("http://").partition(":")
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
    try:
        if not Path(value).is_dir():
            ssl.create_default_context(cafile=value)
    except ssl.SSLError:
        raise SettingsError([f"the variable {variable} names {value}, which has no certificates in PEM form"]) from None
    except OSError as exc:
        raise SettingsError([f"the variable {variable} names {value}, which cannot be read: {exc.strerror}"]) from exc


def _find_proxy(address: SplitResult, environ: Mapping[str, str]) -> str | None:
    host = address.hostname or ""
    # A proxy cannot reach a loopback address, and the settings allow http only for loopback.
    if address.scheme != "https" or is_loopback(host) or _bypasses_proxy(host, address.port, environ):
        return None
    for variable in both_cases(*PROXY_VARIABLES):
        value = environ.get(variable)
        if value:
            return _parse_proxy_url(variable, value)
    return None


def _parse_proxy_url(variable: str, value: str) -> str:
    try:
        url = httpx2.URL(value if "://" in value else f"http://{value}")
        if url.scheme == "http" and url.host and url.port != 0:
            return str(url)
    except httpx2.InvalidURL:
        pass
    raise SettingsError(  # raised outside of `except`, because the parser's error may contain a password
        [f"the variable {variable} must be the URL of an http:// proxy, such as http://proxy.example:3128"]
    )


def _bypasses_proxy(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
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


MAX_ERROR_BYTES = 65_536  # limit for the body of an error response; real ones have a few hundred bytes

MAX_ANSWER_BYTES = 100_000  # limit for `exchange`

MAX_CHARS = 300  # limit for foreign text in one message, in characters


def redact_secret(text: str, *secrets: str) -> str:
    """Return the text as one line of at most 300 characters, with the secrets (in any encoding) as `***`."""
    return shorten(mask_secrets(text, secrets))


def shorten(text: str) -> str:
    """Return the text as one line of at most 300 characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_CHARS else line[: MAX_CHARS - 1] + "…"


def describe_cause(exc: BaseException) -> str:
    """Return the operating system's message, such as "Connection refused", or else the exception's class name.

    Messages of HTTP libraries are not used: they may contain headers, and with them a key.
    """
    messages = [
        link.strerror
        for link in _causes(exc)
        if isinstance(link, OSError) and link.errno is not None and isinstance(link.strerror, str)
    ]
    return messages[-1] if messages else type(exc).__name__


def _find_proxy_status(exc: BaseException) -> int | None:
    """Return the status with which the proxy rejected a tunnel, which begins the message: "407 Proxy ..."."""
    status = next((str(link)[:3] for link in _causes(exc) if isinstance(link, httpx2.ProxyError)), "")
    return int(status) if status.isdigit() else None


def _causes(exc: BaseException) -> list[BaseException]:
    found = list[BaseException]()
    link: BaseException | None = exc
    while link is not None and link not in found:
        found.append(link)
        link = link.__cause__ or link.__context__
    return found


MAX_WAIT = timedelta(hours=2)
"""Longest wait that a response can cause. A longer one is shortened, because its cause may end earlier."""


def retry_after(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """Return the time given by `retry-after` in seconds; None if it is absent or not a number.

    `headers` has lower-case names. The wait is limited to two hours.
    """
    try:
        wait_s = float(headers.get("retry-after", "nan"))
    except ValueError:  # a date, which neither GitHub nor Claude sends
        return None
    return None if math.isnan(wait_s) else now + timedelta(seconds=min(max(wait_s, 0.0), MAX_WAIT.total_seconds()))


def rate_limit_reset(headers: Mapping[str, str]) -> datetime | None:
    """Return when GitHub's quota resets; None if GitHub does not say so."""
    reset = headers.get("x-ratelimit-reset", "")
    return datetime.fromtimestamp(int(reset), UTC) if re.fullmatch("[0-9]{1,10}", reset) else None
