"""Makes foreign text fit for error messages (one short line without secrets) and finds causes of failed connections."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from ssl import SSLCertVerificationError
from urllib.parse import quote

MAX_CHARS = 300
"""Limit for foreign text in one message, in characters."""

TUNNEL_STATUS = re.compile(r"(?:Tunnel connection failed: )?([45][0-9]{2}) ")
"""Start of the errors of `http.client` and httpcore2 if a proxy rejects a tunnel."""


def redact_secret(text: str, secret: str) -> str:
    """Return the text as one line of at most 300 characters, with the secret (also URL- or base64-encoded) as `***`."""
    encoded = secret.encode()
    forms = {
        secret,
        quote(secret, safe=""),
        base64.b64encode(encoded).decode().rstrip("="),
        base64.urlsafe_b64encode(encoded).decode().rstrip("="),
    }
    for form in sorted(forms - {""}, key=len, reverse=True):
        text = text.replace(form, "***")
    return shorten(text)


def shorten(text: str) -> str:
    """Return the text as one line of at most 300 characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_CHARS else line[: MAX_CHARS - 1] + "…"


def is_valid_header_value(secret: str) -> bool:
    """Check that a secret is valid in an HTTP header; otherwise the HTTP library would put it into an error message."""
    return secret.isascii() and secret.isprintable() and secret.strip() == secret and secret != ""


def describe_cause(exc: BaseException) -> str:
    """Return the operating system's message for a failed connection ("Connection refused"), else the exception's class.

    Messages of HTTP libraries are not used: they may contain headers, and with them a key.
    """
    messages = [
        link.strerror
        for link in _chain(exc)
        if isinstance(link, OSError) and link.errno is not None and isinstance(link.strerror, str)
    ]
    return messages[-1] if messages else type(exc).__name__


def find_certificate_problem(exc: BaseException) -> str | None:
    """Return OpenSSL's message if the verification of the server's certificate failed, else None."""
    messages = (link.verify_message for link in _chain(exc) if isinstance(link, SSLCertVerificationError))
    return next(messages, None)


def find_proxy_status(exc: BaseException) -> int | None:
    """Return the status with which a proxy rejected the tunnel, or None."""
    for link in _chain(exc):
        match = TUNNEL_STATUS.match(str(link.args[0])) if link.args and isinstance(link.args[0], str) else None
        if match is not None:
            return int(match[1])
    return None


def _chain(exc: BaseException) -> Iterator[BaseException]:
    seen = set[int]()
    link: BaseException | None = exc
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = _inner_exception(link)


def _inner_exception(exc: BaseException) -> BaseException | None:
    """Return the exception that caused this one: its cause, its context, or an argument."""
    candidates = [exc.__cause__, exc.__context__, *exc.args, getattr(exc, "reason", None)]
    return next((link for link in candidates if isinstance(link, BaseException)), None)
