"""The zygote: a process that has imported everything and read the prompts, and becomes a fresh `hls serve` by forking.

`python -m tests.crash.zygote` reads one order a line and answers each with a line. What a life shares with those before
it is what is in no file and no socket of its own: modules, and the prompt library of the same settings. It has no
thread, no connection and no event loop when it forks.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from hls_handler.app import Service
from hls_handler.cli.options import DOTENV
from hls_handler.cli.serve import run_service
from hls_handler.prompting.prompt import Library
from hls_handler.settings.load import SettingsFile
from hls_handler.settings.model import Settings
from hls_handler.work.library import library_basis, load_checked
from tests.crash.tally import Tally, watch_commits
from tests.e2e.fork_server import PRELOADED


class Shelf:
    """The library of the settings that it was made with; any others are loaded anew."""

    def __init__(self, settings: Settings) -> None:
        self._basis, self._library = library_basis(settings), load_checked(settings)

    def load(self, settings: Settings) -> Library:
        return self._library if library_basis(settings) == self._basis else load_checked(settings)


def say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def live(out: str, err: str, begin: Callable[[], int]) -> NoReturn:
    """Run a process that was just forked: `begin` returns its exit code, its output is appended to files."""
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for path, theirs in ((out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), theirs)
        code = begin()
    except BaseException:  # noqa: BLE001 (the child must never return into its parent's loop)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(settings_path: Path) -> None:
    for module in PRELOADED:
        importlib.import_module(module)
    shelf = Shelf(SettingsFile(settings_path, os.environ, dotenv=DOTENV).first)
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    alive: set[int] = set()
    say("ready")
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "start":
            pid = os.fork()
            if pid == 0:
                live(order["log"], order["log"], partial(_serve, settings_path, shelf, order))
            alive.add(pid)
            say(pid)
        else:
            _, status = os.waitpid(order["pid"], 0 if order["do"] == "wait" else os.WNOHANG)
            ended = status if _ else None
            if ended is not None:
                alive.discard(order["pid"])
            say(None if ended is None else os.waitstatus_to_exitcode(ended))
    for pid in alive:  # whoever gave the orders is gone
        os.kill(pid, signal.SIGKILL)


def _serve(settings_path: Path, shelf: Shelf, order: Mapping[str, Any]) -> int:
    os.environ.update(order["environ"])
    if order["tally"] is not None:
        watch_commits(Tally(Path(order["tally"])))
    return run_service(settings_path, partial(Service, load=shelf.load))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
