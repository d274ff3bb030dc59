"""`hls render`: the model and the estimated cost of the request."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.analysis import IssueResponse
from hls_handler.cli.render import format_request
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.render import RenderedPrompt
from tests.settings.files import SMALLEST, load


def rendered(model: str | None) -> RenderedPrompt:
    prompt = Prompt(
        name="issues/respond",
        id="issues/respond@3f9c2a",
        path="prompts/issues/respond.j2",
        on=(),
        reply="issue_response",
        reply_model=IssueResponse,
        model=model,
        max_tokens=None,
        effort=None,
        then=None,
    )
    return RenderedPrompt(prompt, "You help.", "What now?", IssueResponse.model_json_schema())


@pytest.mark.parametrize(
    ("model", "shown", "costs"),
    [
        (None, "claude-haiku-5-5", "0.000022 to 0.002028 USD"),
        ("claude-3-haiku-20240307", "claude-haiku-5-5", "0.000022 to 0.002028 USD"),
    ],
    ids=["of settings", "retired"],
)
def test_the_model_is_printed_with_its_estimated_cost(
    tmp_path: Path, model: str | None, shown: str, costs: str
) -> None:
    _, second, third, *_ = format_request(load(tmp_path, SMALLEST), rendered(model)).splitlines()
    assert second == f"model       {shown}, max_tokens 4000"
    assert third == f"estimate    about 221 input tokens; {costs} (with the longest reply), uncached"
