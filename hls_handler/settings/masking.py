"""Collection and masking of the secrets in the settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

from pydantic import SecretStr

from hls_handler.settings.model import Settings

MASK = "***"
_MIN_CHARS = 8  # a shorter text may occur inside ordinary words
_PASSWORDS = (re.compile(r"://[^:/]*:([^@]+)@"), re.compile(r"[?&](?:ssl)?password=([^&]+)"))
"""Positions of a password in an SQLAlchemy URL: before the @, and in the driver's options."""


def collect_secrets(settings: Settings) -> tuple[str, ...]:
    """All secrets, longest first, so that masking one leaves no part of another."""
    found = set(_iter_secrets(settings.model_dump()))
    for password in (match for pattern in _PASSWORDS for match in pattern.findall(settings.storage.url)):
        unquoted = unquote(password)
        found |= {password, unquoted} if len(unquoted) >= _MIN_CHARS else {f":{password}@"}
    return tuple(sorted(found, key=lambda secret: (-len(secret), secret)))


def masked(text: str, secrets: Iterable[str]) -> str:
    """Replace the secrets, which must be ordered longest first, by `***`."""
    for secret in secrets:
        if len(secret) >= _MIN_CHARS:
            text = text.replace(secret, MASK)
    return text


def _iter_secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _iter_secrets(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _iter_secrets(item)
