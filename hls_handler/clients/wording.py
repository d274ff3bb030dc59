"""Text that others wrote, made fit for our error messages: one short line, without the secret we hold."""

from __future__ import annotations

import base64
from urllib.parse import quote

LONGEST = 300
"""Characters of somebody else's text that one message may carry."""


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
    reason, seen = type(exc).__name__, set[int]()
    link: BaseException | None = exc
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, OSError) and link.errno is not None and isinstance(link.strerror, str):
            reason = link.strerror
        link = _inner(link)
    return reason


def _inner(exc: BaseException) -> BaseException | None:
    """The exception that this one was made of: named as its cause, being handled, or handed over as an argument."""
    held = [exc.__cause__, exc.__context__, *exc.args, getattr(exc, "reason", None)]
    return next((link for link in held if isinstance(link, BaseException)), None)
