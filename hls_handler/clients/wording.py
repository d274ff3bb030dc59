"""Text that others wrote, made fit for our error messages: one short line, without the secret we hold."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from ssl import SSLCertVerificationError
from urllib.parse import quote

LONGEST = 300
"""Characters of somebody else's text that one message may carry."""

REFUSED_TUNNEL = re.compile(r"(?:Tunnel connection failed: )?([45][0-9]{2}) ")
"""How `http.client` and httpcore2 begin what they say of a proxy that does not connect."""


def hush(text: str, secret: str) -> str:
    """The text as one line of at most 300 characters, with the secret (also URL- or base64-encoded) shown as `***`."""
    plain = secret.encode()
    forms = {
        secret,
        quote(secret, safe=""),
        base64.b64encode(plain).decode().rstrip("="),
        base64.urlsafe_b64encode(plain).decode().rstrip("="),
    }
    for form in sorted(forms - {""}, key=len, reverse=True):
        text = text.replace(form, "***")
    return short(text)


def short(text: str) -> str:
    """The text as one line of at most 300 characters."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def usable_secret(secret: str) -> bool:
    """Whether a key can stand in an HTTP header; one that cannot would be quoted by the library that refuses it."""
    return secret.isascii() and secret.isprintable() and secret.strip() == secret and secret != ""


def cause(exc: BaseException) -> str:
    """Why a connection failed, in the operating system's words where it has some: "Connection refused".

    The texts of HTTP libraries are not used: they may quote headers, and with them a key.
    """
    said = [
        link.strerror
        for link in _chain(exc)
        if isinstance(link, OSError) and link.errno is not None and isinstance(link.strerror, str)
    ]
    return said[-1] if said else type(exc).__name__


def unbelieved(exc: BaseException) -> str | None:
    """Why a server's certificate was not believed, in OpenSSL's words; None where that was not the trouble."""
    refusals = (link.verify_message for link in _chain(exc) if isinstance(link, SSLCertVerificationError))
    return next(refusals, None)


def refusal_of_proxy(exc: BaseException) -> int | None:
    """The status that a proxy answered instead of connecting; None where it answered nothing."""
    for link in _chain(exc):
        told = REFUSED_TUNNEL.match(str(link.args[0])) if link.args and isinstance(link.args[0], str) else None
        if told is not None:
            return int(told[1])
    return None


def _chain(exc: BaseException) -> Iterator[BaseException]:
    seen = set[int]()
    link: BaseException | None = exc
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = _inner(link)


def _inner(exc: BaseException) -> BaseException | None:
    """The exception that this one was made of: named as its cause, being handled, or handed over as an argument."""
    held = [exc.__cause__, exc.__context__, *exc.args, getattr(exc, "reason", None)]
    return next((link for link in held if isinstance(link, BaseException)), None)
