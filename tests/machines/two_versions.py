"""Runs an earlier version beside this one with one PostgreSQL, as in a rolling upgrade. Run it before a release:

    python -m tests.machines.two_versions FOLDER

FOLDER is a checkout of the earlier version with its `.venv`. Processes of this version migrate the tables while the
earlier ones work; then one process of each version is killed, and at last this version works alone. Each issue must get
its labels and one comment, once.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hls_handler.sandbox.server import Sandbox
from hls_handler.storage import Storage
from tests.e2e.service import Service
from tests.machines.fleet import Fleet, settings_for
from tests.postgres import running_cluster


@dataclass
class EarlierService(Service):
    folder: Path = Path()

    def start(self) -> Service:
        self.begin_log()
        program = [str(self.folder / ".venv/bin/python"), "-m", "hls_handler", "serve", "--config", str(self.settings)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(program, cwd=self.folder, stdout=log, stderr=log)
        return self.until_up()


def main(folder: Path) -> None:
    with running_cluster() as cluster, Sandbox() as sandbox, tempfile.TemporaryDirectory() as name:
        url, here = cluster.url(cluster.create()), Path(name)
        settings = settings_for(sandbox, here, limits="lease_s: 5, concurrency: 4, max_crashes: 100", url=url)
        known = here / "earlier.yaml"  # without sections that the earlier version does not have
        known.write_text(settings.read_text().replace("mirror: {enabled: false}\n", ""))
        earlier = [EarlierService(known, 0, here / f"earlier-{n}.log", url, folder=folder) for n in range(2)]
        newer = [Service(settings, 0, here / f"newer-{n}.log", url) for n in range(2)]
        for service in earlier:
            service.start()
        first = Fleet(sandbox, None, url, settings, [*earlier, *newer])  # type: ignore[arg-type]
        numbers = iter(range(700, 800))

        def send(*services: Service) -> None:
            for service in services:
                number = next(numbers)
                first.deliver(service, number, guid=f"guid-{number}")

        try:
            send(*earlier * 5)
            newer[0].start()
            with closing(Storage.open(url)) as store:
                fleet = Fleet(sandbox, store, url, settings, first.services)
                send(*[*earlier, newer[0]] * 5)
                earlier[0].stop(signal.SIGKILL)
                newer[1].start()
                send(*[earlier[1], *newer] * 5)
                newer[0].stop(signal.SIGKILL)
                send(*[earlier[1], newer[1]] * 5)
                earlier[1].stop()
                send(*[newer[1]] * 5)
                fleet.until_idle()
                sent = range(700, next(numbers))
                for number in sent:
                    fleet.assert_once(number)
                rows = [fleet.row(f"guid-{number}") for number in sent]
                calls = Counter(call.outcome for row in rows for call in store.calls.calls_of(row.guid))
                lines = [f"{len(rows)} issues: {dict(Counter(row.state for row in rows))}, calls: {dict(calls)}"]
                for log in (one.log for one in first.services):
                    entries = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
                    problems = [entry for entry in entries if entry["level"] in ("ERROR", "CRITICAL")]
                    ended = sum(entry["message"] == "delivery finished" for entry in entries)
                    lines += [f"{log.stem}: {ended} deliveries, {len(problems)} errors", *map(str, problems)]
                sys.stdout.write("\n".join(lines) + "\n")
        finally:
            first.kill_all()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
