"""`hls deliveries show`: the steps of a delivery, found by GUID or request id."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hls_handler.analysis import Usage
from hls_handler.cli import app
from hls_handler.deliveries import Checkpoint
from hls_handler.storage import Storage
from tests.queue.builders import begin
from tests.store.test_calls import ESTIMATE

SETTINGS = """\
github: {{token: a-token, webhook_secret: "0123456789abcdef"}}
claude: {{api_key: a-key}}
repositories: [{{name: octo/widgets}}]
storage: {{url: "{url}"}}
"""
USAGE = Usage("claude-haiku-5-5", 100, 20, 30, 40, cost_usd=0.0123456, took_s=1.5)


@pytest.mark.parametrize("given", ["g1", "request-g1"], ids=["GUID", "request id"])
def test_show_lists_each_step_with_its_cost_in_order(tmp_path: Path, given: str) -> None:
    url = f"sqlite:///{tmp_path}/hls.db"
    with closing(Storage.open(url)) as store:
        lease = begin(store, "g1")
        store.checkpoints.save(lease, Checkpoint("gather", 0, 1, "{}", took_s=0.25))
        ended = {"request_id": "req_011"}
        ok = {"outcome": "invalid", "error": "no kind", "usage": USAGE, **ended}
        for index, end in ((0, ok), (0, None), (100, ok)):
            call = store.calls.begin(
                lease,
                index=index,
                prompt_id="issues/analyze@3f9c2a",
                model="claude-haiku-5-5",
                requests_per_second=100_000,
                calls_per_hour=200,
                estimate=ESTIMATE,
            )
            if end is not None:
                store.calls.end(lease, call, **end)  # type: ignore[arg-type]
        steps = [("ask", 100, 1.5), ("post", 1, 0.5), ("post", 0, 0.75), ("ask", 0, 1.5)]
        store.checkpoints.save(lease, *(Checkpoint(name, index, 1, "{}", took_s) for name, index, took_s in steps))
        store.queue.finish(lease, "done", reason="labels bug", took_s=2.5, github_requests=4)
    settings = tmp_path / "settings.yaml"
    settings.write_text(SETTINGS.format(url=url))
    shown = CliRunner().invoke(app, ["deliveries", "show", given, "--config", str(settings)])
    assert shown.stdout.splitlines()[1:] == [
        "  Done: labels bug.",
        "  3 calls to Claude (1 of them for the shadow prompt), 9340 tokens in, 4040 out, 0.074692 USD.",
        "  Step gather: 0.250 s",
        "  Step ask: 1.500 s, invalid, 170 tokens in, 20 out, 0.012346 USD, claude-haiku-5-5, request req_011",
        "  Step ask: no duration, unfinished, at most 9000 tokens in, 4000 out, 0.050000 USD, claude-haiku-5-5",
        "  Step post: 0.750 s",
        "  Step post 2: 0.500 s",
        "  Step ask (shadow): 1.500 s, invalid, 170 tokens in, 20 out, 0.012346 USD, claude-haiku-5-5, request req_011",
        "  Requests to GitHub: 4",
    ]
    printed = CliRunner().invoke(app, ["deliveries", "show", given, "--config", str(settings), "--json"])
    document = json.loads(printed.stdout)
    assert [(call["request_id"], call["is_estimate"]) for call in document["calls"]] == [
        ("req_011", False),
        (None, True),
        ("req_011", False),
    ]
    assert [(step["name"], step["status"], step["took_s"]) for step in document["steps"]] == [
        ("route", "done", None),
        ("gather", "done", 0.25),
        ("ask", "failed", 1.5),
        ("ask", "failed", None),
        ("post", "done", 0.75),
        ("post 2", "done", 0.5),
        ("ask (shadow)", "failed", 1.5),
    ]
