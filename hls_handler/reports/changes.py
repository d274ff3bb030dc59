"""Finds prompts and models that have changed since Claude was last asked, as after an upgrade."""

from __future__ import annotations

from collections.abc import Iterator

from hls_handler import shipped
from hls_handler.db.database import Database
from hls_handler.prompting.prompt import Library, is_shipped
from hls_handler.question import Prompt
from hls_handler.settings.model import Claude, Settings
from hls_handler.store.calls import AskedPrompt, find_last_asked

ISSUES = "issues"


def find_changes(database: Database, settings: Settings, library: Library) -> Iterator[str]:
    """Yield a sentence for each shipped prompt and each model that is another one than that of the
    last call, with the command that compares both on closed issues.
    """
    models: dict[tuple[str, str], list[str]] = {}
    for last in find_last_asked(database):
        prompt = library.prompts.get(last.prompt_name)
        if prompt is None:
            continue
        if prompt.id != last.prompt_id and is_shipped(
            library.sources[prompt.name], shipped.PROMPTS
        ):
            yield _describe_prompt(prompt, last)
        model = _name_model(settings.claude, prompt)
        # the service may answer with the name of a version: "claude-haiku-4-5-20251001"
        if last.model != model and not last.model.startswith(f"{model}-"):
            models.setdefault((last.model, model), []).append(prompt.name)
    for (before, now), names in models.items():
        yield (
            f"{', '.join(names)}: {before} was asked last, and now {now} is; `hls backtest"
            f" OWNER/REPO --against-model {before}` compares both on closed issues"
        )


def _describe_prompt(prompt: Prompt, last: AskedPrompt) -> str:
    sentence = f"{last.prompt_id} was asked last, and the shipped prompt is {prompt.id} now"
    if not any(key.partition(".")[0] == ISSUES for key in prompt.on):
        return f"{sentence}; its page in the console tries it with stored deliveries"
    return (
        f"{sentence}; `hls backtest OWNER/REPO --prompt {last.prompt_id} --against {prompt.name}`"
        " compares both on closed issues"
    )


def _name_model(claude: Claude, prompt: Prompt) -> str:
    return claude.name_model(*claude.find_model(prompt.model, is_review=prompt.is_review))
