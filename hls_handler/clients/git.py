"""Runs `git` on bare repositories, without the configuration of the system or the user, and within limits.

https://git-scm.com/docs/git#_environment_variables
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NO_HOOKS = {"core.hooksPath": os.devnull}

FETCH_CONFIG: Mapping[str, str] = {
    **NO_HOOKS,
    "core.bigFileThreshold": "2m",  # a larger file, which an honest server does not send, is not read into memory
    "credential.helper": "",
    "fetch.fsckObjects": "true",
    "fetch.unpackLimit": "1",  # each fetch stores one pack, whose size `max_file_bytes` limits
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1",  # bytes a second, for `http.lowSpeedTime`
    "maintenance.auto": "false",
    "pack.threads": "1",
}


@dataclass(frozen=True, slots=True)
class GitResult:
    status: int | None  # exit status, negative after a signal; None if the time was up
    output: bytes
    is_cut: bool  # True if git was stopped because there was more output


def find_git() -> str | None:
    return shutil.which("git")


def environment(
    git_dir: Path, config: Mapping[str, str] = NO_HOOKS, *, objects: Path | None = None, protocol: str = ""
) -> dict[str, str]:
    """Return the whole environment of a `git` that uses only `config`, which may contain credentials.

    `objects` is the folder of the objects, if not that of `git_dir`. `protocol` is the only one that git may connect
    with; by default, git cannot connect at all.
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
    return variables if objects is None else {**variables, "GIT_OBJECT_DIRECTORY": str(objects)}


def run_git(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    timeout_s: float,
    max_bytes: int,
    stdin: bytes = b"",
    with_errors: bool = False,
    max_file_bytes: int | None = None,
) -> GitResult:
    """Run `git`, and return its output and, with `with_errors`, its error messages.

    After `timeout_s`, or at more output than `max_bytes`, git and all its child processes are killed. If the system
    permits such a limit, git cannot write a file over `max_file_bytes`, rounded up to 512 bytes. Raises `OSError` if
    git cannot be started.
    """
    command = ["git", *arguments]
    if max_file_bytes is not None:  # the limit of a process is inherited; Python has no thread-safe way to set it first
        command = ["/bin/sh", "-c", 'ulimit -f "$0" 2>&-; exec "$@"', str(max_file_bytes // 512 + 1), *command]
    process = subprocess.Popen(
        command,
        cwd="/",
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if with_errors else subprocess.DEVNULL,
        start_new_session=True,  # for `killpg`
    )
    assert process.stdout is not None
    is_late = threading.Event()

    def stop() -> None:
        is_late.set()
        _kill(process)

    timer = threading.Timer(timeout_s, stop)
    timer.daemon = True
    timer.start()
    writer = threading.Thread(target=_write, args=(process, stdin), daemon=True)  # git may wait for us to read first
    writer.start()
    with process.stdout:
        output = process.stdout.read(max_bytes + 1)
        is_cut = len(output) > max_bytes
        if is_cut:
            _kill(process)
    status = process.wait()
    timer.cancel()
    writer.join()
    return GitResult(None if is_late.is_set() else status, output[:max_bytes], is_cut)


def _write(process: subprocess.Popen[bytes], text: bytes) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(text)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
