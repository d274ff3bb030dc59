"""Whether GitHub, or somebody else who knows the secret, sent these bytes.

https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings, webhook_secrets

_KEPT_BYTES, _SMALL_BYTES = 2_047, 65_536
"""Of more in one piece, hashlib gives the interpreter's lock away; for a small body, getting it back costs more."""


def sign(secret: bytes, body: bytes) -> bytes:
    """The value of X-Hub-Signature-256: "sha256=" and 64 lower-case hexadecimal digits."""
    return _signed(hmac.new(secret, digestmod="sha256"), body)


def _signed(digest: hmac.HMAC, body: bytes) -> bytes:
    for piece in _pieces(body):
        digest.update(piece)
    return b"sha256=" + digest.hexdigest().encode("ascii")


def sha256(body: bytes) -> bytes:
    """The digest of a body, 32 bytes."""
    digest = hashlib.sha256()
    for piece in _pieces(body):
        digest.update(piece)
    return digest.digest()


def _pieces(body: bytes) -> Iterable[memoryview]:
    view = memoryview(body)
    if len(view) > _SMALL_BYTES:
        return (view,)
    return (view[at : at + _KEPT_BYTES] for at in range(0, len(view), _KEPT_BYTES))


class Secrets:
    """The webhook secrets that are valid now: of all repositories, and for each one."""

    def __init__(self, settings: Settings, table: RepositoryTable) -> None:
        self._table = table
        self._global = webhook_secrets(settings.github.webhook_secret)
        own = (secret for entry in settings.repositories for secret in webhook_secrets(entry.webhook_secret))
        self._all = {secret: hmac.new(secret, digestmod="sha256") for secret in (*self._global, *own)}

    def matching(self, body: bytes, signature: bytes) -> bytes | None:
        """The secret that `signature` was made with; None if it is none of ours. Bytes, in constant time."""
        return next(
            (
                secret
                for secret, digest in self._all.items()
                if hmac.compare_digest(_signed(digest.copy(), body), signature)
            ),
            None,
        )

    def allowed(self, secret: bytes, repository: str | None) -> bool:
        """Whether `secret` may speak for the repository "owner/repo".

        A repository with secrets of its own accepts no other; all else (events without a repository, repositories
        that settings do not name) accepts the global ones.
        """
        found = self._table.find(repository) if repository else None
        return secret in (found.webhook_secrets if found else self._global)
