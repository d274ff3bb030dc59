"""Settings, a fake prompt library and routing inputs for the tests of routing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hls_handler.events import Account
from hls_handler.routing import Ignored, Router, RoutingInput, RoutingResult, Rule
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.settings.yaml_parser import Sources

FILE = "hls.yaml"

LINES: Mapping[str, int] = {
    "github": 3,
    "github.token": 4,
    "repositories": 7,
    "repositories[0]": 8,
    "repositories[0].name": 8,
    "repositories[0].enabled": 9,
    "repositories[0].events": 10,
}

PROMPTS: Mapping[str, tuple[str, ...]] = {
    "issues.opened": ("issues/analyze",),
    "issues.edited": ("issues/analyze",),
    "issues.labeled": ("issues/triage",),
    "pull_request": ("pull_requests/analyze",),
    "push": ("push/tell",),
    "issue_comment.created": ("comments/answer",),
    "status": ("statuses/tell",),
}


LABEL_FIELDS: Mapping[str, Mapping[str, str]] = {
    "issues": {"bug": "kind", "question": "kind", "priority-high": "priority"},
    "pull_request": {"type/docs": "type"},
}


class FakeCatalogue:
    """A prompt library that has names only."""

    def __init__(self, prompts: Mapping[str, tuple[str, ...]] = PROMPTS) -> None:
        self._prompts = prompts
        self._files = {name: f"prompts/{name}.j2" for names in prompts.values() for name in names}

    def on(self, event_key: str) -> tuple[str, ...]:
        return self._prompts.get(event_key, ())

    def label_groups(self, event: str, assess: Collection[str] = ()) -> Mapping[str, str]:
        return LABEL_FIELDS.get(event, {})

    def file(self, name: str) -> str:
        return self._files[name]


def settings(
    *entries: Mapping[str, Any], lines: Mapping[str, int] | None = None, **sections: Any
) -> Settings:
    """Settings with these entries of `repositories`; without any, "octo/hello" with the default
    events.
    """
    built = Settings.model_validate(
        {
            "github": {"token": "t", "webhook_secret": "0123456789abcdef"},
            "claude": {"api_key": "k"},
            "repositories": entries or ({"name": "octo/hello"},),
            **sections,
        }
    )
    built._sources = Sources(FILE, {**LINES, **(lines or {})})
    return built


def routing_input(key: str = "issues.opened", **known: Any) -> RoutingInput:
    """A person's event in octo/hello, unless `known` overrides it."""
    event, _, action = key.partition(".")
    person = {
        "repository": "octo/hello",
        "sender": "mona",
        "sender_is_bot": False,
        "author": "mona",
    }
    return RoutingInput(event=event, action=action or None, **{**person, **known})


def decide(
    event: RoutingInput,
    by: Settings | None = None,
    *,
    prompts: Mapping[str, tuple[str, ...]] = PROMPTS,
    bot: Account | None = None,
    others: tuple[Account, ...] = (),
) -> RoutingResult:
    by = by or settings()
    accounts = (bot, *others) if bot else ()
    return Router(by, RepositoryTable(by), FakeCatalogue(prompts), accounts).route(event)


def ignored(
    event: RoutingInput, by: Settings | None = None, *, bot: Account | None = None
) -> tuple[str, str]:
    """Kind and reason of an event that is ignored."""
    result = decide(event, by, bot=bot)
    assert isinstance(result, Ignored), result
    return result.kind, result.reason


def find_prompt(
    event: RoutingInput, by: Settings | None = None, *, bot: Account | None = None
) -> str:
    """The prompt of an event that is processed."""
    result = decide(event, by, bot=bot)
    assert isinstance(result, Rule), result
    return result.prompt


def may_matter(
    key: str,
    by: Settings,
    *,
    repository: str | None = "octo/hello",
    prompts: Mapping[str, tuple[str, ...]] = PROMPTS,
) -> bool:
    """Whether an event of which the payload is unknown may be processed."""
    event, _, action = key.partition(".")
    router = Router(by, RepositoryTable(by), FakeCatalogue(prompts))
    return router.may_be_processed(event, action or None, repository)
