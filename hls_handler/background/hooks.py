"""Finds the webhooks on GitHub that send to this service, with a token as credential."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from hls_handler.engine.active_config import ActiveConfig
from hls_handler.errors import DependencyDown, StepFailed
from hls_handler.github.hooks import WEBHOOKS_REMEDY, GithubHooks, Hook
from hls_handler.settings.effective import is_pattern
from hls_handler.settings.model import Settings

MAX_REPOSITORIES = 50
"""Repositories that only a pattern such as owner/* matches and that are looked at, the last active
ones first.
"""

CREATE_REMEDY = "create the webhook, or switch catch-up off with `catch_up.enabled: false`"
CHOOSE_REMEDY = (
    "delete the others, or set catch_up.hook_id to the id of the webhook that sends to this service"
)

Request = Callable[[], AbstractContextManager[None]]
"""Context of one request to GitHub: waits for its turn and counts failures. It may raise."""


@dataclass(frozen=True, slots=True)
class HookSource:
    """A hook whose missed webhooks are read."""

    name: str  # "https://api.github.com/repos/owner/repo/hooks/5", under which progress is stored
    path: str  # "/repos/owner/repo/hooks/5"
    repository: str | None  # "owner/repo"; None for the hook of an organisation or an App


@dataclass(frozen=True, slots=True)
class HookProblem:
    message: str
    remedy: str


def own_hooks(
    hooks: Sequence[Hook], *, webhook_paths: tuple[str, ...], hook_id: int | None
) -> tuple[Hook, ...]:
    """Return the hook with the id `hook_id`; without it, all active hooks whose URL ends with a
    path of the service.
    """
    named = tuple(hook for hook in hooks if hook.id == hook_id)
    return named or tuple(
        h for h in hooks if h.active and h.url.partition("?")[0].endswith(webhook_paths)
    )


def describe_several(
    owner: str, hooks: Sequence[Hook], webhook_paths: tuple[str, ...]
) -> HookProblem:
    """Return the problem that catch-up cannot choose among the hooks of "owner/repo" or of an
    organisation.
    """
    ids = ", ".join(str(hook.id) for hook in hooks)
    return HookProblem(
        f"{owner} has several webhooks that end with {webhook_paths[0]}: {ids}", CHOOSE_REMEDY
    )


def find_sources(
    github: GithubHooks, config: ActiveConfig, received: Sequence[str], request: Request
) -> list[HookSource | HookProblem]:
    """Find the hooks of all configured repositories, and those of organisations with a pattern or
    without another hook.

    `received` are the repositories whose events were received, the last active one first.
    """
    names = [entry.name for entry in config.settings.repositories if entry.enabled]
    exact = [name for name in names if not is_pattern(name)]
    entries = {name: config.table.find(name) for name in received if name not in exact}
    others = [name for name, entry in entries.items() if entry is not None and entry.enabled]
    find = partial(_find_source, github, config.settings, request)
    results = {name: find(f"/repos/{name}", name) for name in (*exact, *others[:MAX_REPOSITORIES])}
    owners = {name.split("/")[0] for name in names if is_pattern(name)}
    owners |= {
        name.split("/")[0] for name, result in results.items() if not isinstance(result, HookSource)
    }
    of_owners = {
        owner: find(f"/orgs/{owner}", None) for owner in sorted(owners) if not is_pattern(owner)
    }
    # A hook of the organisation also sends the events of its repositories. People have no such
    # hook.
    covered = {owner for owner, result in of_owners.items() if isinstance(result, HookSource)}
    needed = {name for name in exact if name.split("/")[0] not in covered}
    of_repositories = [
        result
        for name, result in results.items()
        if isinstance(result, HookSource) or name in needed
    ]
    return [result for result in (*of_repositories, *of_owners.values()) if result is not None]


def _find_source(
    github: GithubHooks, settings: Settings, request: Request, path: str, repository: str | None
) -> HookSource | HookProblem | None:
    """Return the hook of a repository or organisation. An organisation need not have one."""
    owner = path.split("/", 2)[2]
    try:
        with request():
            hooks = github.hooks(path)
    except StepFailed as exc:
        if isinstance(exc, DependencyDown):
            return HookProblem(f"the webhooks of {owner} cannot be listed: {exc}", exc.remedy)
        if repository is None:
            return None
        return HookProblem(f"the webhooks of {owner} cannot be listed: {exc}", WEBHOOKS_REMEDY)
    own = own_hooks(
        hooks, webhook_paths=settings.server.webhook_paths, hook_id=settings.catch_up.hook_id
    )
    if len(own) > 1:
        return describe_several(owner, own, settings.server.webhook_paths)
    if own:
        path = f"{path}/hooks/{own[0].id}"
        return HookSource(f"{github.base_url}{path}", path, repository)
    if repository is None:
        return None
    suffix = settings.server.webhook_paths[0]
    return HookProblem(f"{owner} has no active webhook whose URL ends with {suffix}", CREATE_REMEDY)
