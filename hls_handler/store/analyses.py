"""Claude's validated replies as rows, and their findings as rows of their own."""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import bindparam
from sqlalchemy.sql.dml import ReturningInsert

from hls_handler.analysis import Answered, Finding, PullRequestAnalysis
from hls_handler.deliveries import Lease
from hls_handler.store.connection import Connection
from hls_handler.store.part import Part
from hls_handler.store.tables import analyses, findings

_DROP_FINDINGS = findings.delete().where(findings.c.analysis_id == bindparam("of_analysis"))

_LARGEST_LINE = 2**31 - 1


class KeepingAnalyses(Part):
    """What Claude said, for whoever asks later; kept with the end of the call that brought it (`Calling.end_call`)."""

    @cached_property
    def _keep_analysis(self) -> ReturningInsert[int]:
        new = self._database.insert(analyses).values(analysed_at=self._database.now)
        told_anew = ("prompt_id", "reply_type", "model", "reply", "analysed_at")
        return new.on_conflict_do_update(
            index_elements=["delivery_id", "step_index"], set_={name: new.excluded[name] for name in told_anew}
        ).returning(analyses.c.id)

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
        analysis_id = connection.run(self._keep_analysis, row).scalar_one()
        connection.run(_DROP_FINDINGS, {"of_analysis": analysis_id})
        found = answered.reply.findings if isinstance(answered.reply, PullRequestAnalysis) else []
        self._database.insert_rows(
            connection,
            findings,
            [
                {"analysis_id": analysis_id, "position": position} | _storable(finding)
                for position, finding in enumerate(found)
            ],
        )


def _storable(finding: Finding) -> dict[str, object]:
    """Claude may write any number: one that no database holds must not undo what the reply has cost."""
    numbers = {name: getattr(finding, name) for name in ("line", "start_line")}
    return finding.model_dump() | {
        name: number if number is None else max(-_LARGEST_LINE, min(number, _LARGEST_LINE))
        for name, number in numbers.items()
    }
