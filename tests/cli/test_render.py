"""`hls render`: the model and the estimated cost of the request."""

from __future__ import annotations

from pathlib import Path

from hls_handler.analysis import IssueResponse
from hls_handler.cli.render import format_request
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.render import RenderedPrompt
from tests.settings.files import SMALLEST, load


def test_the_model_that_replaces_a_retired_one_is_printed_with_its_estimated_cost(tmp_path: Path) -> None:
    prompt = Prompt(
        name="issues/respond",
        id="issues/respond@3f9c2a",
        path="prompts/issues/respond.j2",
        on=(),
        reply="issue_response",
        reply_model=IssueResponse,
        model="claude-3-haiku-20240307",
    )
    rendered = RenderedPrompt(prompt, "You help.", "What now?", IssueResponse.model_json_schema())
    _, model, estimate, *_ = format_request(load(tmp_path, SMALLEST), rendered).splitlines()
    assert model == "model       claude-haiku-5-5, max_tokens 4000"
    assert estimate == (
        "estimate    about 221 input tokens; 0.000022 to 0.002028 USD (with the longest reply), uncached"
    )
