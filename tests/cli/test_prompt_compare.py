"""`hls prompts compare`: the output, and the message if there is nothing to compare."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from hls_handler.actions import RequestedLabel
from hls_handler.analysis import Usage
from hls_handler.cli.prompt_compare import format_comparison
from hls_handler.deliveries import FIRST_SHADOW_STEP, End
from hls_handler.engine.shadow import SHADOW, PromptResult, ShadowResult
from hls_handler.reports.delivery_query import find_age
from hls_handler.storage import Storage
from hls_handler.trials.comparison import Comparison, Report, Run
from tests.cli.conftest import SETTINGS, Hls
from tests.prompting.samples import copy_shipped
from tests.queue.builders import begin

BUG, HIGH, LOW = (
    RequestedLabel("bug", "kind"),
    RequestedLabel("priority-high", "priority"),
    RequestedLabel("priority-low", "priority"),
)
POSTED = PromptResult("issues/analyze@111111", (BUG, LOW), speaks=True)
STRICT = PromptResult(
    "issues/strict@222222", (BUG, HIGH), speaks=False, fields=("kind", "priority", "regression")
)


def add_delivery(store: Storage, guid: str, result: ShadowResult) -> None:
    """Store a finished delivery of issue 7 with a shadow and the usage of both prompts."""
    lease = begin(store, guid, number=7)
    for index, prompt_id in (
        (0, "issues/analyze@111111"),
        (FIRST_SHADOW_STEP, "issues/strict@222222"),
    ):
        call = store.calls.begin(
            lease,
            index=index,
            prompt_id=prompt_id,
            model="m",
            requests_per_second=1000,
            calls_per_hour=200,
        )
        usage = Usage("m", input_tokens=1000 + index, output_tokens=50, cost_usd=0.25)
        store.calls.end(lease, call, outcome="ok", usage=usage, error=None)
    store.checkpoints.save(lease, SHADOW.encode(result, index=0, took_s=0))
    store.queue.finish(lease, End("done", ""), took_s=1)


@pytest.fixture
def compare(hls: Hls, folder: Path, store: Storage) -> Hls:
    """`hls prompts compare` with three deliveries: different labels, the same labels, and a failed
    shadow.
    """
    copy_shipped(folder, "issues")
    (folder / "settings.yaml").write_text(f"{SETTINGS}prompts: {{directory: prompts}}\n")
    add_delivery(store, "11111111-a", ShadowResult("issues/strict", "done", None, STRICT, POSTED))
    same = PromptResult("issues/strict@222222", POSTED.labels, speaks=True)
    add_delivery(store, "22222222-b", ShadowResult("issues/strict", "done", None, same, POSTED))
    add_delivery(
        store,
        "33333333-c",
        ShadowResult("issues/strict", "failed", "Claude answered 400", None, POSTED),
    )
    return partial(hls, "prompts", "compare")


def test_a_shadow_is_compared_with_what_was_posted(compare: Hls) -> None:
    result = compare("issues/strict")
    assert (result.exit_code, result.stderr) == (0, "")
    assert (
        result.stdout
        == "issues/strict@222222 against issues/analyze@111111\n\ndelivery  event          thread  "
        "        comments  tokens      cost            labels\n22222222  issues.opened "
        " octo/widgets#7  yes, yes  1150, 1050  $0.250, $0.250  the same\n11111111 "
        " issues.opened  octo/widgets#7  no, yes   1150, 1050  $0.250, $0.250 "
        " priority-high, not priority-low\n\ncompared     2 deliveries; left out: 1"
        " failed\nlabels       fixed 0, broke 1 of 2; the chance that equal wordings differ as much is"
        " 100.0% (exact two-sided sign test of the 1 fixed or broken)\n  kind: fixed 0, broke 0 of"
        " 2\n  priority: fixed 0, broke 1 of 2\n  regression: only the new wording has it, not"
        " judged; set on 0 of 1\ncomments     1, against 2\nmean tokens  1150,"
        " against 1050\nmean cost    $0.250, against $0.250\n"
    )


def test_comparison_is_a_json_document_with_a_limit(compare: Hls) -> None:
    document = json.loads(compare("issues/strict", "--json", "--limit", "1").stdout)
    assert document["deliveries"] == [
        {
            "delivery": "22222222-b",
            "event": "issues.opened",
            "thread": "octo/widgets#7",
            "new": {
                "prompt_id": "issues/strict@222222",
                "comments": True,
                "labels": ["bug", "priority-low"],
                "calls": 1,
                "tokens": 1150,
                "cost_usd": 0.25,
            },
            "posted": {
                "prompt_id": "issues/analyze@111111",
                "comments": True,
                "labels": ["bug", "priority-low"],
                "calls": 1,
                "tokens": 1050,
                "cost_usd": 0.25,
            },
        }
    ]
    assert (document["compared"], document["excluded"]) == (2, {"failed": 1})
    assert document["labels"][0] == {
        "field": "",
        "compared": 2,
        "posted": 2,
        "fixed": 0,
        "broken": 1,
    }


def test_comparison_is_a_table_on_a_terminal(compare: Hls, on_terminal: Callable[..., str]) -> None:
    shown = on_terminal("prompts", "compare", "issues/strict", "--limit", "1", "--no-color")
    assert re.search("DELIVERY +EVENT +THREAD +COMMENTS +TOKENS +COST +LABELS", shown)
    assert "22222222  issues.opened" in shown
    assert "\n1 of 2 deliveries\ncompared     2 deliveries; left out: 1 failed\n" in shown


def test_totals_of_all_deliveries_and_escaped_control_characters() -> None:
    def run(
        prompt_id: str, *labels: RequestedLabel, tokens: int = 1, cost_usd: float = 0.25
    ) -> Run:
        return Run(PromptResult(prompt_id, labels, True), calls=1, tokens=tokens, cost_usd=cost_usd)

    report = Report(
        (
            Comparison(
                "g1", "issues.opened", "o/r\x1b[2J#7", None, run("b@2", LOW), run("a@1", BUG)
            ),
            Comparison(
                "g2",
                "issues.opened",
                "o/r#8",
                None,
                run("b@2", LOW),
                run("a@2", tokens=5, cost_usd=0.5),
            ),
        )
    )
    lines = list(format_comparison(report, report.comparisons))
    assert lines[0] == "a@1, a@2 against b@2"
    assert lines[3].endswith("$0.250, $0.250  bug, not priority-low")
    assert "o/r\\x1b[2J#7" in lines[3]
    assert lines[-3:] == [
        "comments     2, against 2",
        "mean tokens  3, against 1",
        "mean cost    $0.375, against $0.250",
    ]


def test_message_if_there_is_nothing_to_compare(compare: Hls) -> None:
    compared = compare("issues/other@3f9c2a")
    assert (compared.exit_code, compared.stdout) == (1, "")
    assert (
        compared.stderr
        == "there is no delivery of the last 7d on which issues/other@3f9c2a ran as a shadow; set"
        " an event of prompts.use to {prompt: issues/other, shadow: true} and wait for such"
        " events\n"
    )


@pytest.mark.parametrize(
    ("given", "span"),
    [
        ("7d", timedelta(days=7)),
        ("24h", timedelta(hours=24)),
        ("30m", timedelta(minutes=30)),
        ("90s", timedelta(seconds=90)),
        *((invalid, None) for invalid in ("7", "-1d", "1w", "999999d")),
    ],
)
def test_age_is_a_number_with_its_unit(given: str, span: timedelta | None) -> None:
    assert find_age(given) == span
