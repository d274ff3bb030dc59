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

import base64
import errno
import fcntl
import hashlib
import io
import logging
import math
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from hls_handler.errors import SettingsError
from hls_handler.git.host import SWITCHED_OFF, GitHost, HostFailed, MirrorUnavailable
from hls_handler.git.run import (
    FETCH_CONFIG,
    NO_HOOKS,
    GitLimits,
    GitResult,
    environment,
    find_git,
    run_git,
)
from hls_handler.settings.model import MirrorSettings
from hls_handler.settings.values import is_loopback, web_url
from hls_handler.transport import find_proxy_settings, redact_secret

log = logging.getLogger(__name__)

TOTAL_BYTES = 5_000_000_000
"""Size of all mirrors: what was not used for longest is deleted. It is ten times
`mirror.max_mb`.
"""
FULL = "no room is left on the disk of mirror.directory"
FULL_S = 120.0  # for which nothing is fetched after `DiskFull`, so that a probe of /health sees it

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# of one mirror; then it is fetched anew, because objects of old commits are not removed
MAX_COMMITS = 100
MAX_MESSAGE_BYTES = 100_000  # of git's error messages, in which the server can write
READ_TIMEOUT_S = 30.0
LOCAL = GitLimits(READ_TIMEOUT_S, MAX_MESSAGE_BYTES)
TOO_MUCH_S = 3600.0  # for which a commit is not fetched that was too large or too slow
RETRY_S = 60.0  # the same after any other failure
MIN_SILENCE_S = 5.0  # of the git server in a fetch, if it is not the machine that is slow
LOCK_POLL_S = 0.05

SILENT = "the git server does not answer"
CUT_OFF = "the git server did not answer as expected"
UNWRITABLE = "mirror.directory cannot be written"
INVALID = "git could not fetch the commit; the log has its message"

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


class DiskFull(MirrorUnavailable):
    """The disk is full, or a fetch has used up to the room that stays free on it."""


