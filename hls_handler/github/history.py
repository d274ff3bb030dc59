"""Reads closed issues and merged pull requests with the history of their texts and labels, by
GraphQL: REST shows only the present text.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pydantic import AliasPath, BaseModel, Field

from hls_handler.events import Label, Text, UtcTime
from hls_handler.github.api import RepositoryApi
from hls_handler.github.review_threads import Actor
from hls_handler.github.values import IssueHistory, LabelChange, Revision

ISSUES_PER_PAGE = 25  # GitHub ends a query after 10 s

# `diff` is the whole text of a revision. GitHub lists the newest revision first, which it does not
# document, so both ends of the list are read.
_QUERY = """\
query($owner: String!, $name: String!, $first: Int!, $after: String) {
  repository(owner: $owner, name: $name) {
    items: %s(
      first: $first, after: $after, states: %s, orderBy: {field: CREATED_AT, direction: DESC}
    ) {
      pageInfo { hasNextPage endCursor }
      nodes {
        number
        title
        body
        createdAt
        closedAt
        lastEditedAt
        includesCreatedEdit
        author { ...Who }
        labels(first: 100) { nodes { name } }
        newest: userContentEdits(first: 1) { ...Revision }
        oldest: userContentEdits(last: 1) { ...Revision }
        timelineItems(
          first: 100, itemTypes: [LABELED_EVENT, RENAMED_TITLE_EVENT, UNLABELED_EVENT]
        ) {
          pageInfo { hasNextPage }
          nodes {
            __typename
            ... on LabeledEvent {
              createdAt
              actor { ...Who }
              label { name }
            }
            ... on RenamedTitleEvent { previousTitle }
            ... on UnlabeledEvent {
              createdAt
              actor { ...Who }
              label { name }
            }
          }
        }
      }
    }
  }
}
fragment Who on Actor {
  __typename login ... on User { databaseId } ... on Bot { databaseId }
}
fragment Revision on UserContentEditConnection {
  nodes { editedAt deletedAt diff }
}
"""

CLOSED_ISSUES_QUERY = _QUERY % ("issues", "CLOSED")
MERGED_PULL_REQUESTS_QUERY = _QUERY % ("pullRequests", "MERGED")

_ITEMS = ("repository", "items")


class _Revision(BaseModel):
    edited_at: UtcTime = Field(validation_alias="editedAt")
    deleted_at: datetime | None = Field(alias="deletedAt")
    text: str | None = Field(alias="diff")

    def value(self) -> Revision:
        text = self.text
        if self.deleted_at is not None:
            text = None
        return Revision(self.edited_at, text)


class _Change(BaseModel):
    """A change of the title, or of a label."""

    kind: str = Field(alias="__typename")
    previous_title: str | None = Field(None, alias="previousTitle")
    at: UtcTime | None = Field(None, alias="createdAt")
    actor: Actor
    label: str | None = Field(None, validation_alias=AliasPath("label", "name"))


class _Issue(BaseModel):
    number: int
    title: str
    body: Text
    created_at: UtcTime = Field(alias="createdAt")
    closed_at: UtcTime = Field(alias="closedAt")
    last_edited_at: datetime | None = Field(alias="lastEditedAt")
    includes_created_edit: bool = Field(alias="includesCreatedEdit")
    author: Actor
    labels: tuple[Label, ...] = Field((), validation_alias=AliasPath("labels", "nodes"))
    newest: tuple[_Revision, ...] = Field((), validation_alias=AliasPath("newest", "nodes"))
    oldest: tuple[_Revision, ...] = Field((), validation_alias=AliasPath("oldest", "nodes"))
    changes: tuple[_Change, ...] = Field(validation_alias=AliasPath("timelineItems", "nodes"))
    has_more_changes: bool = Field(
        validation_alias=AliasPath("timelineItems", "pageInfo", "hasNextPage")
    )

    def value(self) -> IssueHistory:
        titles = [
            change.previous_title for change in self.changes if change.previous_title is not None
        ]
        revisions = [change.value() for change in (*self.oldest, *self.newest)]
        return IssueHistory(
            number=self.number,
            author=self.author,
            created_at=self.created_at,
            closed_at=self.closed_at,
            title=self.title,
            body=self.body,
            labels=tuple(label.name for label in self.labels),
            is_edited=self.last_edited_at is not None,
            includes_first_text=self.includes_created_edit,
            revisions=tuple(revisions),
            earlier_titles=tuple(titles),
            label_changes=tuple(_list_label_changes(self.changes)),
            has_more_changes=self.has_more_changes,
        )


class WireHistories(BaseModel):
    """One page: the `data` of the response to one of the queries."""

    items: tuple[_Issue, ...] = Field(validation_alias=AliasPath(*_ITEMS, "nodes"))
    has_next: bool = Field(validation_alias=AliasPath(*_ITEMS, "pageInfo", "hasNextPage"))
    end: str | None = Field(validation_alias=AliasPath(*_ITEMS, "pageInfo", "endCursor"))


def _list_label_changes(changes: tuple[_Change, ...]) -> Iterator[LabelChange]:
    for change in changes:
        if change.label is not None and change.at is not None:
            is_added = change.kind == "LabeledEvent"
            yield LabelChange(change.at, change.actor, change.label, is_added)


def read_histories(api: RepositoryApi, query: str, *, limit: int) -> Iterator[IssueHistory]:
    """Yield the issues or pull requests that were opened last, newest first; one request for each
    25.

    Raises as `GithubApi.query`, also if GitHub returns only a part of a page.
    """
    after: str | None = None
    remaining = limit
    while remaining > 0:
        variables = {"first": min(remaining, ISSUES_PER_PAGE), "after": after}
        page = api.query(query, variables, WireHistories)
        yield from (issue.value() for issue in page.items)
        remaining -= len(page.items)
        if not page.has_next or page.end is None:
            return
        after = page.end
