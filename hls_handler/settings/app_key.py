"""The private key of a GitHub App, parsed once when the settings are loaded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

MIN_BITS = 2048  # GitHub's keys have 2048

_LABEL = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
EXPECTED = "expected the file that GitHub offers at `Generate a private key` on the App's page"


class InvalidAppKey(ValueError):
    """A text is not the private key of an App. The message does not quote it."""


class AppKey(SecretStr):
    """An RSA private key. Two keys are equal if their texts are equal."""

    def __init__(self, pem: str) -> None:
        """Parse a PEM text, in which line breaks may be written as `\\n`. Raises `InvalidAppKey`."""
        super().__init__(pem)
        self.rsa = _parse(pem.replace("\\n", "\n").strip())


def _parse(text: str) -> RSAPrivateKey:
    # imported here, because only a service with an App needs the library
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    label = _LABEL.match(text)
    if label is None:
        raise InvalidAppKey(f"is not in PEM form, which begins with -----BEGIN RSA PRIVATE KEY-----; {EXPECTED}")
    if not label[1].endswith("PRIVATE KEY"):
        raise InvalidAppKey(f"is a {label[1].lower()}, not a private key; {EXPECTED}")
    key, problem = None, ""
    try:
        key = load_pem_private_key(text.encode("utf-8", "surrogatepass"), password=None)
    except TypeError:
        problem = "is encrypted with a passphrase; store it without one"
    except (ValueError, UnsupportedAlgorithm):
        problem = f"is damaged or a placeholder: it cannot be parsed; {EXPECTED}"
    if problem:  # raised outside of `except`, so that the error has no context with the key's text
        raise InvalidAppKey(problem)
    if not isinstance(key, RSAPrivateKey):
        raise InvalidAppKey(f"is not an RSA key; {EXPECTED}")
    if key.key_size < MIN_BITS:
        raise InvalidAppKey(f"has {key.key_size} bits, and at least {MIN_BITS} are needed; {EXPECTED}")
    return key
