"""Connections with a check right before bytes are sent, because the process may be suspended while it connects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


def guarded_pool_classes(before_send: Callable[[], None]) -> dict[str, type]:
    """Return pool classes for `PoolManager.pool_classes_by_scheme`. The request raises what `before_send` raises.

    `before_send` is called for the headers and for each piece of the body, on an open connection: after name lookup,
    TCP, TLS and the proxy, which can take many seconds.
    """

    class GuardedHTTPConnection(HTTPConnection):
        def send(self, data: Any) -> None:
            if self.sock is None:
                self.connect()
            before_send()
            super().send(data)

    class GuardedHTTPSConnection(HTTPSConnection):
        def send(self, data: Any) -> None:
            if self.sock is None:
                self.connect()
            before_send()
            super().send(data)

    class GuardedHTTPPool(HTTPConnectionPool):
        ConnectionCls = GuardedHTTPConnection

    class GuardedHTTPSPool(HTTPSConnectionPool):
        ConnectionCls = GuardedHTTPSConnection

    return {"http": GuardedHTTPPool, "https": GuardedHTTPSPool}
