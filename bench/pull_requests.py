"""`python -m bench.pull_requests`: 10, 50 and 100 pull requests at once, from the webhook to the
comment.

Starts the service, the stand-in and locust (`bench/locustfile.py`). Claude takes 2 s and each call
to GitHub 50 ms. The exit code is 1 if a delivery is not done, or if its number of comments is not
one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.process import make_folder
from bench.row import columns
from bench.service import service
from bench.stand_in import stand_in
from bench.work import CLAUDE_S, GITHUB_S
from hls_handler.store.storage import Storage

USERS = (10, 50, 100)
PULL_REQUESTS_PER_USER = 3  # one after the other
WORKERS = 50
TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class LoadResult:
    users: int
    times: dict[str, Any]  # percentiles of the response time and of the time to the comment
    done: int
    comments: Counter[int]  # number of pull requests by number of comments

    @property
    def sent(self) -> int:
        return self.users * PULL_REQUESTS_PER_USER

    @property
    def is_correct(self) -> bool:
        """True if nothing was lost or doubled."""
        return self.done == self.sent and self.comments == {1: self.sent}

    def line(self) -> tuple[str, ...]:
        response, end_to_end = (
            self.times.get(name, {}) for name in ("acknowledgement", "end to end")
        )
        times = (
            f"{of.get(share) or 0:.0f} ms"
            for of in (response, end_to_end)
            for share in ("p50", "p95", "p99")
        )
        lost = "nothing" if self.is_correct else f"done {self.done}, comments {dict(self.comments)}"
        return (str(self.users), str(self.sent), *times, lost)


def main() -> int:
    results = []
    for users in USERS:
        with tempfile.TemporaryDirectory(dir=make_folder()) as folder:
            results.append(_load(Path(folder), users))
    headings = (
        "users",
        "sent",
        "202 p50",
        "p95",
        "p99",
        "end to end p50",
        "p95",
        "p99",
        "lost or doubled",
    )
    print(columns([headings, *(one.line() for one in results)]))
    print(
        f"{WORKERS} workers; Claude takes {CLAUDE_S:g} s, each call to GitHub"
        f" {GITHUB_S * 1000:.0f} ms"
    )
    return 0 if all(one.is_correct for one in results) else 1


def _load(folder: Path, users: int) -> LoadResult:
    url, result = f"sqlite:///{folder / 'load.db'}", folder / "result.json"
    with (
        stand_in(github_s=GITHUB_S, claude_s=CLAUDE_S) as upstream,
        service(folder, **upstream.settings, storage_url=url, concurrency=WORKERS) as ours,
    ):
        environ = {
            "HLS_LOAD_STAND_IN": str(upstream.process.port),
            "HLS_LOAD_STORE": url,
            "HLS_LOAD_EACH": str(PULL_REQUESTS_PER_USER),
            "HLS_LOAD_RESULT": str(result),
        }
        command = [
            sys.executable,
            "-m",
            "locust",
            "-f",
            str(Path(__file__).with_name("locustfile.py")),
            "--headless",
        ]
        command += [
            "--users",
            str(users),
            "--spawn-rate",
            str(users),
            "--only-summary",
            "--loglevel",
            "WARNING",
        ]
        command += ["--host", f"http://127.0.0.1:{ours.port}"]
        environment = {**os.environ, **environ, "PYTHONPATH": str(Path.cwd())}
        subprocess.run(
            command, env=environment, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False
        )
        posts = [request["path"] for request in upstream.requests() if request["method"] == "POST"]
        with closing(Storage.open(url)) as store:
            done = store.statistics.counters().get(("outcome", "done"), 0)
    comments = Counter(Counter(path for path in posts if path.endswith("/comments")).values())
    return LoadResult(users, json.loads(result.read_text(encoding="utf-8")), done, comments)


if __name__ == "__main__":
    sys.exit(main())
