"""Reads the proposals about findings that people mostly dismiss."""

from __future__ import annotations

from hls_handler.engine.repository_settings import find_stored_settings
from hls_handler.review.proposals import PERIOD, Proposal, propose
from hls_handler.settings.effective import RepositoryTable
from hls_handler.storage import Storage


def read_proposals(
    store: Storage, table: RepositoryTable, repository: str | None = None
) -> tuple[Proposal, ...]:
    """Return the proposals for a repository; None: for all. Raises `StoreUnavailable`."""
    proposals: list[Proposal] = []
    for group in store.reviews.find_often_dismissed(PERIOD, repository):
        effective = find_stored_settings(store.repository_files, table, group.repository)
        if effective is None or not effective.enabled:
            continue
        proposal = propose(group, effective.review)
        if proposal is not None:
            proposals.append(proposal)
    return tuple(proposals)
