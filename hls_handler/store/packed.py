"""How bodies and remembered values lie in the database: zstd at level 1, to a tenth of the size in microseconds."""

from __future__ import annotations

import threading

import zstandard

from hls_handler.errors import HlsError


class _OfThread(threading.local):
    """Made once for each thread: making one costs nine times what using it for a step does."""

    def __init__(self) -> None:
        self.pack = zstandard.ZstdCompressor(level=1).compress
        self.unpack = zstandard.ZstdDecompressor().decompress


_of_thread = _OfThread()


def pack(content: bytes) -> bytes:
    return _of_thread.pack(content)


def unpack(stored: bytes | None) -> bytes:
    """Raises `DamagedError` for what `pack` did not make."""
    try:
        return b"" if stored is None else _of_thread.unpack(stored)
    except zstandard.ZstdError as exc:
        raise _damaged(exc) from exc


def pack_text(text: str) -> bytes:
    return pack(text.encode("utf-8", "surrogatepass"))


def unpack_text(stored: bytes) -> str:
    """Raises `DamagedError` for what `pack_text` did not make."""
    try:
        return unpack(stored).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as exc:
        raise _damaged(exc) from exc


def _damaged(exc: Exception) -> DamagedError:
    return DamagedError(f"a stored value cannot be read ({exc}): the database may be damaged; restore a copy of it")


class DamagedError(HlsError):
    """A stored value cannot be read: the database file may be damaged."""
