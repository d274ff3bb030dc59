"""`python -m tests.crash`: kills the service at every commit and every request of every handler's way.

The exit code is 1 if anything was left otherwise than by an undisturbed service.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.crash.rig import Rig, rigged
from tests.crash.stories import STORIES, DeliveryReport
from tests.crash.sweep import every, run, undisturbed_run
from tests.crash.verdict import asked_again, wrong
from tests.postgres import running_cluster


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__.split("\n")[0])
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--handler", choices=[story.handler for story in STORIES], help="this one only")
    arguments = parser.parse_args()
    failed = False
    with _rig(arguments.database) as rig:
        rig.life.start()
        for story in STORIES:
            if arguments.handler in (None, story.handler):
                failed |= not _is_well(rig, story)
    return int(failed)


def _is_well(rig: Rig, story: DeliveryReport) -> bool:
    undisturbed = undisturbed_run(rig, story)
    runs = [run(rig, story, kill) for kill in every(undisturbed)]
    lines = [line for found in runs for line in wrong(story, undisturbed, found)]
    sys.stdout.write(
        f"{story.handler}: {undisturbed.commits} commits, {undisturbed.requests} requests, "
        f"{sum(found.died is not None for found in runs)} kills, {len(lines)} differences, "
        f"Claude asked again after {', '.join(asked_again(runs)) or 'none'}\n"
    )
    sys.stdout.writelines(f"  {line}\n" for line in lines)
    sys.stdout.flush()
    return not lines


@contextmanager
def _rig(database: str) -> Iterator[Rig]:
    with tempfile.TemporaryDirectory(prefix="hls-crash-") as name:
        folder = Path(name)
        if database == "sqlite":
            with rigged(folder) as rig:
                yield rig
        else:
            with running_cluster() as cluster, rigged(folder, url=cluster.url(cluster.create())) as rig:
                yield rig


if __name__ == "__main__":
    sys.exit(main())
