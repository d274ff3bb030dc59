"""The code of a service process that the fork server forks."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from functools import partial
from multiprocessing import parent_process
from pathlib import Path

from hls_handler import shipped
from hls_handler.app import Service
from hls_handler.cli.serve import run_service
from tests.crash.commits import CommitCounter, count_commits

EVENTS = ("issues", "pull_request", "pull_request_review", "workflow_run", "release", "issue_comment", "push")
PROMPTS = (Path(__file__).parent / "prompts", shipped.PROMPTS)


def serve(settings: Path, environ: Mapping[str, str], log: Path, commits: CommitCounter | None) -> None:
    """Run `hls serve` with a preloaded prompt library; append its output to `log`.

    A process inherits nothing else from the fork server: no settings, connections, threads or files.
    """
    from tests.e2e.preload import load  # only here, so that the process of the tests need not load the libraries

    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(environ)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    if commits is not None:
        count_commits(commits)
    sys.exit(run_service(settings, partial(Service, load=load)))


def _exit_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
