"""A proxy between the service and PostgreSQL that hangs or refuses connections, or loses a
response.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from pathlib import Path

_SSL_REQUEST = (80877103).to_bytes(4, "big")
_STARTING_FIELDS = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
# PostgreSQL's response to an early connection
_STARTING = b"E" + (4 + len(_STARTING_FIELDS)).to_bytes(4, "big") + _STARTING_FIELDS
_COMMIT = b"COMMIT\0"  # as in a message of the protocol


class Proxy:
    """A context manager with a thread that listens on a loopback port and forwards to a Unix
    socket.
    """

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        self._others: dict[
            socket.socket, socket.socket
        ] = {}  # maps each socket of a connection to the other
        # sockets of PostgreSQL whose next response is not forwarded
        self._cut: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._wake_up, self._woken = socket.socketpair()
        self._lock = threading.RLock()
        self._ended = False
        self._pause = threading.Event()
        self.hangs = False
        self.is_starting = False
        self.drop_commit_response_after = (  # a client that sends these bytes gets no response to its next COMMIT
            b""
        )
        self._marked: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._run, name="proxy")

    def __enter__(self) -> Proxy:
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._wake_up.send(b".")
        self._thread.join(timeout=10)
        self.refuse()
        self._wake_up.close()
        self._woken.close()
        self._selector.close()

    def hang(self) -> None:
        """Stop forwarding and keep all connections open."""
        self.hangs = True

    def lose(self) -> None:
        """Forward new connections again; those open during `hang` stay silent, as after a loss of
        firewall state.
        """
        with self._lock:
            for end in list(self._others):
                with contextlib.suppress(KeyError):
                    self._selector.unregister(end)
            self.hangs = False
        self._wake_up.send(b".")

    def refuse(self) -> None:
        """Close all connections and the listener."""
        with self._lock:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(self._listener)
            self._listener.close()
            for end in list(self._others):
                self._close(end)

    def _run(self) -> None:
        while not self._ended:
            if self.hangs:
                self._pause.wait(0.02)
                continue
            for key, _ in self._selector.select(timeout=1):
                with self._lock:
                    self._serve(key.fileobj)

    def _serve(self, ready: object) -> None:
        if ready is self._woken:
            self._woken.recv(100)
        elif ready is self._listener:
            self._connect()
        elif isinstance(ready, socket.socket) and ready in self._others:
            self._forward(ready)

    def _connect(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # `refuse` closed the listener after `select` returned it
            return
        if self.is_starting:
            with client:
                client.sendall(b"N" if client.recv(100)[4:8] == _SSL_REQUEST else b"")
                client.recv(1000)
                client.sendall(_STARTING)
            return
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._upstream))
        except OSError:
            client.close()
            server.close()
            return
        for end, other in ((client, server), (server, client)):
            self._others[end] = other
            self._selector.register(end, selectors.EVENT_READ)

    def _forward(self, source: socket.socket) -> None:
        try:
            received = source.recv(65536)
        except OSError:
            received = b""
        if not received or source in self._cut:
            self._close(source)
            return
        sink = self._others[source]
        if self.drop_commit_response_after and self.drop_commit_response_after in received:
            self._marked.add(source)
        if source in self._marked and _COMMIT in received:
            self._cut.add(sink)
        try:
            sink.sendall(received)
        except OSError:
            self._close(source)

    def _close(self, end: socket.socket) -> None:
        other = self._others.pop(end, None)
        for one in (end, other):
            if one is not None:
                self._others.pop(one, None)
                self._cut.discard(one)
                self._marked.discard(one)
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(one)
                one.close()
