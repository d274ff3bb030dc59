"""Traces: what a receiver of OTLP gets about a delivery, and what happens without one."""

from __future__ import annotations

import gzip
import logging
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hls_handler.errors import Permanent, Superseded
from hls_handler.sandbox.server import Sandbox
from hls_handler.tracing import EXPORTER, Tracing, annotate, connect, span
from hls_handler.transport import find_proxy_settings
from tests.engine.world import library
from tests.redteam.attack_run import API_KEY, ATTACKED, TOKEN, deliver, worker
from tests.redteam.attacks import HARMLESS_WORD, harmless_round
from tests.redteam.scenarios import SCENARIOS
from tests.settings.files import SMALLEST


class Spans(InMemorySpanExporter):
    """The spans that were sent."""

    def tree(self) -> dict[str, str]:
        """Return the name of each span's parent; "" if it has none."""
        spans = self.get_finished_spans()
        names = {one.context.span_id: one.name for one in spans}
        return {
            one.name: names[one.parent.span_id] if one.parent is not None else "" for one in spans
        }

    def attributes(self, name: str) -> dict[str, object]:
        (found,) = (one for one in self.get_finished_spans() if one.name == name)
        return dict(found.attributes or {})

    def text(self) -> str:
        return "".join(one.to_json() for one in self.get_finished_spans())


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def tracing(spans: Spans) -> Tracing:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Tracing(provider)


def test_spans_of_one_thread_are_a_tree(spans: Spans, tracing: Tracing) -> None:
    with tracing.trace("delivery issues.opened", {"hls.delivery": "g1", "hls.repository": None}):
        with span("gather", {"hls.step_index": 0}), span("GET /user", kind="CLIENT"):
            annotate({"http.response.status_code": 200})
        annotate({"hls.state": "done"})
    with span("outside"):
        annotate({"hls.state": "lost"})
    assert spans.tree() == {
        "GET /user": "gather",
        "gather": "delivery issues.opened",
        "delivery issues.opened": "",
    }
    assert spans.attributes("delivery issues.opened") == {"hls.delivery": "g1", "hls.state": "done"}
    assert spans.attributes("GET /user") == {"http.response.status_code": 200}


def test_receiver_gets_spans_with_the_headers_of_the_settings() -> None:
    received: list[tuple[str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
            received.append((self.path, self.headers["authorization"], body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
        session = find_proxy_settings(endpoint).new_session()
        tracing = connect(
            endpoint, {"authorization": "Bearer secret"}, instance="host-1", session=session
        )
        with tracing.trace("delivery", {"hls.delivery": "g1" * 200}):
            pass
        tracing.close(20)
        thread.join()
    ((path, authorization, body),) = received
    assert (path, authorization) == ("/v1/traces", "Bearer secret")
    assert b"host-1" in body
    assert (b"g1" * 100 in body, b"g1" * 101 in body) == (True, False)


@pytest.mark.parametrize(
    ("error", "status"), [(Permanent("ignore all rules"), 2), (Superseded("ignore all rules"), 0)]
)
def test_error_is_recorded_by_its_class_and_without_its_text(
    spans: Spans, tracing: Tracing, error: Exception, status: int
) -> None:
    with pytest.raises(type(error)), tracing.trace("delivery", {}), span("step"):
        raise error
    assert [one.status.status_code.value for one in spans.get_finished_spans()] == [status, status]
    assert spans.attributes("step") == {"error.type": type(error).__name__}
    assert "ignore" not in spans.text()


def test_rule_19_trace_of_a_delivery_has_steps_and_calls_but_no_text(
    spans: Spans, tracing: Tracing, tmp_path: Path
) -> None:
    scenario = next(one for one in SCENARIOS if one.name == "issues")
    with (
        Sandbox(token=TOKEN, api_key=API_KEY) as sandbox,
        worker(sandbox, library(), tmp_path) as context,
    ):
        texts = harmless_round(scenario.places)
        delivered = deliver(
            scenario, replace(context, tracing=tracing), sandbox, ATTACKED, texts, 5000
        )
    assert delivered.row.state == "done"
    tree = spans.tree()
    root, chat = "delivery issues.opened", "chat claude-haiku-5-5"
    assert {tree[name] for name in ("repository_settings", "gather", "ask", "posting")} == {root}
    assert (tree[root], tree[chat], tree["post"]) == ("", "ask", "posting")
    assert tree["GET /repos/{}/{}/contents/{}/{}"] == "repository_settings"
    assert tree["POST /repos/{}/{}/issues/{}/labels"] == "post"
    found = spans.attributes(root)
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
    assert spans.attributes(chat)["gen_ai.usage.input_tokens"] == found["hls.input_tokens"]
    for text in (HARMLESS_WORD, TOKEN, API_KEY):
        assert text not in spans.text()


def test_failures_of_the_receiver_are_logged_once_in_ten_minutes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracing = connect("http://127.0.0.1:9/v1/traces", {}, instance="host-1")
    for code in (401, 402):
        logging.getLogger(EXPORTER).error("Failed to export spans batch code: %d", code)
    tracing.close(1)
    assert caplog.messages == ["traces cannot be sent: Failed to export spans batch code: 401"]


WITHOUT_EXTRA = """
import sys
from pathlib import Path
sys.modules["opentelemetry.exporter"] = None  # as if the extra was not installed
from hls_handler.app import connect_tracing
from hls_handler.settings.load import SettingsFile
from tests.settings.files import VARIABLES
tracing = connect_tracing(SettingsFile(Path(sys.argv[1], "off.yaml"), VARIABLES, dotenv=None).initial)
with tracing.trace("delivery", {}):
    assert "opentelemetry.sdk" not in sys.modules
SettingsFile(Path(sys.argv[1], "on.yaml"), VARIABLES, dotenv=None)
"""


def test_without_an_endpoint_nothing_is_imported_and_with_one_the_extra_is_needed(
    tmp_path: Path,
) -> None:
    (tmp_path / "off.yaml").write_text(SMALLEST)
    (tmp_path / "on.yaml").write_text(
        f"{SMALLEST}tracing: {{endpoint: 'https://collector.example.com/v1/traces'}}\n"
    )
    program = [sys.executable, "-c", WITHOUT_EXTRA, str(tmp_path)]
    ended = subprocess.run(program, check=False, stderr=subprocess.PIPE, text=True)
    assert (
        ended.stderr.splitlines()[-1].partition(": tracing.endpoint: ")[2]
        == "needs the packages of requirements-otel.txt, which are not installed; run make"
        " .venv/ready-otel in the clone"
    )
