"""The key that opens what shows repositories, prompts or deliveries: `server.api_key`, sent in X-API-Key."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from hls_handler.settings.model import Settings

HEADER = b"x-api-key"


class ApiKey:
    """Never read from the query string: that is logged by every proxy on the way."""

    def __init__(self, settings: Settings) -> None:
        key = settings.server.api_key
        self._expected = None if key is None else key.get_secret_value().encode("utf-8")

    def admits(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether these ASGI headers carry the key, exactly once; all do while no key is set."""
        if self._expected is None:
            return True
        given = [value for name, value in headers if name == HEADER]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected)
