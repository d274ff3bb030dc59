"""An outage of the git host while GitHub's API works: what the check and /health say, and who
waits.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from hls_handler.prompting import recorded
from hls_handler.reports.delivery_report import load_report
from tests.e2e.conftest import MakeService
from tests.e2e.service import wait_until
from tests.e2e.test_mirror import CHANGED, NUMBER, OPENED
from tests.fake_network import HOST, Quiet, Server, forward
from tests.github_fake.server import Sandbox

SILENT = "the git server does not answer"


class GitOutage:
    """A GitHub that forwards requests to the sandbox's API, and does not answer git."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.fetches: list[str] = []
        self._ended = threading.Event()
        outage = self

        class Forward(Quiet):
            def forward(self) -> None:
                if ".git/" in self.path:
                    outage.fetches.append(self.path)
                    outage._ended.wait(60)
                    self.close_connection = True
                else:
                    forward(self, sandbox.github_url)

            do_GET = do_POST = do_PATCH = do_DELETE = forward  # noqa: N815 (names of http.server)

        self._server = Server((HOST, 0), Forward).__enter__()
        self.github_url = f"http://{HOST}:{self._server.port}{urlsplit(sandbox.github_url).path}"

    def end(self) -> None:
        self._ended.set()
        self._server.__exit__()


@pytest.fixture
def outage(sandbox: Sandbox) -> Iterator[GitOutage]:
    opened = GitOutage(sandbox)
    yield opened
    opened.end()


def test_issue_of_another_repository_does_not_wait_for_a_git_host_that_hangs_and_health_and_check_say_it(
    make_service: MakeService, sandbox: Sandbox, outage: GitOutage, tmp_path: Path
) -> None:
    def renamed(payload: Any, name: str) -> dict[str, Any]:
        """Return the payload with another repository."""
        changed = json.loads(json.dumps(payload).replace("Codertocat/Hello-World", name))
        changed["repository"]["id"] += sum(name.encode())
        return dict(changed)

    service = make_service(mirror=f"directory: {tmp_path}/mirror, timeout_s: 15")
    settings = service.settings.read_text().replace(sandbox.github_url, outage.github_url)
    service.settings.write_text(settings)
    service.start()
    names = [f"Codertocat/R{number}" for number in range(6)]
    for name in names:
        payload = copy.deepcopy(renamed(OPENED.payload, name))
        payload["pull_request"] |= {"changed_files": 1, "additions": 2, "deletions": 2}
        sandbox.state.seed("pull_request", payload, files=CHANGED)
        service.deliver("pull_request", json.dumps(payload).encode())
    wait_until(lambda: len(outage.fetches) == 2)  # half of the four workers
    issue = renamed(recorded.load("issues.opened").payload, "Codertocat/Elsewhere")
    sandbox.state.seed("issues", issue)
    service.deliver("issues", json.dumps(issue).encode(), guid="elsewhere")
    with closing(service.open_store()) as store:
        wait_until(lambda: store.deliveries.end_of("elsewhere") is not None)
        assert "mirror" in service.get("/health").body["components"]
        assert len(outage.fetches) == 2  # and they still wait
        service.until_idle()
        assert len(outage.fetches) == 2  # no other review asked again
        reports = [
            load_report(store, store.deliveries.of_conversation(name, NUMBER)[-1]) for name in names
        ]
    shown = service.get("/health").body
    assert shown["status"] == "degraded"
    assert (
        shown["components"]["mirror"]["message"]
        == f"{SILENT}: reviews go on without a mirror, and one fetch a minute tries it"
    )
    contexts = {report.context for report in reports}
    assert f"not other places of the repository: {SILENT}" in contexts
    assert contexts <= {
        f"not other places of the repository: {SILENT}",
        "not other places of the repository: enough other reviews wait for the git server",
    }
