"""The folder of a mirror: its lock, and the commits that are fetched into it."""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hls_handler.errors import SettingsError
from hls_handler.git.host import SWITCHED_OFF, GitHost, HostFailed, MirrorUnavailable
from hls_handler.git.mirror_disk import FULL, DiskFull, MirrorDisk, remove, size_of
from hls_handler.git.run import FETCH_CONFIG, GitLimits, GitResult, environment, find_git, run_git
from hls_handler.settings.model import MirrorSettings
from hls_handler.settings.values import is_loopback
from hls_handler.transport import find_proxy_settings, redact_secret

log = logging.getLogger(__name__)

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
