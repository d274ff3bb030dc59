"""Reads what a review takes from the repository besides the patches, by GraphQL: a REST request reads only one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated

from pydantic import AliasPath, BaseModel, Field

from hls_handler.clients.api import GithubApi
from hls_handler.events import Text, null_to
from hls_handler.handlers.reader import (
    GUIDANCE_PATHS,
    Blob,
    GuidanceFile,
    LinkedIssue,
    ReviewContext,
)

ATTRIBUTES_PATH = ".gitattributes"
MAX_TEXT_CHARS = 60_000  # of one file of the base branch
MAX_HEAD_FILES = 20
MAX_HEAD_FILE_BYTES = 200_000
MAX_SMALL_TEXT_BYTES = 1_024  # of `Blob.text`

# Over 512,000 bytes, `isTruncated` is true and `isBinary` null. `text` is null for a binary file.
REVIEW_CONTEXT_QUERY = """\
query(
  $owner: String!, $name: String!, $number: Int!, $guidance: Boolean!, $issues: Boolean!
  $attributes: String!, $hls: String!, $agents: String!
) {
  repository(owner: $owner, name: $name) {
    id
    attributes: object(expression: $attributes) { ... on Blob { text } }
    hls: object(expression: $hls) @include(if: $guidance) { ... on Blob { text } }
    agents: object(expression: $agents) @include(if: $guidance) { ... on Blob { text } }
    pullRequest(number: $number) @include(if: $issues) {
      closingIssuesReferences(first: 3) {
        nodes { number title body repository { id } }
      }
    }
  }
}
"""


def head_files_query(files: int) -> str:
    """Return the query for the text of so many files. Its variables are `e0`, `e1` ...: "SHA:path"."""
    return _query(["text byteSize isTruncated"] * files)


def blobs_query(ids: int, contents: int) -> str:
    """Return the query for the SHA of so many files, and then for the content of so many."""
    return _query(["oid"] * ids + ["oid byteSize isBinary text"] * contents)


def _query(wanted: Sequence[str]) -> str:
    declared = "".join(f", $e{index}: String!" for index in range(len(wanted)))
    fields = "".join(
        f"    f{index}: object(expression: $e{index}) {{ ... on Blob {{ {names} }} }}\n"
        for index, names in enumerate(wanted)
    )
    return (
        f"query($owner: String!, $name: String!{declared}) {{\n"
        f"  repository(owner: $owner, name: $name) {{\n{fields}  }}\n}}\n"
    )


class _Blob(BaseModel):
    """A file. A folder or a submodule has none of these fields."""

    sha: str = Field("", alias="oid")
    text: str | None = None
    is_binary: bool | None = Field(None, alias="isBinary")
    size: int = Field(0, alias="byteSize")
    is_truncated: bool = Field(False, alias="isTruncated")


class _Issue(BaseModel):
    number: int
    title: Text
    body: Text
    repository_id: Annotated[str, Field(validation_alias=AliasPath("repository", "id"))]


class _Repository(BaseModel):
    id: str
    attributes: _Blob | None
    hls: _Blob | None = None
    agents: _Blob | None = None
    issues: Annotated[  # an entry is null if the token cannot read the issue
        tuple[_Issue | None, ...],
        null_to(()),
        Field((), validation_alias=AliasPath("pullRequest", "closingIssuesReferences", "nodes")),
    ]


class WireContext(BaseModel):
    """The `data` of the response to `REVIEW_CONTEXT_QUERY`."""

    repository: _Repository

    def value(self) -> ReviewContext:
        home = self.repository
        files = zip(GUIDANCE_PATHS, (home.hls, home.agents), strict=True)
        texts = ((path, _text(blob)) for path, blob in files)
        return ReviewContext(
            attributes=_text(home.attributes),
            guidance=tuple(GuidanceFile(path, text) for path, text in texts if text.strip()),
            linked_issues=tuple(
                LinkedIssue(issue.number, issue.title, issue.body)
                for issue in home.issues
                # Text of one repository never enters another's prompt (SECURITY.md rule 11).
                if issue is not None and issue.repository_id == home.id
            ),
        )


class WireHeadFiles(BaseModel):
    """The `data` of the response to `head_files_query` or `blobs_query`."""

    repository: dict[str, _Blob | None]

    def texts(self, paths: Sequence[str]) -> Mapping[str, str]:
        blobs = ((path, self.repository.get(f"f{index}")) for index, path in enumerate(paths))
        return {
            path: blob.text
            for path, blob in blobs
            if blob and blob.text and not blob.is_truncated and blob.size <= MAX_HEAD_FILE_BYTES
        }

    def blobs(self, names: Sequence[str]) -> Mapping[str, Blob]:
        found: dict[str, Blob] = {}
        for index, name in enumerate(names):
            blob = self.repository.get(f"f{index}")
            if blob is not None and blob.sha:
                is_small = blob.size <= MAX_SMALL_TEXT_BYTES
                text = (blob.text or "") if is_small else ""
                found[name] = Blob(blob.sha, blob.is_binary is True, text)
        return found


def read_review_context(
    api: GithubApi, repository: str, number: int, base_ref: str, *, guidance: bool, linked_issues: bool
) -> ReviewContext:
    branch = f"refs/heads/{base_ref}"  # not a tag of this name
    hls, agents = (f"{branch}:{path}" for path in GUIDANCE_PATHS)
    files = {"attributes": f"{branch}:{ATTRIBUTES_PATH}", "hls": hls, "agents": agents}
    wanted = {"guidance": guidance, "issues": linked_issues}
    return api.query(REVIEW_CONTEXT_QUERY, repository, {"number": number, **wanted, **files}, WireContext).value()


def read_head_files(api: GithubApi, repository: str, sha: str, paths: Sequence[str]) -> Mapping[str, str]:
    first = tuple(islice(paths, MAX_HEAD_FILES))
    if not first:
        return {}
    variables = {f"e{index}": f"{sha}:{path}" for index, path in enumerate(first)}
    return api.query(head_files_query(len(first)), repository, variables, WireHeadFiles).texts(first)


def read_blobs(
    api: GithubApi,
    repository: str,
    ids: Sequence[str],
    contents: Sequence[str],
) -> Mapping[str, Blob]:
    names = [*ids, *contents]
    variables = {f"e{index}": name for index, name in enumerate(names)}
    found = api.query(blobs_query(len(ids), len(contents)), repository, variables, WireHeadFiles)
    return found.blobs(names)


def _text(blob: _Blob | None) -> str:
    return (blob.text or "")[:MAX_TEXT_CHARS] if blob else ""
