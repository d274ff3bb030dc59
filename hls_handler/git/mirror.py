"""A mirror of each repository: a bare git repository with a few commits, each without its history.

The folders in `mirror.directory` are a cache for all threads and processes, which may be deleted at
any time:

    hello-world-5d41402abc4b2a76/lock   locked during a fetch; its time is that of the last use
    hello-world-5d41402abc4b2a76/git    the repository; refs/hls/COMMIT marks a complete commit
    hello-world-5d41402abc4b2a76/new    the same, until its first fetch is complete
    hello-world-5d41402abc4b2a76/pick   objects of a merge that is computed

Reads use the configuration in git/read and the objects in git/objects. The repository itself is a
partial clone, in which `git grep` fails at the first file that was not fetched (over 2 MB).
"""

from __future__ import annotations

import io
import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from hls_handler.git.host import MirrorUnavailable
from hls_handler.git.mirror_disk import remove
from hls_handler.git.mirror_folder import READ_TIMEOUT_S, MirrorFolder, MirrorFolders
from hls_handler.git.run import NO_HOOKS, GitLimits, GitResult, environment, run_git
from hls_handler.settings.values import web_url

log = logging.getLogger(__name__)

SEARCHED = re.compile(r"(?=.*\w)[\w$./:-]{1,200}")  # a name, not an expression
# before the content, in the output of `git cat-file --batch`
OBJECT = re.compile(rb"[0-9a-f]+ ([a-z]+) ([0-9]+)\n")
# in that of `git ls-tree`; 120000 is a symbolic link
FILE = re.compile(rb"100\d+ blob ([0-9a-f]+)\t(.+)", re.DOTALL)

# the names and the hunks of a file, in the output of `git diff-tree`
PATCH = re.compile(
    r"^--- (?:/dev/null|([^\t\n\"]+)\t?)\n\+\+\+ (?:/dev/null|([^\t\n\"]+)\t?)\n(@@ .*)",
    re.MULTILINE | re.DOTALL,
)

MAX_READ_BYTES = 25_000_000  # of files that are read together
MAX_GREP_BYTES = 4_000_000
MAX_LIST_BYTES = 50_000_000
MAX_DIFF_BYTES = 4_000_000
MAX_HITS = 500  # of one word, if the output is too long
MAX_ARGUMENT_BYTES = 500_000  # of paths
MAX_LINE_CHARACTERS = 400  # of a line with a word
MAX_SHARES = (0.05, 0.0, 0.0)
"""Share of the lines above which a word is left out of the next search. There are at most three."""
UNMERGEABLE = (
    "git is older than 2.38, or cannot merge the commits: a file is over 2 MB, or the conflicts are"
    " too large"
)


@dataclass(frozen=True, slots=True)
class PickConflict:
    """A file that cannot be merged. Its texts are untrusted, and neither cleaned nor redacted."""

    path: str
    ours: str  # the file on the branch
    # of the merged file: the parts with odd indexes are conflicts, with git's marks
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pick:
    """The result of `git cherry-pick`, computed in the mirror."""

    is_empty: bool  # True: the branch has the change already
    conflicts: tuple[PickConflict, ...]


class Hit(NamedTuple):
    """A line of the repository with a word that was looked for."""

    path: str
    number: int  # of the line, from 1
    text: str  # its first `MAX_LINE_CHARACTERS`


class Mirrors(MirrorFolders):
    """All mirrors. Thread-safe."""

    def of(self, base_url: str, repository: str, token: Callable[[], str]) -> Mirror:
        """Return the mirror of "owner/repo". `base_url` is that of GitHub's API. `token` returns ""
        for no token.
        """
        return Mirror(self, f"{web_url(base_url)}/{repository}.git", token)


