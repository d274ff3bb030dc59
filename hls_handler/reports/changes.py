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
        claude = settings.claude
        provider, model = claude.find_model(prompt.model, is_review=prompt.is_review)
        name, before = _split_model(claude, last.model)
        if name not in ("", provider.name):
            continue  # a fallback answered
        # the service may answer with the name of a version: "claude-haiku-4-5-20251001"
        if before != model and not before.startswith(f"{model}-"):
            now = claude.name_model(provider, model)
            models.setdefault((claude.name_model(provider, before), now), []).append(prompt.name)
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


def _split_model(claude: Claude, asked: str) -> tuple[str, str]:
    """Return the names of provider and model of a call; "" for the provider if there were no
    fallbacks.
    """
    name, slash, model = asked.partition("/")
    if slash and name in {provider.name for provider in claude.providers.values()}:
        return name, model
    return "", asked
