"""Reads what a review takes from the repository besides the patches, by GraphQL: a REST request
reads only one file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Annotated

from pydantic import AliasPath, BaseModel, Field

from hls_handler.events import Text, null_to
from hls_handler.github.api import RepositoryApi
from hls_handler.github.values import Blob, GuidanceFile, LinkedIssue, ReviewContext

ATTRIBUTES_PATH = ".gitattributes"
COMMIT = re.compile(r"[0-9a-f]{40}")  # GitHub has no branch of such a name
MAX_TEXT_CHARS = 60_000  # of one file of the base branch
MAX_HEAD_FILES = 20
MAX_HEAD_FILE_BYTES = 200_000
MAX_SMALL_TEXT_BYTES = 1_024  # of `Blob.text`
MAX_ANALYSED_BYTES = 512_000  # of a larger file, `isTruncated` is true and `isBinary` null


def review_context_query(guidance: int) -> str:
    """Return the query for so many files of guidance, and for the rest of the context. The
    variables of the files are `e0`, `e1` ...: "refs/heads/main:path".
    """
    files = ""
    if guidance:
        fields = _fields(["text"] * guidance)
        files = f"  guidance: repository(owner: $owner, name: $name) {{\n{fields}  }}\n"
    return f"""\
query(
  $owner: String!, $name: String!, $number: Int!
  $attributes: String!{_declare(guidance)}
) {{
  repository(owner: $owner, name: $name) {{
    id
    attributes: object(expression: $attributes) {{ ... on Blob {{ text }} }}
    pullRequest(number: $number) {{
      closingIssuesReferences(first: 3) {{
        nodes {{ number title body repository {{ id }} }}
      }}
    }}
  }}
{files}}}
"""


def head_files_query(files: int) -> str:
    """Return the query for the text of so many files. Its variables are `e0`, `e1` ...:
    "SHA:path".
    """
    return _query(["text byteSize isTruncated"] * files)


def blobs_query(ids: int, contents: int) -> str:
    """Return the query for the SHA of so many files, and then for the kind of so many."""
    return _query(["oid"] * ids + ["oid byteSize isBinary"] * contents)


def _query(paths: Sequence[str]) -> str:
    return (
        f"query($owner: String!, $name: String!{_declare(len(paths))}) {{\n"
        f"  repository(owner: $owner, name: $name) {{\n{_fields(paths)}  }}\n}}\n"
    )


def _declare(files: int) -> str:
    return "".join(f", $e{index}: String!" for index in range(files))


def _fields(paths: Sequence[str]) -> str:
    """Return the fields of files. `text` is null for a binary file."""
    return "".join(
        f"    f{index}: object(expression: $e{index}) {{ ... on Blob {{ {names} }} }}\n"
        for index, names in enumerate(paths)
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
    issues: Annotated[  # an entry is null if the token cannot read the issue
        tuple[_Issue | None, ...],
        null_to(()),
        Field((), validation_alias=AliasPath("pullRequest", "closingIssuesReferences", "nodes")),
    ]


class WireContext(BaseModel):
    """The `data` of the response to `review_context_query`."""

    repository: _Repository
    files: dict[str, _Blob | None] = Field({}, alias="guidance")

    def value(self, guidance: Sequence[str]) -> ReviewContext:
        """Return the context. `guidance` are the paths of the files."""
        home = self.repository
        blobs = ((path, self.files.get(f"f{index}")) for index, path in enumerate(guidance))
        texts = ((path, _text(blob)) for path, blob in blobs)
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
        """Return the files by name, without their texts."""
        blobs = ((name, self.repository.get(f"f{index}")) for index, name in enumerate(names))
        return {name: Blob(blob.sha, _is_binary(blob)) for name, blob in blobs if blob and blob.sha}

    def small_texts(self, names: Sequence[str]) -> Sequence[str]:
        """Return the names of the files that are texts of at most 1,024 bytes."""
        blobs = ((name, self.repository.get(f"f{index}")) for index, name in enumerate(names))
        return [
            name
            for name, blob in blobs
            if blob and blob.is_binary is False and blob.size <= MAX_SMALL_TEXT_BYTES
        ]


def _is_binary(blob: _Blob) -> bool:
    """Return True also for a large file: GitHub lists no line of it, so git took it for binary."""
    return blob.is_binary is True or blob.size > MAX_ANALYSED_BYTES


def read_review_context(
    api: RepositoryApi,
    number: int,
    base_ref: str,
    *,
    guidance: Sequence[str],
) -> ReviewContext:
    """Read files of the branch or commit `base_ref`."""
    base = base_ref
    if COMMIT.fullmatch(base) is None:
        base = f"refs/heads/{base}"  # not a tag of this name
    files = [f"{base}:{path}" for path in guidance]
    attributes = f"{base}:{ATTRIBUTES_PATH}"
    variables = {"number": number, "attributes": attributes, **_variables(files)}
    return api.query(review_context_query(len(files)), variables, WireContext).value(guidance)


def read_head_files(api: RepositoryApi, commit: str, paths: Sequence[str]) -> Mapping[str, str]:
    by_name = {f"{commit}:{path}": path for path in islice(paths, MAX_HEAD_FILES)}
    return {by_name[name]: text for name, text in _read_texts(api, [*by_name]).items()}


def _read_texts(api: RepositoryApi, names: Sequence[str]) -> Mapping[str, str]:
    if not names:
        return {}
    return api.query(head_files_query(len(names)), _variables(names), WireHeadFiles).texts(names)


def _variables(names: Sequence[str]) -> dict[str, str]:
    return {f"e{index}": name for index, name in enumerate(names)}


def read_blobs(
    api: RepositoryApi,
    ids: Sequence[str],
    contents: Sequence[str],
) -> Mapping[str, Blob]:
    """Return the files at names such as "refs/heads/main:run.sh", with their text if they are small
    and `contents` has the name.
    """
    names = [*ids, *contents]
    files = api.query(blobs_query(len(ids), len(contents)), _variables(names), WireHeadFiles)
    small = [name for name in files.small_texts(names) if name in contents]
    texts = _read_texts(api, small)
    blobs = files.blobs(names).items()
    return {name: replace(blob, text=texts.get(name, "")) for name, blob in blobs}


def _text(blob: _Blob | None) -> str:
    if blob is None or blob.text is None:
        return ""
    return blob.text[:MAX_TEXT_CHARS]
