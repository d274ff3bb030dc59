"""Processor time of commands that read the database, to that of importing their libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from bench.row import Row
from hls_handler.deliveries import NewDelivery
from hls_handler.store.storage import Storage

ROUNDS = 7
LIBRARIES = ("-c", "import sqlalchemy, pydantic, typer, rich")
COMMANDS = (("why", "octo/widgets#7"), ("deliveries", "list"), ("prompts", "list"))
MOST = 2.5
SETTINGS = """\
github: {{token: "${{UNSET_TOKEN}}", webhook_secret: "${{UNSET_SECRET}}"}}
claude: {{api_key: "${{UNSET_KEY}}"}}
storage: {{url: "sqlite:///{file}"}}
repositories: [{{name: octo/widgets, events: [issues]}}]
"""
QUEUED = NewDelivery(
    guid="bench",
    event="issues",
    action="opened",
    request_id="bench",
    state="queued",
    repository_id=1,
    repository="octo/widgets",
    number=7,
    title="The app crashes",
    body=b"{}",
)


def measure(folder: Path, *, rounds: int = ROUNDS) -> tuple[Row, ...]:
    file = folder / "commands.db"
    store = Storage.open(f"sqlite:///{file}")
    store.queue.accept([QUEUED])
    store.close()
    settings = folder / "settings.yaml"
    settings.write_text(SETTINGS.format(file=file), encoding="utf-8")
    of_libraries = []
    of_commands: dict[str, list[float]] = {}
    for _ in range(rounds):
        of_libraries.append(_cpu_s(LIBRARIES))
        for command in COMMANDS:
            seconds = _cpu_s(("-m", "hls_handler", *command, "--config", str(settings)))
            of_commands.setdefault(f"hls {' '.join(command)}", []).append(seconds)
    libraries_s = median(of_libraries)
    return tuple(
        Row(
            f"{name}, to importing its libraries",
            median(seconds) / libraries_s,
            "at most",
            MOST,
            None,
            f"{median(seconds) * 1000:.0f} ms to {libraries_s * 1000:.0f} ms",
        )
        for name, seconds in of_commands.items()
    )


def _cpu_s(arguments: tuple[str, ...]) -> float:
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{arguments} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime
