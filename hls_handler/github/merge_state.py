"""Reads what prevents the merge of a pull request, by GraphQL: REST does not show which checks are
required.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasPath, BaseModel, Field

from hls_handler.events import null_to
from hls_handler.github.checks import CHECK_NAME
from hls_handler.github.values import MergeState

MAX_CHECKS = 100

DECIDED = ("BEHIND", "BLOCKED", "CLEAN", "DRAFT", "HAS_HOOKS", "UNSTABLE")
"""States of a merge without conflicts. "UNKNOWN": GitHub has not decided on checks and rules."""

# `refUpdateRule` lists the required checks of a branch protection, also those that no commit has;
# it is null for a ruleset, of which GitHub only says "BLOCKED". `conclusion` and `state` are null
# for a check that has not ended.
MERGE_STATE_QUERY = """\
query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      mergeable
      mergeStateStatus
      reviewDecision
      baseRef { refUpdateRule { requiredStatusCheckContexts } }
      commits(last: 1) { nodes { commit { statusCheckRollup { contexts(first: 100) {
        totalCount
        nodes {
          ... on CheckRun { name conclusion isRequired(pullRequestNumber: $number) }
          ... on StatusContext { name: context state isRequired(pullRequestNumber: $number) }
        }
      } } } } }
    }
  }
}
"""

_PULL = ("repository", "pullRequest")
_CHECKS = ("commits", "nodes", 0, "commit", "statusCheckRollup", "contexts")


class _Check(BaseModel):
    name: str
    result: Annotated[str | None, Field(None, validation_alias="conclusion")]
    state: str | None = None
    is_required: bool = Field(alias="isRequired")

    @property
    def is_passed(self) -> bool:
        return (self.result or self.state) in ("SUCCESS", "NEUTRAL", "SKIPPED")


class WireMergeState(BaseModel):
    """The `data` of the response to `MERGE_STATE_QUERY`."""

    mergeable: str = Field(validation_alias=AliasPath(*_PULL, "mergeable"))
    status: str = Field(validation_alias=AliasPath(*_PULL, "mergeStateStatus"))
    decision: Annotated[
        str, null_to(""), Field(validation_alias=AliasPath(*_PULL, "reviewDecision"))
    ]
    required: Annotated[
        tuple[str | None, ...],
        null_to(()),
        Field(
            (),
            validation_alias=AliasPath(
                *_PULL, "baseRef", "refUpdateRule", "requiredStatusCheckContexts"
            ),
        ),
    ]
    number: int = Field(0, validation_alias=AliasPath(*_PULL, *_CHECKS, "totalCount"))
    nodes: tuple[_Check | None, ...] = Field(
        (), validation_alias=AliasPath(*_PULL, *_CHECKS, "nodes")
    )

    def value(self) -> MergeState:
        checks = [check for check in self.nodes if check is not None]
        required = {check.name for check in checks if check.is_required}
        if self.number <= MAX_CHECKS:  # else a check that is missing here may be among the others
            required |= {name for name in self.required if name}
        missing = required - {check.name for check in checks if check.is_passed}
        is_explained = missing or self.decision in ("CHANGES_REQUESTED", "REVIEW_REQUIRED")
        conflicts = None
        if self.mergeable == "CONFLICTING":
            conflicts = True
        elif self.mergeable == "MERGEABLE" and self.status in DECIDED:
            conflicts = False
        return MergeState(
            conflicts=conflicts,
            missing_checks=tuple(sorted(missing - {CHECK_NAME})),  # ours ends with this review
            decision=self.decision.lower(),
            is_behind=self.status == "BEHIND",
            is_blocked=self.status == "BLOCKED" and not is_explained,
        )
