"""Connections that ask once more before bytes leave: whoever was frozen while it connected must not go on as before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


def watched_pools(before_bytes: Callable[[], None]) -> dict[str, type]:
    """Pools by scheme for `PoolManager.pool_classes_by_scheme`. What `before_bytes` raises comes out of the request.

    It is called for the head and for each piece of the body, on a connection that stands: name lookup, TCP, TLS and a
    proxy, which can take many seconds, lie before it.
    """

    class Plain(HTTPConnection):
        def send(self, data: Any) -> None:
            if self.sock is None:
                self.connect()
            before_bytes()
            super().send(data)

    class Secure(HTTPSConnection):
        def send(self, data: Any) -> None:
            if self.sock is None:
                self.connect()
            before_bytes()
            super().send(data)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
