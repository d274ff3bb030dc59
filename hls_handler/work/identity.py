"""Who we are on GitHub: remembered in the store for the token at hand, known to the door, and asked again now and then.

What the store remembers of threads goes by our login. After a rename our comments are found by mark and author, as on a
first visit, and edited; labels from before count as a person's, and a comment that a person deleted may come once more.
"""

from __future__ import annotations

import hashlib
import hmac
import threading

from hls_handler.events import Account
from hls_handler.storage import Storage
from hls_handler.work.ports import Github

FINGERPRINT_SECRET = "token-fingerprint"  # noqa: S105 (the name of a secret in the store, not a secret)


class BotAccount:
    """The account behind one token at one address. Thread-safe."""

    def __init__(self, store: Storage, *, token: str, base_url: str) -> None:
        self._store = store
        self._fingerprint = hmac.new(
            store.database.secret(FINGERPRINT_SECRET), f"{base_url}\n{token}".encode(), hashlib.sha256
        ).hexdigest()
        self._lock = threading.Lock()
        self._account = store.bot_accounts.find(self._fingerprint)

    @property
    def known(self) -> Account | None:
        """What the door may know: no call is made."""
        return self._account

    def ask(self, github: Github) -> Account:
        """The account; asks GitHub the first time. Raises `DependencyDown`."""
        return self._account or self._ask_first(github)

    def _ask_first(self, github: Github) -> Account:
        with self._lock:  # whoever waited here for another's question has its answer
            return self._account or self._learn(github)

    def refresh(self, github: Github) -> None:
        """Ask again: a renamed account must still be known for ours. Raises `DependencyDown`."""
        with self._lock:
            self._learn(github)

    def _learn(self, github: Github) -> Account:
        found = github.fetch_bot_account()
        if found != self._account:
            self._store.bot_accounts.save(self._fingerprint, found)
            self._account = found
        return found
