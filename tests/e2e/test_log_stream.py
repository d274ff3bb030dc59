"""The stream of the log of a real service, which ends with the service and continues after a
restart.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.e2e.conftest import service_maker
from tests.e2e.service import Service, free_port
from tests.e2e.test_life import deliver_issues
from tests.github_fake.server import Sandbox

KEY = "the-key-of-this-service"
MAX_SILENT = 8  # events without the line, every 15 s; reached only if a test fails


def test_stream_shows_lines_as_they_are_written_and_continues_after_a_restart(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    @contextmanager
    def opened(
        service: Service, query: str = "", **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        with closing(
            http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        ) as connection:
            given = {
                "X-API-Key": KEY,
                **{name.replace("_", "-"): value for name, value in headers.items()},
            }
            connection.request("GET", f"/log/events{query}", headers=given)
            yield connection.getresponse()

    def read_until(stream: http.client.HTTPResponse, message: str) -> str:
        """Read until a line of the log with this message, and return the id that follows it."""
        is_found = False
        silent = 0
        while silent < MAX_SILENT:
            line = stream.readline().decode().rstrip("\n")
            if line.startswith("data: "):
                is_found = is_found or json.loads(line.removeprefix("data: "))["message"] == message
            elif line.startswith("id: ") and is_found:
                return line.removeprefix("id: ")
            silent += line.startswith("id: ")
        raise AssertionError(f"there is no line {message!r}")

    with service_maker(sandbox, tmp_path) as make:
        service = make(port=free_port(), server=f"api_key: {KEY}").start()
        with opened(service, "?text=webhook+received") as stream:
            deliver_issues(service, sandbox, range(300, 301))
            last_id = read_until(stream, "webhook received")
            assert service.stop() == 0
            assert b"data:" not in stream.read()  # it ends
        service.start()
        with opened(service, Last_Event_ID=last_id) as stream:
            assert read_until(stream, "serving") != last_id
