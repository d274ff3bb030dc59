"""one_issue.txt lists the files that process one issue, in the order of their first call in each
step.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.e2e.conftest import MakeService
from tests.e2e.service import Waiting
from tests.e2e.test_main_job import send
from tests.github_fake.server import Sandbox

LIST = Path(__file__).with_name("one_issue.txt")
"""The files of an `issues.opened` that gets labels and a comment: a line with the step, and one for
each file.
"""


def listed() -> dict[str, list[str]]:
    steps: dict[str, list[str]] = {}
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            steps[list(steps)[-1]].append(line.strip())
        else:
            steps[line.removesuffix(":")] = []
    return steps


def test_the_list_has_the_files_that_process_one_issue(
    make_service: MakeService, sandbox: Sandbox, tmp_path: Path
) -> None:
    record = tmp_path / "called.json"
    service = make_service(limits="concurrency: 1")
    service.program = ("tests.e2e.called_files", "serve")
    service.environ = {"HLS_CALLED_FILES": str(record)}
    service.start()
    send(service, sandbox, "demo/feature")  # everything that is created once exists after it
    assert service.process is not None
    service.process.send_signal(signal.SIGUSR1)
    send(service, sandbox, "issues.opened")
    called: dict[str, list[str]] = {}
    waiting = Waiting(10)
    while (
        not called or called != listed()
    ) and waiting.more():  # the last function returns after the last commit
        service.process.send_signal(signal.SIGUSR2)
        called = json.loads(record.read_text()) if record.exists() else {}
    lines = "\n".join(
        f"{step}:\n" + "\n".join(f"  {file}" for file in files) for step, files in called.items()
    )
    assert called == listed(), f"one_issue.txt should be:\n{lines}"
