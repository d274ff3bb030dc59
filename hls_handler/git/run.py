"""Runs `git` on bare repositories, without the configuration of the system or the user, and within
limits.

https://git-scm.com/docs/git#_environment_variables
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NO_HOOKS = {"core.hooksPath": os.devnull}

FETCH_CONFIG: Mapping[str, str] = {
    **NO_HOOKS,
    # a larger file, which an honest server does not send, is not read into memory
    "core.bigFileThreshold": "2m",
    "credential.helper": "",
    "fetch.fsckObjects": "true",
    "fetch.unpackLimit": "1",  # each fetch stores one pack, whose size `max_file_bytes` limits
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1",  # bytes a second, for `http.lowSpeedTime`
    "maintenance.auto": "false",
    "pack.threads": "1",
}

CHECK_EVERY_S = 0.5
LIMITED = 'ulimit -c 0; ulimit -f "$0" 2>&-; trap "" XFSZ; exec "$@"'
"""Starts a program with limits. Python has no thread-safe way to set them for a child process
alone.

A core dump would contain the token. At the limit of a file's size git gets an error, not a signal.
"""


@dataclass(frozen=True, slots=True)
class GitLimits:
    timeout_s: float
    output_bytes: int
    file_bytes: int | None = None  # of each file that git writes, rounded up to 512 bytes
    must_stop: Callable[[], bool] = lambda: False  # called every `CHECK_EVERY_S`


@dataclass(frozen=True, slots=True)
class GitResult:
    status: int | None  # exit status, negative after a signal; None if it had to stop
    output: bytes
    is_cut: bool  # True if git was stopped because there was more output
    had_to_stop: bool = False  # True if it was stopped because of `must_stop`


def find_git() -> str | None:
    return shutil.which("git")


def environment(
    git_dir: Path,
    config: Mapping[str, str] = NO_HOOKS,
    *,
    objects: Path | None = None,
    protocol: str = "",
) -> dict[str, str]:
    """Return the whole environment of a `git` that uses only `config`, which may contain
    credentials.

    `objects` is the folder of the objects, if not that of `git_dir`. `protocol` is the only one
    that git may connect with; by default, git cannot connect at all.
    """
    variables = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C",
        "HOME": "/nonexistent",
        "GIT_ALLOW_PROTOCOL": protocol,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DIR": str(git_dir),
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(config)),
    }
    for index, (key, value) in enumerate(config.items()):
        variables |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    if objects is not None:
        variables["GIT_OBJECT_DIRECTORY"] = str(objects)
    return variables


def run_git(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    limits: GitLimits,
    *,
    stdin: bytes = b"",
    with_errors: bool = False,
) -> GitResult:
    """Run `git`, and return its output and, with `with_errors`, its error messages.

    When the time is up, if `must_stop` returns True, or at more output than permitted, git and all
    its child processes are killed. Raises `OSError` if git cannot be started.
    """
    file_blocks = "unlimited"
    if limits.file_bytes is not None:
        file_blocks = str(limits.file_bytes // 512 + 1)
    messages = subprocess.DEVNULL
    if with_errors:
        messages = subprocess.STDOUT
    command = ["/bin/sh", "-c", LIMITED, file_blocks, "git", *arguments]
    process = subprocess.Popen(
        command,
        cwd="/",
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=messages,
        start_new_session=True,  # for `killpg`
    )
    assert process.stdout is not None
    has_ended = threading.Event()
    is_late = threading.Event()
    had_to_stop = threading.Event()

    def stop_in_time() -> None:
        deadline = time.monotonic() + limits.timeout_s
        while not had_to_stop.is_set() and not is_late.is_set():
            left_s = deadline - time.monotonic()
            if has_ended.wait(max(min(left_s, CHECK_EVERY_S), 0.0)):
                return
            if limits.must_stop():
                had_to_stop.set()
            elif time.monotonic() >= deadline:
                is_late.set()
        _kill(process)

    threading.Thread(target=stop_in_time, daemon=True).start()
    # git may wait for us to read first
    writer = threading.Thread(target=_write, args=(process, stdin), daemon=True)
    writer.start()
    with process.stdout:
        output = process.stdout.read(limits.output_bytes + 1)
        is_cut = len(output) > limits.output_bytes
        if is_cut:
            _kill(process)
    status = process.wait()
    has_ended.set()
    writer.join()
    limited = output[: limits.output_bytes]
    if is_late.is_set() or had_to_stop.is_set():
        return GitResult(None, limited, is_cut, had_to_stop.is_set())
    return GitResult(status, limited, is_cut)


def _write(process: subprocess.Popen[bytes], text: bytes) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(text)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