class MirrorDisk:
    """Thread-safe. `clock` returns seconds, and `free_bytes` the room on the disk of a folder."""

    def __init__(
        self,
        settings: Callable[[], MirrorSettings],
        *,
        clock: Callable[[], float],
        free_bytes: Callable[[Path], int],
        total_bytes: int = TOTAL_BYTES,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._free_bytes = free_bytes
        self._total_bytes = total_bytes
        self._full_until = 0.0

    @property
    def _directory(self) -> Path:
        return self._settings().directory.absolute()

    def free_bytes(self) -> int:
        """Return the room on the disk. Raises `OSError`."""
        folder = self._directory
        while not folder.exists():
            folder = folder.parent
        return self._free_bytes(folder)

    def is_low(self) -> bool:
        """Return whether too little is free; False if that cannot be read."""
        try:
            return self.free_bytes() < self._settings().min_free_mb * 1_000_000
        except OSError:
            return False

    def describe_low(self) -> str:
        min_free_mb = self._settings().min_free_mb
        return (
            f"less than mirror.min_free_mb ({min_free_mb}) is free on the disk of mirror.directory"
        )

    def check(self, keep: Path | None = None) -> None:
        """Raise `MirrorUnavailable` if nothing may be fetched, after other mirrors were deleted."""
        if self._clock() < self._full_until:
            raise MirrorUnavailable(FULL)
        if self.is_low():
            self.evict(keep)
        if self.is_low():
            raise MirrorUnavailable(self.describe_low())

    def remember_full(self, keep: Path) -> None:
        """Let nothing be fetched for two minutes, and delete a mirror."""
        self._full_until = self._clock() + FULL_S
        self.evict(keep, at_least_one=True)

    def evict(self, keep: Path | None, *, at_least_one: bool = False) -> None:
        """Delete the mirrors that were not used for longest, except `keep`.

        It ends when the mirrors are small enough together, and enough room is free.
        """
        with suppress(OSError):  # of a folder that another process deletes at the same time
            locks = sorted(self._directory.glob("*/lock"), key=lambda lock: lock.stat().st_mtime)
            sizes = {lock: size_of(lock.parent) for lock in locks}
            for lock in locks:
                fits = sum(sizes.values()) <= self._total_bytes and not self.is_low()
                if fits and not at_least_one:
                    return
                if lock.parent != keep and sizes[lock] > 0 and _delete(lock):
                    sizes[lock] = 0
                    at_least_one = False


def _delete(lock: Path) -> bool:
    """Delete a mirror, and return True; False if it is in use."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        remove(lock.parent / "git", lock.parent / "new", lock.parent / "pick")
    return True


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder, which may be changed or deleted at the same
    time.
    """
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total


def remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


class TooMuch(MirrorUnavailable):
    """The commits are too large, or fetching them takes too long."""


@dataclass(frozen=True, slots=True)
class _Reason:
    """The text that people are shown in place of a message of git, because the server can write in
    that.
    """

    pattern: bytes
    text: str
    error: type[MirrorUnavailable] = MirrorUnavailable


_REASONS = (
    _Reason(rb"No space left on device|Disk quota exceeded", FULL, DiskFull),
    _Reason(rb"Read-only file system", UNWRITABLE),
    _Reason(rb"not our ref", "GitHub does not have the commit, or does not give it to git"),
    _Reason(
        rb"could not read Username|Authentication failed|repository '.*' not found"
        rb"|returned error: 4(?!08|29)",  # not a time-out, nor too many requests
        "GitHub rejected the credential for git, or it may not read the repository",
    ),
    _Reason(rb"returned error: 3", "the git server redirects, which HLS does not follow"),
    _Reason(rb"Operation too slow", SILENT, HostFailed),
    _Reason(rb"unable to access", CUT_OFF, HostFailed),
    _Reason(rb"RPC failed|remote end hung up|early EOF", CUT_OFF),
    _Reason(rb"fsck error", INVALID),
)
"""The first one that matches applies."""


class _Damaged(Exception):
    """git failed for none of the known reasons, so the repository may be damaged."""


@dataclass(frozen=True, slots=True)
class _FailedFetch:
    """A failed fetch. It is not repeated before `until`, except after a change of the settings."""

    settings: MirrorSettings
    reason: str
    until: float


class MirrorFolders:
    """The settings, the disk, the git server and the failed fetches of all mirrors. Thread-safe.

    `settings` returns the present settings, `clock` seconds, and `free_bytes` the room on the disk
    of a folder. See `GitHost` for the others.
    """

    def __init__(
        self,
        settings: Callable[[], MirrorSettings],
        *,
        most_waiting: int = 1,
        report: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.sleep = sleep
        self.disk = MirrorDisk(settings, clock=clock, free_bytes=free_bytes)
        self.host = GitHost(most_waiting, clock=clock, sleep=sleep, report=report)
        self._failed: dict[tuple[Path, frozenset[str]], _FailedFetch] = {}
        """By folder and commits, none if they stand for all commits of the repository."""

    def remember(self, folder: Path, commits: Collection[str], reason: str, for_s: float) -> None:
        now = self.clock()
        for key in [key for key, failed in [*self._failed.items()] if failed.until <= now]:
            self._failed.pop(key, None)  # another thread may have removed it
        self._failed[folder, frozenset(commits)] = _FailedFetch(
            self.settings(), reason, now + for_s
        )

    def check_failed(self, folder: Path, commits: Collection[str]) -> None:
        """Raise `MirrorUnavailable` if the commits are not to be fetched now."""
        failure = self._failed.get((folder, frozenset(commits)))
        if (
            failure is not None
            and failure.settings == self.settings()
            and self.clock() < failure.until
        ):
            raise MirrorUnavailable(failure.reason)


class MirrorFolder:
    """The folder of the mirror of one repository, for one thread. All methods raise
    `MirrorUnavailable`, and what `token` raises.
    """

    def __init__(self, mirrors: MirrorFolders, url: str, token: Callable[[], str]) -> None:
        self._mirrors = mirrors
        self._url = url
        self._token = token
        name = re.sub("[^a-z0-9]+", "-", url.rpartition("/")[2].removesuffix(".git").lower())[:40]
        digest = hashlib.sha256(url.lower().encode()).hexdigest()[:16]
        self.path = mirrors.settings().directory.absolute() / f"{name}-{digest}"
        self.git = self.path / "git"
        self.ready: set[str] = set()
        """The commits that are certainly there."""

    def prepare(self, commits: Sequence[str], *, anew: bool = False) -> None:
        """Fetch the commits that are not there, in one request. With `anew`, delete the mirror
        first.

        A commit is an id of 40 or 64 hexadecimal digits.
        """
        if anew or not self.ready >= set(commits) > set():
            with self.prepared(commits, anew=anew):
                pass

    @contextmanager
    def prepared(self, commits: Sequence[str], *, anew: bool = False) -> Iterator[None]:
        """Lock the mirror, with the commits in it."""
        settings = self._mirrors.settings()
        mirrors = self._mirrors
        if not commits or not all(COMMIT.fullmatch(commit) for commit in commits):
            raise MirrorUnavailable("the event names no commit")
        if not settings.enabled:
            raise MirrorUnavailable(SWITCHED_OFF)
        if find_git() is None:
            raise MirrorUnavailable("git is not installed")
        try:
            deadline = mirrors.clock() + settings.timeout_s
            with mirrors.host.waiting(deadline), self._locked(deadline):
                # waiting for another fetch does not count
                deadline = mirrors.clock() + settings.timeout_s
                if anew:
                    remove(self.git)
                if not self._has(commits):
                    self._fetch(commits, deadline)
                    mirrors.disk.evict(self.path)
                self.ready |= set(commits)
                yield
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                mirrors.disk.remember_full(self.path)
            raise MirrorUnavailable(f"mirror.directory cannot be used: {exc.strerror}") from exc

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        lock = self.path / "lock"
        with lock.open("a") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    self._mirrors.host.check()
                    if self._mirrors.clock() >= deadline:
                        raise MirrorUnavailable(
                            "another fetch of the repository takes too long"
                        ) from None
                    self._mirrors.sleep(LOCK_POLL_S)
            os.utime(file.fileno())
            yield

    def _has(self, commits: Sequence[str]) -> bool:
        if not self.git.is_dir():
            return False
        names = "".join(f"refs/hls/{commit}^{{tree}}\n" for commit in commits)
        result = run_git(
            ["cat-file", "--batch-check=%(objecttype)"],
            environment(self.git),
            LOCAL,
            stdin=names.encode(),
        )
        return result.status == 0 and result.output.split() == [b"tree"] * len(commits)

    def _fetch(self, commits: Sequence[str], deadline: float) -> None:
        """Fetch the commits, unless that failed a short time ago."""
        mirrors = self._mirrors
        folder = self.path
        mirrors.check_failed(folder, commits)
        too_large = commits
        if not self.git.is_dir():  # the first commit stands for the others
            too_large = ()
            mirrors.check_failed(folder, ())
        mirrors.disk.check(folder)
        try:
            with mirrors.host.asked():
                self._fetch_now(commits, deadline)
        except HostFailed:
            raise
        except DiskFull:
            mirrors.disk.remember_full(folder)
            raise
        except TooMuch as exc:
            mirrors.remember(folder, too_large, str(exc), TOO_MUCH_S)
            raise
        except MirrorUnavailable as exc:
            mirrors.remember(folder, commits, str(exc), RETRY_S)
            raise

    def _fetch_now(self, commits: Sequence[str], deadline: float) -> None:
        number = len(list(self.git.glob("refs/hls/*")))
        if 0 < number < MAX_COMMITS and self._add(commits, deadline):
            return
        new = self.path / "new"
        try:
            remove(new)
            for folder in (new, new / "read"):
                init = ["init", "--quiet", "--bare", "--template="]
                made = run_git(init, environment(folder), LOCAL, with_errors=True)
                if made.status != 0:
                    raise _find_reason(made) or MirrorUnavailable(UNWRITABLE)
            self._fetch_into(new, commits, deadline)
            if size_of(new) > self._max_bytes:
                raise self._too_large()
            remove(self.git)
            new.rename(self.git)
        except _Damaged as exc:
            raise MirrorUnavailable(INVALID) from exc
        finally:
            remove(new)

    def _add(self, commits: Sequence[str], deadline: float) -> bool:
        """Fetch the commits into the mirror. Return False if it has no room, or is damaged."""
        before = self._parts()
        is_kept = False
        try:
            self._fetch_into(self.git, commits, deadline)
            is_kept = size_of(self.git) <= self._max_bytes
            if not is_kept and self._measure(commits) > self._max_bytes:
                raise self._too_large()
        except _Damaged:
            pass
        finally:
            if not is_kept:
                for part in self._parts() - before:
                    part.unlink()
        return is_kept

    def _parts(self) -> set[Path]:
        """Return the files that a fetch adds to the mirror."""
        return {*self.git.glob("objects/pack/*"), *self.git.glob("refs/hls/*")}

    def _measure(self, commits: Sequence[str]) -> int:
        """Return the bytes of the objects of the commits; 0 if git is older than 2.31."""
        command = ["rev-list", "--objects", "--disk-usage", "--missing=allow-any", *commits]
        result = run_git(command, environment(self.git), LOCAL)
        if result.status != 0:
            return 0
        return int(result.output)

    @property
    def _max_bytes(self) -> int:
        return self._mirrors.settings().max_mb * 1_000_000

    def _too_large(self) -> TooMuch:
        max_mb = self._mirrors.settings().max_mb
        return TooMuch(f"the repository is larger than mirror.max_mb ({max_mb})")

    def _fetch_into(self, folder: Path, commits: Sequence[str], deadline: float) -> None:
        """Fetch the commits, a second time if the response may have ended too early."""
        failure = self._run_fetch(folder, commits, deadline)
        is_unknown = isinstance(failure, _Damaged) and folder != self.git
        last_begin = deadline - self._mirrors.settings().timeout_s / 2
        has_time = self._mirrors.clock() < last_begin
        if has_time and (is_unknown or str(failure) == CUT_OFF):
            failure = self._run_fetch(folder, commits, deadline)
        if failure is not None:
            raise failure

    def _run_fetch(self, folder: Path, commits: Sequence[str], deadline: float) -> Exception | None:
        """Run `git fetch`. Return why it failed; None if it did not."""
        token = self._token()
        url = urlsplit(self._url)
        try:
            config = {**FETCH_CONFIG, **_network_config(self._url)}
            # When the server sends nothing for so long, git ends by itself, also if HLS was killed.
            silence_s = max(self._mirrors.settings().timeout_s / 3, MIN_SILENCE_S)
            config["http.lowSpeedTime"] = str(math.ceil(silence_s))
        except SettingsError as exc:
            log.warning("git could not fetch", extra={"url": self._url, "error": str(exc)})
            raise MirrorUnavailable("the proxy or the certificates cannot be used") from exc
        if token:
            credential = base64.b64encode(f"x-access-token:{token}".encode()).decode()
            config[f"http.{url.scheme}://{url.netloc}/.extraHeader"] = (
                f"Authorization: Basic {credential}"
            )
        # Files from 2 MiB on are not fetched, because no larger ones are read.
        options = [
            "--depth=1",
            "--filter=blob:limit=2m",
            "--no-tags",
            "--no-recurse-submodules",
            "--quiet",
        ]
        refspecs = [f"{commit}:refs/hls/{commit}" for commit in dict.fromkeys(commits)]
        protocol = "https"
        if is_loopback(url.hostname or ""):
            protocol = url.scheme
        result = run_git(
            ["fetch", *options, "--no-write-fetch-head", self._url, *refspecs],
            environment(folder, config, protocol=protocol),
            GitLimits(
                timeout_s=max(deadline - self._mirrors.clock(), 0.0),
                output_bytes=MAX_MESSAGE_BYTES,
                file_bytes=self._max_bytes,
                must_stop=self._mirrors.disk.is_low,
            ),
            with_errors=True,
        )
        if result.status == 0 and not result.is_cut:
            return None
        output = result.output
        if result.is_cut:
            output = output[: -2 * len(token) - 100]  # no half of a token
        message = output.decode("utf-8", "replace")
        if token:
            message = redact_secret(message, token)
        log.warning(
            "git could not fetch",
            extra={"url": self._url, "status": result.status, "error": message},
        )
        failure = self._explain(result, folder)
        for incomplete in folder.glob("objects/pack/tmp_*"):
            incomplete.unlink()
        return failure

    def _explain(self, result: GitResult, folder: Path) -> MirrorUnavailable | _Damaged:
        packs = [pack.stat().st_size for pack in folder.glob("objects/pack/tmp_pack_*")]
        if max(packs, default=0) > self._max_bytes:
            return self._too_large()
        if result.had_to_stop:
            return DiskFull(self._mirrors.disk.describe_low())
        if result.status is None and not packs:
            return HostFailed(SILENT)
        if result.status is None:
            timeout_s = self._mirrors.settings().timeout_s
            return TooMuch(
                f"fetching the repository took longer than mirror.timeout_s ({timeout_s:g})"
            )
        return _find_reason(result) or _Damaged()


def _find_reason(result: GitResult) -> MirrorUnavailable | None:
    for reason in _REASONS:
        if re.search(reason.pattern, result.output):
            return reason.error(reason.text)
    return None


def _network_config(url: str) -> dict[str, str]:
    """Return the settings of git for the proxy and the authorities that requests to the API use,
    too.
    """
    proxies = find_proxy_settings(url)
    key = "http.sslCAInfo"
    if Path(proxies.ca_path).is_dir():
        key = "http.sslCAPath"
    return {
        "http.proxy": proxies.proxy or "",
        "http.proxyAuthMethod": "basic",
        key: proxies.ca_path,
    }


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
            max_lines = max(MAX_HITS, int(share * len(lines)))
            frequent = [word for word in searched if numbers[word] > max_lines]
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
            branch_objects = {
                name: stage.split()[1] for stage, name in stages if stage.endswith(" 2")
            }
            paths = [name for name in names if "\n" not in name]
            read_names = (f"{branch_objects.get(name, '-')}\n{tree}:{name}\n" for name in paths)
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
            PickConflict(label(name), branch_text, tuple(map(label, mark.split(text))))
            for name, branch_text, text in files
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
