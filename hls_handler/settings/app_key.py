"""The private key of a GitHub App, parsed once when the settings are loaded."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

MIN_BITS = 2048  # GitHub's keys have 2048

PROBLEM = (
    f"is not an RSA private key of at least {MIN_BITS} bits in PEM form without a passphrase;"
    " expected the file that GitHub offers at `Generate a private key` on the App's page"
)


class InvalidAppKey(ValueError):
    """A text is not the private key of an App. The message does not quote it."""


class AppKey(SecretStr):
    """An RSA private key. Two keys are equal if their texts are equal."""

    def __init__(self, pem: str) -> None:
        """Parse a PEM text, in which line breaks may be written as `\\n`. Raises
        `InvalidAppKey`.
        """
        super().__init__(pem)
        self.rsa = _parse(pem.replace("\\n", "\n").strip())


def _parse(text: str) -> RSAPrivateKey:
    # imported here, because only a service with an App needs the library
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = None
    with suppress(TypeError, ValueError, UnsupportedAlgorithm):  # a TypeError for a passphrase
        key = load_pem_private_key(text.encode("utf-8", "surrogatepass"), password=None)
    if not isinstance(key, RSAPrivateKey) or key.key_size < MIN_BITS:
        # outside of `suppress`, so that the error has no context with the key's text
        raise InvalidAppKey(PROBLEM)
    return key
