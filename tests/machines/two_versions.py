"""Runs two versions side by side with one PostgreSQL, as in a rolling upgrade. Run it before a
release:

    python -m tests.machines.two_versions

The later version is a copy of this one whose next migration adds a column. With FOLDER, a checkout
of an earlier release with its `.venv`, this version is the later one.

The later version migrates the tables while the earlier one works; then one process of each version
is killed, and at last the later version works alone. Each issue must get its labels and one
comment, once. Each pull request gets a push some seconds later, by another process; then it must
have one comment, and each finding once.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hls_handler.store.storage import Storage
from hls_sandbox.claude import Asked, canned
from tests.crash.scenarios import FreshRepository
from tests.e2e.service import ROOT, Service
from tests.github_fake.server import Sandbox
from tests.machines.fleet import Fleet, settings_for
from tests.machines.upgrade import CheckoutService, copy_with_a_later_column
from tests.postgres import running_cluster

PUSH_AFTER = 12  # pull requests


def answer(asked: Asked) -> Any:
    """Return the canned reply, without fields that the schema of an earlier version does not
    have.
    """
    reply, schema = canned(asked), asked.schema or {}

    def keep(value: Any, node: Mapping[str, Any]) -> Any:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        if isinstance(value, list) and "items" in node:
            return [keep(item, node["items"]) for item in value]
        if isinstance(value, dict) and "properties" in node:
            return {
                name: keep(value[name], part)
                for name, part in node["properties"].items()
                if name in value
            }
        return value

    return keep(reply, schema)


def assert_reviewed_once(sandbox: Sandbox, number: int) -> None:
    pulls = (
        one
        for one in sandbox.state.conversations()
        if one.repository == FreshRepository(number).full_name
    )
    pull = next(pulls, None)
    assert pull is not None
    found = Counter((comment["path"], comment["body"]) for _, comment in pull.review_comments())
    assert (len(pull.comments), [one for one, times in found.items() if times > 1]) == (
        1,
        [],
    ), pull.key


def main(folder: Path | None) -> None:
    with (
        running_cluster() as cluster,
        Sandbox(answer=answer) as sandbox,
        tempfile.TemporaryDirectory() as name,
    ):
        database, here = cluster.create(), Path(name)
        url = cluster.url(database)
        later = ROOT if folder is not None else copy_with_a_later_column(here)
        settings = settings_for(sandbox, here, limits="concurrency: 4", url=url)
        earlier, newer = (
            [
                CheckoutService(settings, 0, here / f"{kind}-{n}.log", url, folder=checkout)
                for n in range(2)
            ]
            for kind, checkout in (("earlier", folder or ROOT), ("newer", later))
        )
        for service in earlier:
            service.start()
        first = Fleet(sandbox, None, url, settings, [*earlier, *newer])  # type: ignore[arg-type]
        numbers = iter(range(700, 800))

        def send_pull(service: Service, number: int, name: str) -> None:
            body = FreshRepository(number).body(f"demo/{name}")
            sandbox.state.seed("pull_request", json.loads(body))
            assert service.deliver("pull_request", body, guid=f"{name}-{number}").status == 202

        def send(*services: Service) -> None:
            for service in services:
                number = next(numbers)
                first.deliver(service, number, guid=f"guid-{number}")
                send_pull(service, number, "feature")
                if number >= 700 + PUSH_AFTER:
                    send_pull(service, number - PUSH_AFTER, "feature-push")

        try:
            send(*earlier * 5)
            # before the later version starts: this one cannot open its tables
            with closing(Storage.open(url)) as store:
                newer[0].start()
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
                version = cluster.query("SELECT version_num FROM hls_version", database=database)
                lines = [f"the tables are of version {version}"]
                for name, of in (
                    ("guid", sent),
                    ("feature", sent),
                    ("feature-push", sent[:-PUSH_AFTER]),
                ):
                    rows = [fleet.row(f"{name}-{number}") for number in of]
                    calls = Counter(
                        call.outcome for row in rows for call in store.calls.calls_of(row.guid)
                    )
                    lines.append(
                        f"{len(rows)} {name}: {dict(Counter(row.state for row in rows))}, calls:"
                        f" {dict(calls)}"
                    )
                for log in (one.log for one in first.services):
                    entries = [
                        json.loads(line)
                        for line in log.read_text().splitlines()
                        if line.startswith("{")
                    ]
                    problems = [
                        entry for entry in entries if entry["level"] in ("ERROR", "CRITICAL")
                    ]
                    ended = sum(entry["message"] == "delivery finished" for entry in entries)
                    lines += [
                        f"{log.stem}: {ended} deliveries, {len(problems)} errors",
                        *map(str, problems),
                    ]
                sys.stdout.write("\n".join(lines) + "\n")
                for number in sent:
                    fleet.assert_once(number)
                    assert_reviewed_once(sandbox, number)
        finally:
            first.kill_all()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None)
