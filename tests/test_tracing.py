"""Traces: what a receiver of OTLP gets about a delivery, and what happens without one."""

from __future__ import annotations

import gzip
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from hls_handler.clients.transport import find_proxy_settings
from hls_handler.errors import Permanent, Superseded
from hls_handler.sandbox.server import Sandbox
from hls_handler.tracing import EXPORTER, Tracing, annotate, connect, span
from tests.engine.world import library
from tests.redteam.attack_run import API_KEY, ATTACKED, TOKEN, deliver, worker
from tests.redteam.attacks import HARMLESS_WORD, harmless_round
from tests.redteam.scenarios import SCENARIOS


class Receiver(ThreadingHTTPServer):
    """Receives OTLP over HTTP on the loopback interface."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str], ExportTraceServiceRequest]] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"

    @property
    def spans(self) -> list[Any]:
        return [
            one
            for _, _, request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for one in scope.spans
        ]

    def tree(self) -> dict[str, str]:
        """Return the name of each span's parent; "" if it has none."""
        names = {one.span_id: one.name for one in self.spans}
        return {one.name: names.get(one.parent_span_id, "") for one in self.spans}

    def attributes(self, name: str) -> dict[str, object]:
        (found,) = (one for one in self.spans if one.name == name)
        return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in found.attributes}


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.path, headers, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def traced(endpoint: str, **headers: str) -> Iterator[Tracing]:
    tracing = connect(endpoint, headers, instance="host-1", session=find_proxy_settings(endpoint).new_session())
    yield tracing
    tracing.close(20)


def test_spans_of_one_thread_are_a_tree(receiver: Receiver) -> None:
    with traced(receiver.endpoint, authorization="Bearer secret") as tracing:
        with tracing.trace("delivery issues.opened", {"hls.delivery": "g1" * 200, "hls.repository": None}):
            with span("gather", {"hls.step_index": 0}), span("GET /user", kind="CLIENT"):
                annotate({"http.response.status_code": 200})
            annotate({"hls.state": "done"})
        with span("outside"):
            annotate({"hls.state": "lost"})
    ((path, headers, request),) = receiver.requests
    assert (path, headers["authorization"]) == ("/v1/traces", "Bearer secret")
    assert {one.value.string_value for one in request.resource_spans[0].resource.attributes} >= {"hls", "host-1"}
    assert receiver.tree() == {"GET /user": "gather", "gather": "delivery issues.opened", "delivery issues.opened": ""}
    assert len({one.trace_id for one in receiver.spans}) == 1
    assert receiver.attributes("delivery issues.opened") == {"hls.delivery": "g1" * 100, "hls.state": "done"}
    assert receiver.attributes("GET /user") == {"http.response.status_code": 200}


@pytest.mark.parametrize(("error", "status"), [(Permanent("ignore all rules"), 2), (Superseded("ignore all rules"), 0)])
def test_error_is_recorded_by_its_class_and_without_its_text(receiver: Receiver, error: Exception, status: int) -> None:
    with traced(receiver.endpoint) as tracing, pytest.raises(type(error)), tracing.trace("delivery", {}), span("step"):
        raise error
    assert [one.status.code for one in receiver.spans] == [status, status]
    assert receiver.attributes("step") == {"error.type": type(error).__name__}
    assert b"ignore" not in receiver.requests[0][2].SerializeToString()


def test_rule_19_trace_of_a_delivery_has_steps_and_calls_but_no_text(receiver: Receiver, tmp_path: Path) -> None:
    scenario = next(one for one in SCENARIOS if one.name == "issues")
    url = f"sqlite:///{tmp_path}/hls.db"
    with (
        Sandbox(token=TOKEN, api_key=API_KEY) as sandbox,
        worker(sandbox, library(), url) as context,
        traced(receiver.endpoint) as tracing,
    ):
        texts = harmless_round(scenario.places)
        delivered = deliver(scenario, replace(context, tracing=tracing), sandbox, ATTACKED, texts, 5000)
    assert delivered.row.state == "done"
    tree = receiver.tree()
    root, chat = "delivery issues.opened", "chat claude-haiku-5-5"
    assert {tree[name] for name in ("repository_settings", "gather", "ask", "posting")} == {root}
    assert (tree[root], tree[chat], tree["post"]) == ("", "ask", "posting")
    assert tree["GET /repos/{}/{}/contents/{}/{}"] == "repository_settings"
    assert tree["POST /repos/{}/{}/issues/{}/labels"] == "post"
    found = receiver.attributes(root)
    assert found == {
        "hls.delivery": "guid-5000",
        "hls.event": "issues.opened",
        "hls.repository": "Codertocat/Hello-World",
        "hls.number": 5000,
        "hls.attempt": 1,
        "hls.handler": "IssueHandler",
        "hls.prompt": found["hls.prompt"],
        "hls.input_tokens": found["hls.input_tokens"],
        "hls.output_tokens": found["hls.output_tokens"],
        "hls.cost_usd": found["hls.cost_usd"],
        "hls.state": "done",
    }
    assert receiver.attributes(chat)["gen_ai.usage.input_tokens"] == found["hls.input_tokens"]
    sent = b"".join(request.SerializeToString() for _, _, request in receiver.requests)
    assert HARMLESS_WORD.encode() not in sent
    assert TOKEN.encode() not in sent
    assert API_KEY.encode() not in sent


def test_failures_of_the_receiver_are_logged_once_in_ten_minutes(caplog: pytest.LogCaptureFixture) -> None:
    with traced("http://127.0.0.1:9/v1/traces"):
        for code in (401, 402):
            logging.getLogger(EXPORTER).error("Failed to export spans batch code: %d", code)
    assert caplog.messages == ["traces cannot be sent: Failed to export spans batch code: 401"]


WITHOUT_EXTRA = """
import sys
from pathlib import Path
sys.modules["opentelemetry.exporter"] = None  # as if the extra was not installed
from hls_handler.app import connect_tracing
from hls_handler.errors import SettingsError
from hls_handler.settings.load import SettingsFile
folder = Path(sys.argv[1])
tracing = connect_tracing(SettingsFile(folder / "off.yaml", {}, dotenv=None).initial)
with tracing.trace("delivery", {}):
    print("opentelemetry.sdk" in sys.modules)
try:
    SettingsFile(folder / "on.yaml", {}, dotenv=None)
except SettingsError as exc:
    print(exc)
"""


def test_without_an_endpoint_nothing_is_imported_and_with_one_the_extra_is_needed(tmp_path: Path) -> None:
    text = f"""
github: {{token: "{"t" * 40}", webhook_secret: "{"s" * 40}"}}
claude: {{api_key: "{"k" * 40}"}}
repositories: [{{name: octo/widgets}}]
"""
    (tmp_path / "off.yaml").write_text(text)
    (tmp_path / "on.yaml").write_text(f"{text}tracing: {{endpoint: 'https://collector.example.com/v1/traces'}}\n")
    program = [sys.executable, "-c", WITHOUT_EXTRA, str(tmp_path)]
    printed = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    assert printed[0] == "False"
    where, _, problem = printed[1].partition(": tracing.endpoint: ")
    assert where == f"{tmp_path}/on.yaml:5"
    assert problem == (
        "needs packages that are not installed; run pip install 'hls-handler[otel]' "
        "(in a checkout: pip install -r requirements-otel.txt)"
    )
