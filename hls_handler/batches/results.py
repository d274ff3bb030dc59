"""The progress and the result of a batch, as sentences and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from hls_handler.batches import closed, past, reviews, triage
from hls_handler.batches.recorded import PROMPTS, find_index, load_prompts
from hls_handler.store.batches import BatchOverview, Progress
from hls_handler.store.storage import Storage
from hls_handler.wording import format_usd


class Result(Protocol):
    def describe(self) -> Iterator[str]:
        """Yield lines for people."""
        ...


def load_result(store: Storage, progress: Progress) -> Result:
    if progress.batch.kind == "triage":
        return triage.load_result(progress)
    if progress.batch.kind == "reviews":
        return reviews.load_result(store, progress)
    if progress.batch.terms["closed"]:
        return closed.load_result(store, progress)
    return past.load_result(store, progress)


def name_prompts(progress: Progress) -> Mapping[str, str]:
    """Return the title of the prompt of each delivery, by GUID; nothing of a triage."""
    plan = progress.batch.plan
    if PROMPTS not in plan:
        return {}
    prompts = load_prompts(plan)
    return {
        delivery.guid: prompts[find_index(delivery.request_id)].title
        for delivery in progress.deliveries
    }


def describe_progress(progress: BatchOverview) -> str:
    batch = progress.batch
    return (
        f"batch {batch.id:<5} {batch.kind} {batch.repository}: {progress.state},"
        f" {progress.ended:,} of {progress.size:,} ended,"
        f" {format_usd(progress.cost_usd)} of {format_usd(batch.max_usd)}"
    )


def to_document(progress: BatchOverview) -> dict[str, object]:
    batch = progress.batch
    return {
        "id": batch.id,
        "kind": batch.kind,
        "repository": batch.repository,
        "started_by": batch.started_by,
        "started_at": batch.started_at.isoformat(),
        "state": progress.state,
        "deliveries": progress.size,
        "ended": progress.ended,
        "cost_usd": progress.cost_usd,
        "max_usd": batch.max_usd,
        "terms": dict(batch.terms),
    }
