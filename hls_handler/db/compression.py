"""Compression of bodies and checkpoints: zstd at level 1, to about a tenth of the size in microseconds."""

from __future__ import annotations

import threading

import zstandard

from hls_handler.errors import HlsError


class _ThreadLocal(threading.local):
    """One compressor for each thread: creating one takes nine times as long as compressing a checkpoint."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=1).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_local = _ThreadLocal()


def compress(content: bytes) -> bytes:
    return _local.compress(content)


def decompress(stored: bytes | None) -> bytes:
    """Raises `DamagedError` unless `compress` made the bytes."""
    try:
        return b"" if stored is None else _local.decompress(stored)
    except zstandard.ZstdError as exc:
        raise _damaged(exc) from exc


def compress_text(text: str) -> bytes:
    return compress(text.encode("utf-8", "surrogatepass"))


def decompress_text(stored: bytes) -> str:
    """Raises `DamagedError` unless `compress_text` made the bytes."""
    try:
        return decompress(stored).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as exc:
        raise _damaged(exc) from exc


def _damaged(exc: Exception) -> DamagedError:
    return DamagedError(f"a stored value cannot be read ({exc}): the database may be damaged; restore a backup")


class DamagedError(HlsError):
    """A stored value cannot be read: the database file may be damaged."""
