"""The secrets in the settings, for masking: nobody may see them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

from pydantic import SecretStr

from hls_handler.settings.model import Settings

HIDDEN = "***"
_SHORT = 8  # a shorter text would be found inside ordinary words
_PASSWORDS = (re.compile(r"://[^:/]*:([^@]+)@"), re.compile(r"[?&](?:ssl)?password=([^&]+)"))
"""Where SQLAlchemy looks for one in an address: before the @, and among the driver's options."""


def secret_values(settings: Settings) -> tuple[str, ...]:
    """Every secret, for masking; longest first, so that none is left in part."""
    found = set(_secrets(settings.model_dump()))
    for password in (match for place in _PASSWORDS for match in place.findall(settings.storage.url)):
        readable = unquote(password)
        found |= {password, readable} if len(readable) >= _SHORT else {f":{password}@"}
    return tuple(sorted(found, key=lambda secret: (-len(secret), secret)))


def masked(text: str, secrets: Iterable[str]) -> str:
    """A text without these secrets, which are given longest first."""
    for secret in secrets:
        if len(secret) >= _SHORT:
            text = text.replace(secret, HIDDEN)
    return text


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _secrets(item)
