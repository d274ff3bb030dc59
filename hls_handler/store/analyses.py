"""Claude's validated replies as rows, and their findings as rows of their own."""

from __future__ import annotations

from sqlalchemy import select

from hls_handler.analysis import Answered, PullRequestAnalysis
from hls_handler.deliveries import Lease
from hls_handler.store.part import Part
from hls_handler.store.tables import analyses, findings


class KeepingAnalyses(Part):
    """What Claude said, for whoever asks later."""

    def save_analysis(self, lease: Lease, *, index: int, answered: Answered) -> None:
        """Keep a reply, in place of an earlier one of the same index. Raises `LeaseLost`."""
        kept = {
            "prompt_id": answered.prompt_id,
            "reply_type": answered.reply_type,
            "model": answered.usage.model,
            "reply": answered.reply.model_dump_json(),
            "analysed_at": self._database.now,
        }
        found = answered.reply.findings if isinstance(answered.reply, PullRequestAnalysis) else []
        with self._database.writing() as connection:
            row_id = self._fenced(connection, lease)
            new = self._database.insert(analyses).values(delivery_id=row_id, step_index=index, **kept)
            connection.execute(new.on_conflict_do_update(index_elements=["delivery_id", "step_index"], set_=kept))
            mine = select(analyses.c.id).where(analyses.c.delivery_id == row_id, analyses.c.step_index == index)
            analysis_id = connection.execute(mine).scalar_one()
            connection.execute(findings.delete().where(findings.c.analysis_id == analysis_id))
            if found:
                connection.execute(
                    findings.insert(),
                    [
                        {"analysis_id": analysis_id, "position": position} | finding.model_dump()
                        for position, finding in enumerate(found)
                    ],
                )
