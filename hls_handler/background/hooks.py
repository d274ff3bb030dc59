"""Finds the webhooks on GitHub that send to this service, with a token as credential."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from hls_handler.clients.hooks import WEBHOOKS_REMEDY, GithubHooks, Hook
from hls_handler.engine.active_config import ActiveConfig
from hls_handler.errors import DependencyDown, StepFailed
from hls_handler.settings.effective import RepositoryTable, is_pattern
from hls_handler.settings.model import Settings

FOUND_FOR_S, PROBLEMS_FOR_S = 600.0, 60.0
"""Seconds for which a result is used again, without and with problems."""
MAX_REPOSITORIES = 50
"""Repositories that only a pattern such as owner/* matches and that are looked at, the last active ones first."""

CREATE_REMEDY = "create the webhook, or switch catch-up off with `catch_up.enabled: false`"
CHOOSE_REMEDY = "delete the others, or set catch_up.hook_id to the id of the webhook that sends to this service"

Request = Callable[[], AbstractContextManager[None]]
"""Context of one request to GitHub: waits for its turn and counts failures. It may raise."""


@dataclass(frozen=True, slots=True)
class Source:
    """A hook whose missed webhooks are read."""

    name: str  # "https://api.github.com/repos/owner/repo/hooks/5", under which progress is stored
    path: str  # "/repos/owner/repo/hooks/5"
    repository: str | None  # "owner/repo"; None for the hook of an organisation or an App


@dataclass(frozen=True, slots=True)
class Problem:
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Sources:
    found: tuple[Source, ...]
    problems: tuple[Problem, ...] = ()


def own_hooks(hooks: Sequence[Hook], *, webhook_paths: tuple[str, ...], hook_id: int | None) -> tuple[Hook, ...]:
    """Return the hook with the id `hook_id`; without it, all active hooks whose URL ends with a path of the service."""
    named = tuple(hook for hook in hooks if hook.id == hook_id)
    return named or tuple(hook for hook in hooks if hook.active and _path(hook.url).endswith(webhook_paths))


def describe_several(owner: str, hooks: Sequence[Hook], webhook_paths: tuple[str, ...]) -> Problem:
    """Return the problem that catch-up cannot choose among the hooks of "owner/repo" or of an organisation."""
    ids = ", ".join(str(hook.id) for hook in hooks)
    return Problem(f"{owner} has several webhooks that end with {webhook_paths[0]}: {ids}", CHOOSE_REMEDY)


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # of a webhook that is not ours
        return ""


def applies_to_all(exc: StepFailed) -> bool:
    """Return whether all other requests to GitHub would fail as well."""
    return isinstance(exc, DependencyDown) and exc.applies_to_all_calls


class HookSearch:
    """Finds the hooks of all configured repositories, and keeps the result for some minutes. Not thread-safe."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._searched: tuple[object, ...] = ()
        self._sources, self._valid_until = Sources(()), 0.0

    def find(self, github: GithubHooks, config: ActiveConfig, received: Sequence[str], request: Request) -> Sources:
        """Return the hooks. `received` are the repositories whose events were received, the last active one first."""
        names = [entry.name for entry in config.settings.repositories if entry.enabled]
        exact = [name for name in names if not is_pattern(name)]
        others = [name for name in received if name not in exact and _is_enabled(config.table, name)]
        by_pattern = others[:MAX_REPOSITORIES]
        searched, now = (github, config.settings, by_pattern), self._clock()
        if searched != self._searched or now >= self._valid_until:
            owners = {name.split("/")[0] for name in names if is_pattern(name)}
            find = partial(_find_source, github, config.settings, request)
            self._sources = _search(find, exact, by_pattern, {owner for owner in owners if not is_pattern(owner)})
            self._searched = searched
            self._valid_until = now + (PROBLEMS_FOR_S if self._sources.problems else FOUND_FOR_S)
        return self._sources


def _search(
    find: Callable[[str, str | None], Source | Problem | None],
    exact: Sequence[str],
    by_pattern: Sequence[str],
    owners: set[str],
) -> Sources:
    """Search the repositories, and the organisations in `owners` or with a repository that has no hook."""
    found = {name: find(f"/repos/{name}", name) for name in (*exact, *by_pattern)}
    without = {name.split("/")[0] for name, one in found.items() if not isinstance(one, Source)}
    of_owners = {owner: find(f"/orgs/{owner}", None) for owner in sorted(owners | without)}
    sources = [one for one in (*found.values(), *of_owners.values()) if isinstance(one, Source)]
    # A hook of the organisation also sends the events of its repositories. People have no such hook.
    covered = {owner for owner, one in of_owners.items() if isinstance(one, Source)}
    missing = [found[name] for name in exact if name.split("/")[0] not in covered]
    problems = [one for one in (*missing, *of_owners.values()) if isinstance(one, Problem)]
    return Sources(tuple(sources), tuple(problems))


def _find_source(
    github: GithubHooks, settings: Settings, request: Request, path: str, repository: str | None
) -> Source | Problem | None:
    """Return the hook of a repository or organisation. An organisation need not have one."""
    owner = path.split("/", 2)[2]
    try:
        with request():
            hooks = github.hooks(path)
    except StepFailed as exc:
        if applies_to_all(exc):
            raise
        if isinstance(exc, DependencyDown):
            return Problem(f"the webhooks of {owner} cannot be listed: {exc}", exc.remedy)
        refused = Problem(f"the webhooks of {owner} cannot be listed: {exc}", WEBHOOKS_REMEDY)
        return None if repository is None else refused
    own = own_hooks(hooks, webhook_paths=settings.server.webhook_paths, hook_id=settings.catch_up.hook_id)
    if len(own) > 1:
        return describe_several(owner, own, settings.server.webhook_paths)
    if own:
        path = f"{path}/hooks/{own[0].id}"
        return Source(f"{github.base_url}{path}", path, repository)
    suffix = settings.server.webhook_paths[0]
    missing = Problem(f"{owner} has no active webhook whose URL ends with {suffix}", CREATE_REMEDY)
    return None if repository is None else missing


def _is_enabled(table: RepositoryTable, name: str) -> bool:
    found = table.find(name)
    return found is not None and found.enabled
