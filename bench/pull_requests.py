"""`python -m bench.pull_requests`: 10, 50 and 100 pull requests at once, from the webhook to the comment.

Starts the service and the stand-ins itself, and locust (`bench/locustfile.py`) against them. Claude takes 2 s and each
call to GitHub 50 ms. Exit code 1 if one delivery is lost, is not done, or leaves more or less than one comment.
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

from bench.row import columns
from bench.service import service
from bench.standin import stand_in
from bench.work import CLAUDE_S, GITHUB_S
from hls_handler.storage import Storage

AT_ONCE = (10, 50, 100)
EACH = 3  # pull requests that one contributor opens, one after the other
WORKERS = 50
PATIENCE_S = 600
_COMMENT = "/comments"


@dataclass(frozen=True, slots=True)
class Loaded:
    at_once: int
    figures: dict[str, Any]  # of the acknowledgement, and from end to end
    done: int
    comments: Counter[int]  # how many threads got so many

    @property
    def sent(self) -> int:
        return self.at_once * EACH

    @property
    def is_whole(self) -> bool:
        """Nothing lost, and nothing twice."""
        return self.done == self.sent and self.comments == {1: self.sent}

    def line(self) -> tuple[str, ...]:
        ack, whole = (self.figures.get(name, {}) for name in ("acknowledgement", "end to end"))
        times = (f"{of.get(share) or 0:.0f} ms" for of in (ack, whole) for share in ("p50", "p95", "p99"))
        lost = "nothing" if self.is_whole else f"done {self.done}, comments {dict(self.comments)}"
        return (str(self.at_once), str(self.sent), *times, lost)


def main() -> int:
    home = Path("data/bench").resolve()
    home.mkdir(parents=True, exist_ok=True)
    loaded = []
    for at_once in AT_ONCE:
        with tempfile.TemporaryDirectory(dir=home) as folder:
            loaded.append(_load(Path(folder), at_once))
    heads = ("at once", "sent", "202 p50", "p95", "p99", "end to end p50", "p95", "p99", "lost or doubled")
    print(columns([heads, *(one.line() for one in loaded)]))
    print(f"{WORKERS} workers; Claude takes {CLAUDE_S:g} s, each call to GitHub {GITHUB_S * 1000:.0f} ms")
    return 0 if all(one.is_whole for one in loaded) else 1


def _load(folder: Path, at_once: int) -> Loaded:
    url, result = f"sqlite:///{folder / 'load.db'}", folder / "result.json"
    with (
        stand_in(github_s=GITHUB_S, claude_s=CLAUDE_S) as there,
        service(folder, **there.where, storage_url=url, concurrency=WORKERS) as ours,
    ):
        environ = {
            "HLS_LOAD_STAND_IN": str(there.subject.port),
            "HLS_LOAD_STORE": url,
            "HLS_LOAD_EACH": str(EACH),
            "HLS_LOAD_RESULT": str(result),
        }
        command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py")), "--headless"]
        command += ["--users", str(at_once), "--spawn-rate", str(at_once), "--only-summary", "--loglevel", "WARNING"]
        command += ["--host", f"http://127.0.0.1:{ours.port}"]
        environment = {**os.environ, **environ, "PYTHONPATH": str(Path.cwd())}
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, timeout=PATIENCE_S, check=False)
        written = [asked for asked in there.requests() if asked["method"] == "POST" and _COMMENT in asked["path"]]
        with closing(Storage.open_existing(url)) as store:
            done = store.statistics.counters().get(("outcome", "done"), 0)
    comments = Counter(Counter(asked["path"] for asked in written).values())
    return Loaded(at_once, json.loads(result.read_text(encoding="utf-8")), done, comments)


if __name__ == "__main__":
    sys.exit(main())
