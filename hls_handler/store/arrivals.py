"""When webhooks last came, of all and of each repository, to any machine; and since when some are expected.

The times are rows of the counters' table that nobody adds to, so that they are kept as long as those are.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select

from hls_handler.store.clock import from_ms
from hls_handler.store.part import EXPECTED_SINCE, LAST_WEBHOOK, Part
from hls_handler.store.tables import counters


class Arriving(Part):
    """What tells silence from a quiet day."""

    def last_webhooks(self) -> dict[str, datetime]:
        """By repository ("owner/repo"), the last webhook that was verified; under "" that of all, pings too."""
        return self._times(LAST_WEBHOOK)

    def expected_since(self, names: Iterable[str]) -> dict[str, datetime]:
        """Since when webhooks are expected under each of these names: since it was first asked for."""
        wanted = set(names)
        known = self._times(EXPECTED_SINCE)
        missing = sorted(wanted - known.keys())
        if missing:
            with self._database.writing() as connection:
                now = self._database.now_in(connection)
                rows = [{"name": EXPECTED_SINCE, "label": name, "value": now} for name in missing]
                self._database.insert_rows(connection, counters, rows, if_new=True)
            known = self._times(EXPECTED_SINCE)
        return {name: known[name] for name in wanted}

    def _times(self, name: str) -> dict[str, datetime]:
        query = select(counters.c.label, counters.c.value).where(counters.c.name == name)
        with self._database.reading() as connection:
            return {row.label: from_ms(row.value) for row in connection.execute(query)}
