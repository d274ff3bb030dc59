"""Proposals to the operator: a category of findings that people mostly dismiss in a repository.

HLS changes nothing by itself. Findings that would fail the check are not counted, and no setting is
proposed that would have hidden one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from typing_extensions import TypedDict

from hls_handler.review.ledger import is_failing
from hls_handler.review.record import LedgerEntry
from hls_handler.settings.model import Review

MIN_FINDINGS = 20
MIN_DISMISSED = MIN_FINDINGS // 2 + 1
PERIOD = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class CategoryFindings:
    """Findings of one category in one repository, raised within `PERIOD`."""

    repository: str
    category: str
    entries: tuple[LedgerEntry, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A category of findings of a repository, most of which people with write permission
    dismissed.
    """

    repository: str
    category: str
    findings: int  # raised within `PERIOD`, without those that fail the check
    dismissed: int
    proposes_setting: bool  # False: `review.categories` without it would hide what fails the check

    @property
    def message(self) -> str:
        cure = f"`hls learn {self.repository}` drafts a rule for .github/hls.md"
        if self.proposes_setting:
            cure = f"{cure}, or leave {self.category} out of review.categories"
        return (
            f"{self.repository}: people with write permission dismissed {self.dismissed} of"
            f" {self.findings} findings on {self.category} within {PERIOD.days} days, apart from"
            f" those that fail the check. {cure}"
        )


class ProposalDocument(TypedDict):
    """A category of findings that people mostly dismiss in a repository; see `Proposal`."""

    repository: str
    category: str
    findings: int
    dismissed: int
    message: str


def describe_proposal(proposal: Proposal) -> ProposalDocument:
    return {
        "repository": proposal.repository,
        "category": proposal.category,
        "findings": proposal.findings,
        "dismissed": proposal.dismissed,
        "message": proposal.message,
    }


def propose(group: CategoryFindings, review: Review) -> Proposal | None:
    """Return the proposal for a category; None if too few findings were dismissed, or if Claude is
    not asked for them any more.
    """
    fail_on = review.fail_on
    if not review.check:
        fail_on = None
    counted = [one for one in group.entries if not is_failing(one.severity, fail_on)]
    dismissed = [one for one in counted if one.state == "dismissed" and one.has_binding_dismissal]
    is_asked = group.category in review.categories
    if not is_asked or len(counted) < MIN_FINDINGS or 2 * len(dismissed) <= len(counted):
        return None
    hides_none = len(counted) == len(group.entries)
    has_others = len(review.categories) > 1  # the setting needs one
    return Proposal(
        group.repository,
        group.category,
        findings=len(counted),
        dismissed=len(dismissed),
        proposes_setting=hides_none and has_others,
    )
