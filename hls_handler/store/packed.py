"""How bodies and remembered values lie in the database: zstd at level 1, to a tenth of the size in microseconds."""

from __future__ import annotations

from collections.abc import Callable

import zstandard

from hls_handler.errors import HlsError


def packer() -> Callable[[bytes], bytes]:
    """For many contents in a row, in one thread: making the compressor costs as much as using it."""
    return zstandard.ZstdCompressor(level=1).compress


def pack(content: bytes) -> bytes:
    return zstandard.compress(content, 1)


def unpack(stored: bytes | None) -> bytes:
    """Raises `DamagedError` for what `pack` did not make."""
    try:
        return b"" if stored is None else zstandard.decompress(stored)
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
