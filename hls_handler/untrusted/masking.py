"""Masking of known secrets, such as those of the settings, in any of their usual encodings."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = "***"
NOTHING = "(?!)"  # a pattern that never matches
MIN_SECRET_CHARS = 4  # a shorter one would mask ordinary text, and is not secure anyway
MIN_BASE64_CHARS = 6  # a shorter part of a secret's base64 text is not masked


def mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """Replace `secrets` in `text` by `***`. Secrets shorter than `MIN_SECRET_CHARS` are not
    replaced.

    Encoded secrets are also replaced: in base64 (standard or URL-safe, also inside a longer text),
    URL-encoded, or escaped as in a `repr`, JSON or HTML.
    """
    return compile_secrets(secrets).sub(MASK, text)


def compile_secrets(secrets: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of what `mask_secrets` replaces."""
    encodings = {
        encoding
        for secret in secrets
        if len(secret) >= MIN_SECRET_CHARS
        for encoding in _encodings(secret)
    }
    longest_first = sorted(encodings, key=lambda encoding: (-len(encoding), encoding))
    return re.compile("|".join(map(re.escape, longest_first)) or NOTHING)


def _encodings(secret: str) -> Iterator[str]:
    yield secret
    yield repr(secret)[1:-1]
    yield repr(secret.encode("utf-8", "surrogatepass"))[2:-1]
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield html.escape(secret)
    utf8 = secret.encode("utf-8", "surrogatepass")
    for encoded in (quote(utf8, safe=""), quote(utf8), quote_plus(utf8)):
        yield encoded
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)
    yield from (part for part in _base64_parts(utf8) if len(part) >= MIN_BASE64_CHARS)


def _base64_parts(secret: bytes) -> Iterator[str]:
    # In the base64 of a longer text, such as "user:secret", the secret's characters depend on its
    # offset modulo 3.
    # bytes before the secret; characters that encode them
    for offset, mixed in ((0, 0), (1, 2), (2, 3)):
        end = (offset + len(secret)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * offset + secret).decode()
            yield encoded[mixed:end]
            yield encoded[mixed:].rstrip("=")
