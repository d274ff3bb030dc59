"""The files of a repository at a commit: from its mirror, or the first ones from GitHub's API, by
GraphQL, because a REST request reads only one file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Annotated, Generic, TypeVar

from pydantic import AliasPath, BaseModel, Field

from hls_handler.errors import DependencyDown, Permanent, Retryable
from hls_handler.events import Text, null_to
from hls_handler.git.host import MirrorUnavailable
from hls_handler.git.mirror import Hit, Mirror, Pick
from hls_handler.github.api import RepositoryApi
from hls_handler.github.values import Blob, GuidanceFile, LinkedIssue, ReviewContext
from hls_handler.untrusted.cleaning import CodeText, clean_and_redact

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


T = TypeVar("T")

MAX_FILE_BYTES = 2_000_000
BINARY_BYTES = 8_000  # a file with a zero byte among its first 8,000 bytes is binary, as for git


class CommitFiles:
    """Read access to the files of a repository at one commit. Its texts are untrusted."""

    def __init__(self, mirror: Mirror | None, api: RepositoryApi | None, commit: str) -> None:
        """`mirror` is None for commands, which have none; `api` if there is no token, so that
        nothing is read.
        """
        self._mirror = mirror
        self._api = api
        self._commit = commit
        self._reason = ""
        if mirror is None and api is not None:
            self._reason = "this command has no mirror"

    @property
    def no_mirror(self) -> str:
        """Why HLS has no mirror of the repository, so that no words are found; "" if it has one."""
        self._from_mirror(lambda mirror: mirror.prepare((self._commit,)))
        return self._reason

    def list_files(self, extensions: Collection[str]) -> Mapping[str, str]:
        """The ids of the contents of all files with one of the extensions, such as ".md", by path.

        Nothing without a mirror.
        """
        return self._from_mirror(lambda mirror: mirror.list_files(self._commit, extensions)) or {}

    def texts(self, paths: Collection[str]) -> Mapping[str, str]:
        """The texts of files, by path, cleaned and redacted.

        Missing files, binary files, and files of more than 2,000,000 bytes are left out. Without a
        mirror, GitHub's API returns the first 20 of at most 200,000 bytes, in one request.
        """
        mirrored = self._from_mirror(lambda mirror: mirror.files(self._commit, paths))
        texts: Mapping[str, str] = {}
        if mirrored is None and self._api is not None:
            texts = read_head_files(self._api, self._commit, tuple(paths))
        elif mirrored is not None:
            texts = {
                path: content.decode("utf-8", "replace")
                for path, content in mirrored.items()
                if b"\0" not in content[:BINARY_BYTES] and len(content) <= MAX_FILE_BYTES
            }
        return {path: clean_and_redact(CodeText(text)) for path, text in texts.items()}

    def blobs(self, ids: Sequence[str], contents: Sequence[str]) -> Mapping[str, Blob]:
        """The files at names such as "refs/heads/main:run.sh", of any revision, by name.

        Of the names in `ids`, only the SHA is read. Missing files are left out. One request, and a
        second one if some are texts of at most 1,024 bytes.
        """
        if self._api is None:
            return {}
        return read_blobs(self._api, ids, contents)

    def find_words(self, words: Collection[str]) -> Sequence[Hit]:
        """The lines with one of the words. A word that is too frequent is left out."""
        return self._from_mirror(lambda mirror: mirror.find_words(self._commit, words)) or ()

    def patches_since(self, commit: str, paths: Collection[str]) -> Mapping[str, str] | None:
        """The patches of these files since another commit, as GitHub shows patches, by path.

        None without a mirror, or if it cannot have that commit.
        """
        return self._from_mirror(lambda mirror: mirror.diff(commit, self._commit, paths))

    def parents(self) -> tuple[str, ...]:
        """The parents of the commit. Nothing without a mirror."""
        return self._from_mirror(lambda mirror: mirror.parents(self._commit)) or ()

    def cherry_pick(self, base: str, onto: str) -> Pick | None:
        """Merge the change from `base` to the commit into `onto`, another commit. None without a
        mirror.
        """
        return self._from_mirror(lambda mirror: mirror.cherry_pick(self._commit, base, onto))

    def _from_mirror(self, read: Callable[[Mirror], T]) -> T | None:
        """Return what `read` returns; None if the mirror is unavailable, also for later reads."""
        if self._mirror is None:
            return None
        try:
            return read(self._mirror)
        except MirrorUnavailable as exc:
            self._mirror = None
            self._reason = str(exc)
            return None


@dataclass(frozen=True, slots=True)
class OptionalRead(Generic[T]):
    """The result of a read that the work can do without."""

    value: T
    problem: str = ""  # why it failed; "" if it did not


def read_optional(read: Callable[[], T], otherwise: T) -> OptionalRead[T]:
    """Return what `read` returns; if its request fails, `otherwise` and the reason.

    Raises `DependencyDown` if all requests must wait, because then the work cannot continue either.
    """
    try:
        return OptionalRead(read())
    except (Permanent, Retryable) as exc:
        if isinstance(exc, DependencyDown) and exc.applies_to_all_calls:
            raise
        return OptionalRead(otherwise, str(exc))


def read_texts(files: CommitFiles, paths: Collection[str]) -> OptionalRead[Mapping[str, str]]:
    """Return the texts of files, by path. Without paths, no request is made."""
    none: Mapping[str, str] = {}
    if not paths:
        return OptionalRead(none)
    return read_optional(lambda: files.texts(paths), none)