class Mirror:
    """The mirror of one repository, for one thread. All methods raise `MirrorUnavailable`, and what
    `token` raises.

    A commit that is not there is fetched. If the mirror was deleted or is damaged, it is fetched
    anew, once.
    """

    def __init__(self, mirrors: MirrorFolders, url: str, token: Callable[[], str]) -> None:
        self._folder = MirrorFolder(mirrors, url, token)
        self._git = self._folder.git
        self._was_renewed = False

    def prepare(self, commits: Sequence[str]) -> None:
        """Fetch the commits that are not there, in one request."""
        self._folder.prepare(commits)

    def files(self, commit: str, paths: Collection[str]) -> Mapping[str, bytes]:
        """Return the contents of files, without missing files, files over 2 MB, and what exceeds
        `MAX_READ_BYTES`.

        The content of a symbolic link is the path that it names. git cannot be asked for a path
        with a newline.
        """
        requests = [
            path
            for path in paths
            if "\n" not in path and not {"", ".", ".."} & set(path.split("/"))
        ]
        names = "".join(f"{commit}:{path}\n" for path in requests)
        # git succeeds without the commit, so ask for it, too
        stdin = f"{names}{commit}\n".encode("utf-8", "replace")
        output = self._read(commit, ["cat-file", "--batch"], max_bytes=MAX_READ_BYTES, stdin=stdin)
        read = io.BytesIO(output.output)
        contents = {path: _read_blob(read) for path in requests}
        return {path: content for path, content in contents.items() if content is not None}

    def list_files(self, commit: str, extensions: Collection[str]) -> Mapping[str, str]:
        """Return the ids of the contents of all files with one of the extensions, such as ".md", by
        path.

        Symbolic links are left out.
        """
        listing = self._read(
            commit, ["ls-tree", "-r", "-z", "--full-tree", commit], max_bytes=MAX_LIST_BYTES
        )
        if listing.is_cut:
            raise MirrorUnavailable("the repository has too many files")
        ends = tuple(end.encode() for end in extensions)
        files = (
            FILE.fullmatch(entry)
            for entry in listing.output.split(b"\0")
            if entry.lower().endswith(ends)
        )
        return {_decode(file[2]): file[1].decode() for file in files if file}

    def find_words(self, commit: str, words: Collection[str]) -> tuple[Hit, ...]:
        """Return the lines with one of the words, by path. A word may be a name such as `a.b`.

        If there are too many, the words with the most lines are left out.
        """
        searched = [word for word in dict.fromkeys(words) if SEARCHED.fullmatch(word)]
        options = [
            "--extended-regexp",  # fixed strings take minutes if a line has a megabyte
            "--word-regexp",
            "--line-number",
            "--null",
            "-I",
            "--threads=1",
        ]
        for share in MAX_SHARES:
            if not searched:
                break
            pattern = "|".join(re.sub(r"[$.]", r"[\g<0>]", word) for word in searched)
            result = self._read(
                commit,
                ["grep", *options, "-f", "-", commit],
                max_bytes=MAX_GREP_BYTES,
                stdin=pattern.encode("utf-8", "replace"),
                accepted=(0, 1),
            )
            lines = re.findall(rf"{commit}:([^\0]+)\0(\d+)[\0:](.*)\n", _decode(result.output))
            if not result.is_cut:
                return tuple(
                    Hit(path, int(number), text[:MAX_LINE_CHARACTERS])
                    for path, number, text in lines
                )
            texts = "\n".join(text for _, _, text in lines)
            numbers = Counter(re.findall(r"\w+", texts))
            most = max(MAX_HITS, int(share * len(lines)))
            frequent = [word for word in searched if numbers[word] > most]
            if not frequent:
                raise MirrorUnavailable(
                    "the repository has too many lines with the names of the change"
                )
            searched = [word for word in searched if word not in frequent]
        return ()

    def diff(self, base: str, commit: str, paths: Collection[str]) -> Mapping[str, str]:
        """Return the patches of files from one commit to another, by their path in the last one,
        else in the first one.

        A file with a tab, a line break or a quotation mark in its name is left out.
        """
        self.prepare((base, commit))
        options = ["-r", "-p", "-M", "--no-prefix", "--no-ext-diff", "--no-textconv", "--no-color"]
        result = self._read(
            commit,
            [
                *("-c", "core.quotePath=false", "--literal-pathspecs", "diff-tree", *options),
                *(base, commit, "--", *_limit_arguments(paths)),
            ],
            max_bytes=MAX_DIFF_BYTES,
            accepted=(0, 128),  # 128: a file is over 2 MB
        )
        if result.status != 0 or result.is_cut:
            raise MirrorUnavailable("git cannot compare the commits: too much changed")
        parts = re.split(r"^diff --git ", _decode(result.output), flags=re.MULTILINE)
        patches = [PATCH.search(part) for part in parts]
        return {patch[2] or patch[1]: patch[3] for patch in patches if patch}

    def parents(self, commit: str) -> tuple[str, ...]:
        """Return the parents of a commit, which need not be there."""
        output = self._read(commit, ["cat-file", "commit", commit], max_bytes=MAX_READ_BYTES).output
        header = output.partition(b"\n\n")[0].decode("ascii", "replace")
        return tuple(re.findall(r"^parent ([0-9a-f]+)$", header, re.MULTILINE))

    def cherry_pick(self, commit: str, base: str, onto: str) -> Pick:
        """Merge the change from `base` to `commit` into `onto`, with files of their own that are
        deleted afterwards.

        git merges copies of the commits, of which the one of `base` is the parent of the others.
        git 2.38 is needed.
        """
        objects = self._folder.path / "pick"
        config = {**NO_HOOKS, "user.name": "HLS", "user.email": "hls@localhost"}
        environ = environment(self._git / "read", config, objects=objects)
        environ["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(self._git / "objects")

        def git(*arguments: str, stdin: bytes = b"", accepted: Sequence[int] = (0,)) -> bytes:
            result = run_git(
                arguments, environ, GitLimits(READ_TIMEOUT_S, MAX_READ_BYTES), stdin=stdin
            )
            if result.status not in accepted or result.is_cut:
                raise MirrorUnavailable(UNMERGEABLE)
            return result.output

        def copy(of: str, *parents: str) -> str:
            return git("commit-tree", f"{of}^{{tree}}", *parents, "-m", "copy").decode().strip()

        with self._folder.prepared((commit, base, onto)), ExitStack() as stack:
            # before the lock is released: then the folder is another process's
            stack.callback(remove, objects)
            remove(objects)
            objects.mkdir()
            first = copy(base)
            ours = copy(onto, "-p", first)
            theirs = copy(commit, "-p", first)
            merge = ["merge-tree", "--write-tree", "-z", "--no-messages", ours, theirs]
            tree, *entries = _decode(git(*merge, accepted=(0, 1))).split("\0")[:-1]
            # "100644 OBJECT 2" is the branch's file
            stages = [entry.partition("\t")[::2] for entry in entries]
            names = tuple(dict.fromkeys(name for _, name in stages))
            own = {name: stage.split()[1] for stage, name in stages if stage.endswith(" 2")}
            paths = [name for name in names if "\n" not in name]
            read_names = (f"{own.get(name, '-')}\n{tree}:{name}\n" for name in paths)
            stdin = "".join(read_names).encode("utf-8", "replace")
            read = io.BytesIO(git("cat-file", "--batch", stdin=stdin))
            texts = {
                name: [_decode(_read_blob(read) or b"") for _ in (ours, tree)] for name in paths
            }
            is_empty = not names and tree.encode() == git("rev-parse", f"{ours}^{{tree}}").strip()

        def label(text: str) -> str:
            return text.replace(ours, "branch").replace(theirs, "change")

        mark = re.compile(
            rf"^(<{{7}} {ours}(?::.*)?\r?\n(?:.*\n)*?>{{7}} {theirs}(?::.*)?(?:\r?\n|\Z))",
            re.MULTILINE,
        )
        files = [(name, *texts.get(name, ("", ""))) for name in names]
        conflicts = (
            PickConflict(label(name), own, tuple(map(label, mark.split(text))))
            for name, own, text in files
        )
        return Pick(is_empty, tuple(conflicts))

    def _read(
        self,
        commit: str,
        arguments: Sequence[str],
        *,
        max_bytes: int,
        stdin: bytes = b"",
        accepted: Sequence[int] = (0,),
    ) -> GitResult:
        if commit not in self._folder.ready:
            self.prepare((commit,))
        environ = environment(self._git / "read", objects=self._git / "objects")
        try:
            result = run_git(arguments, environ, GitLimits(READ_TIMEOUT_S, max_bytes), stdin=stdin)
        except OSError as exc:
            raise MirrorUnavailable(f"git cannot be started: {exc.strerror}") from exc
        lacks_commit = result.output.endswith(f"{commit} missing\n".encode())
        if result.is_cut or (result.status in accepted and not lacks_commit):
            return result
        if result.status is None:
            raise MirrorUnavailable(f"reading the mirror took longer than {READ_TIMEOUT_S:g} s")
        if arguments[0] == "grep":
            raise MirrorUnavailable("git cannot search the mirror")
        if self._was_renewed:
            raise MirrorUnavailable("the mirror cannot be read")
        self._was_renewed = True
        self._folder.prepare(tuple(self._folder.ready), anew=True)
        return self._read(commit, arguments, max_bytes=max_bytes, stdin=stdin, accepted=accepted)


def _limit_arguments(paths: Collection[str]) -> list[str]:
    """Return the first paths, of so many bytes that a process can get them as arguments."""
    chosen: list[str] = []
    free_bytes = MAX_ARGUMENT_BYTES
    for path in paths:
        free_bytes -= len(path.encode(errors="replace")) + 1
        if free_bytes < 0:
            break
        chosen.append(path)
    return chosen


def _read_blob(output: io.BytesIO) -> bytes | None:
    """Read the next object that `git cat-file --batch` wrote; None if it is missing, cut or not a
    file.
    """
    header = OBJECT.fullmatch(output.readline())
    if header is None:
        return None
    size = int(header[2])
    content = output.read(size + 1)
    if header[1] != b"blob" or len(content) <= size:
        return None
    return content[:size]


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace")
