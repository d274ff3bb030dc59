"""Claude's validated replies as rows."""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import Connection

from hls_handler.analysis import Answered
from hls_handler.deliveries import Lease
from hls_handler.store.database import Insert
from hls_handler.store.part import Part
from hls_handler.store.tables import analyses


class KeepingAnalyses(Part):
    """What Claude said, for whoever asks later; kept with the end of the call that brought it (`Calling.end_call`)."""

    @cached_property
    def _keep_analysis(self) -> Insert:
        new = self._database.insert(analyses).values(analysed_at=self._database.now)
        told_anew = ("prompt_id", "reply_type", "model", "reply", "analysed_at")
        return new.on_conflict_do_update(
            index_elements=["delivery_id", "step_index"], set_={name: new.excluded[name] for name in told_anew}
        )

    def save_analysis(self, lease: Lease, *, index: int, answered: Answered) -> None:
        """Keep a reply that was remembered before, in place of an earlier one of the same index. Raises `LeaseLost`."""
        with self._database.writing(durable=False) as connection:
            self._save_analysis(connection, self._fenced(connection, lease), index, answered)

    def _save_analysis(self, connection: Connection, row_id: int, index: int, answered: Answered) -> None:
        """Keep a reply, in place of an earlier one of the same index."""
        kept: dict[str, object] = {
            "prompt_id": answered.prompt_id,
            "reply_type": answered.reply_type,
            "model": answered.usage.model,
            "reply": answered.reply.model_dump_json(),
        }
        row = {"delivery_id": row_id, "step_index": index, **kept}
        connection.execute(self._keep_analysis, row)
