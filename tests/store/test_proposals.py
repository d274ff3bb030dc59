"""Proposals about a category of findings that people mostly dismiss in a repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.deliveries import End
from hls_handler.reports.proposals import read_proposals
from hls_handler.review.proposals import Proposal, describe_proposal
from hls_handler.review.record import LedgerEntry, ReviewRecord
from hls_handler.settings.effective import RepositoryTable
from hls_handler.storage import Storage
from hls_handler.store.conversations import ConversationRef
from hls_handler.store.repositories import StoredFile
from hls_handler.store.reviews import MAX_GROUPS, ReviewChange
from tests.engine.test_statements import counting
from tests.queue.builders import Skew, begin
from tests.routing.world import settings

OPEN = LedgerEntry(
    key="", path="a.py", side="RIGHT", quote="x", severity="low", category="style",
    title="Ugly", state="open", prompt_id="p@1",
)  # fmt: skip
DISMISSED = replace(OPEN, state="dismissed", dismissed_by="mona", has_binding_dismissal=True)
BY_A_READER = replace(DISMISSED, has_binding_dismissal=False)
ALL: dict[str, Any] = {"categories": ["bugs", "style"]}
WIDGETS = "octo/widgets"


def save(store: Storage, *entries: LedgerEntry, number: int = 7, **of_delivery: Any) -> None:
    """Store the findings of the review of a pull request."""
    guid = f"{of_delivery.get('repository', WIDGETS)}#{number}"
    lease = begin(store, guid, event="pull_request", number=number, **of_delivery)
    assert lease.repository_id is not None
    named = tuple(replace(one, key=f"{index:016}") for index, one in enumerate(entries))
    ref = ConversationRef(lease.repository_id, "hls[bot]", number)
    store.checkpoints.save(lease, ReviewChange(ref, ReviewRecord(1, ledger=named)))
    store.queue.finish(lease, End("done", "so"), took_s=0)


def proposals(store: Storage, repository: str | None = None, **review: Any) -> Sequence[Proposal]:
    table = RepositoryTable(settings({"name": "octo/*"}, review={**ALL, **review}))
    return read_proposals(store, table, repository)


def mixed(
    dismissed: int, others: int, other: LedgerEntry = OPEN, category: str = "style"
) -> Sequence[LedgerEntry]:
    entries = (*[DISMISSED] * dismissed, *[other] * others)
    return [replace(one, category=category) for one in entries]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (mixed(10, 10), []),
        (mixed(11, 10), [(21, 11)]),
        (mixed(11, 9), [(20, 11)]),
        (mixed(19, 0), []),
        (mixed(11, 11), []),
        (mixed(10, 11, BY_A_READER), []),
        ([BY_A_READER] * 30, []),
    ],
    ids=[
        "half of 20", "more than half of 21", "more than half of 20", "19", "half of 22",
        "half, and readers", "only readers",
    ],
)  # fmt: skip
def test_more_than_half_of_twenty_findings_make_a_proposal(
    store: Storage, entries: Sequence[LedgerEntry], expected: list[tuple[int, int]]
) -> None:
    save(store, *entries)
    assert [(one.findings, one.dismissed) for one in proposals(store)] == expected


def test_proposal_names_rule_and_setting(store: Storage) -> None:
    save(store, *mixed(11, 10))
    (proposal,) = proposals(store)
    assert describe_proposal(proposal) == {
        "repository": "octo/widgets",
        "category": "style",
        "findings": 21,
        "dismissed": 11,
        "message": (
            "octo/widgets: people with write permission dismissed 11 of 21 findings on style within"
            " 30 days, apart from those that fail the check. `hls learn octo/widgets` drafts a rule"
            " for .github/hls.md, or leave style out of review.categories"
        ),
    }


def test_findings_that_would_fail_the_check_are_not_counted_and_no_setting_may_hide_one(
    store: Storage,
) -> None:
    critical = replace(DISMISSED, severity="critical")
    save(store, *mixed(11, 10), *[critical] * 5, *[replace(OPEN, severity="critical")] * 3)
    (proposal,) = proposals(store, fail_on="critical")
    assert (proposal.findings, proposal.dismissed) == (21, 11)
    assert proposal.message.endswith("`hls learn octo/widgets` drafts a rule for .github/hls.md")
    assert proposals(store, fail_on="low") == ()
    (proposal,) = proposals(store, fail_on="critical", check=False)
    assert (proposal.findings, proposal.dismissed, proposal.proposes_setting) == (29, 16, True)


def save_file(store: Storage, text: str) -> None:
    """Store the settings file of the repository."""
    lease = begin(store, "file", number=8)
    stored = StoredFile("c0ffee", text, valid_version="c0ffee", valid_text=text)
    store.repository_files.save(lease, 1, WIDGETS, "hls[bot]", stored)


def test_file_of_the_repository_says_what_fails_its_check(store: Storage) -> None:
    save(store, *mixed(11, 10, replace(OPEN, severity="high")))
    assert len(proposals(store, fail_on="critical")) == 1
    save_file(store, "review: {fail_on: high}")
    assert proposals(store, fail_on="critical") == ()


def test_file_that_settings_ignore_changes_no_proposal(store: Storage) -> None:
    save(store, *mixed(11, 10))
    save_file(store, "review: {fail_on: low}")
    assert proposals(store) == ()
    entry = {"name": "octo/*", "features": {"repository_settings": False}}
    table = RepositoryTable(settings(entry, review=ALL))
    assert len(read_proposals(store, table)) == 1


def test_disabled_repository_gets_no_proposal(store: Storage) -> None:
    save(store, *mixed(11, 10))
    table = RepositoryTable(settings({"name": "octo/*", "enabled": False}, review=ALL))
    assert read_proposals(store, table) == ()


def test_findings_older_than_thirty_days_are_not_counted(store: Storage, skew: Skew) -> None:
    save(store, *mixed(11, 9))
    skew.advance(days=29)
    assert len(proposals(store)) == 1
    skew.advance(days=1, seconds=1)
    assert proposals(store) == ()


def test_category_that_is_not_asked_for_any_more_makes_no_proposal(store: Storage) -> None:
    save(store, *mixed(20, 0))
    assert proposals(store, categories=["bugs"]) == ()
    (proposal,) = proposals(store, categories=["style"])
    assert not proposal.proposes_setting  # the setting needs a category


def test_other_repositories_and_categories_count_for_themselves(store: Storage) -> None:
    save(store, *mixed(10, 0), *mixed(10, 0, category="bugs"))
    save(store, *mixed(11, 0), repository="octo/gears", repository_id=2)
    save(store, *mixed(9, 0), number=8, repository="octo/gears", repository_id=2)
    save(store, *mixed(20, 0), repository="other/thing", repository_id=3)
    found = proposals(store)
    assert [(one.repository, one.category, one.findings) for one in found] == [
        ("octo/gears", "style", 20)
    ]
    assert proposals(store, "Octo/Gears") == found
    assert proposals(store, WIDGETS) == ()


def test_statements_do_not_depend_on_the_number_of_findings(store: Storage) -> None:
    save(store, *mixed(10, 10))
    with counting() as none:
        assert proposals(store) == ()
    for number in range(8, 11):
        save(store, *mixed(20, 0), number=number)
    with counting() as some:
        assert len(proposals(store)) == 1
    assert (none.statements, some.statements) == (1, 4)  # two of them read settings files


def test_groups_of_mostly_open_findings_hide_no_proposal(store: Storage) -> None:
    for number in range(MAX_GROUPS):
        save(store, *mixed(12, 28), repository=f"octo/busy{number}", repository_id=10 + number)
    save(store, *mixed(11, 9))
    assert [one.repository for one in proposals(store)] == [WIDGETS]
