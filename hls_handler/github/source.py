"""The files of a repository at a commit: from its mirror, or the first ones from GitHub's API."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hls_handler.errors import DependencyDown, Permanent, Retryable
from hls_handler.git.host import MirrorUnavailable
from hls_handler.git.mirror import Hit, Mirror, Pick
from hls_handler.github.api import RepositoryApi
from hls_handler.github.review_context import read_blobs, read_head_files
from hls_handler.github.values import Blob
from hls_handler.untrusted.cleaning import CodeText, clean_and_redact

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
