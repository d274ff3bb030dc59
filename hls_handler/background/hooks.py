"""Finds the webhooks on GitHub that send to this service, with a token as credential."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from hls_handler.background.catch_up import DeliveryLog, Problem, Request, Source, Sources, applies_to_all
from hls_handler.clients.hooks import WEBHOOKS_REMEDY
from hls_handler.errors import DependencyDown, StepFailed
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings

FOUND_FOR_S, PROBLEMS_FOR_S = 600.0, 60.0
"""Seconds for which a result is used again, without and with problems."""
MAX_REPOSITORIES = 50
"""Repositories that only a pattern such as owner/* matches and that are looked at, the last active ones first."""

CREATE_REMEDY = "create the webhook, or switch catch-up off with `catch_up.enabled: false`"
CHOOSE_REMEDY = "delete the others, or set catch_up.hook_id to the id of the webhook that sends to this service"


class Hook(Protocol):
    """A hook in GitHub's list; `clients.hooks.Hook` implements it."""

    @property
    def id(self) -> int: ...

    @property
    def active(self) -> bool: ...

    @property
    def url(self) -> str: ...


AnyHook = TypeVar("AnyHook", bound=Hook)


class HookLists(Protocol):
    """GitHub's lists of hooks, and the deliveries of each. A `path` is "/repos/owner/repo" or "/orgs/owner"."""

    base_url: str

    def close(self) -> None: ...

    def hooks(self, path: str) -> Sequence[Hook]:
        """Raise a `StepFailed` if the hooks cannot be listed, for example without the permission."""
        ...

    def deliveries(self, path: str, hook_id: int) -> DeliveryLog: ...

    def app_deliveries(self) -> DeliveryLog: ...


def own_hooks(hooks: Sequence[AnyHook], *, webhook_paths: tuple[str, ...], hook_id: int | None) -> tuple[AnyHook, ...]:
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


class HookSearch:
    """Finds the hooks of all configured repositories, and keeps the result for some minutes. Not thread-safe."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._found: _Found | None = None

    def find(
        self,
        lists: HookLists,
        settings: Settings,
        table: RepositoryTable,
        *,
        received: Sequence[str],
        request: Request,
    ) -> Sources:
        """Return the hooks. `received` are the repositories whose events were received, the last active one first."""
        names = [entry.name for entry in settings.repositories if entry.enabled]
        exact = [name for name in names if not _is_pattern(name)]
        by_pattern = [name for name in received if name not in exact and _is_enabled(table, name)][:MAX_REPOSITORIES]
        owners = {name.split("/")[0] for name in names if _is_pattern(name)}
        search = _Search(
            lists,
            request,
            webhook_paths=settings.server.webhook_paths,
            hook_id=settings.catch_up.hook_id,
            exact=tuple(exact),
            by_pattern=tuple(by_pattern),
            owners=frozenset(owner for owner in owners if not _is_pattern(owner)),
        )
        known, now = self._found, self._clock()
        if known is not None and known.search == search and now < known.valid_until:
            return known.sources
        sources = search.run()
        valid_until = now + (PROBLEMS_FOR_S if sources.problems else FOUND_FOR_S)
        self._found = _Found(valid_until, search, sources)
        return sources


@dataclass(frozen=True, slots=True)
class _Search:
    lists: HookLists
    request: Request = field(compare=False)
    webhook_paths: tuple[str, ...]
    hook_id: int | None
    exact: tuple[str, ...]  # "owner/repo"
    by_pattern: tuple[str, ...]
    owners: frozenset[str]  # of patterns such as owner/*

    def run(self) -> Sources:
        found = {name: self._find(f"/repos/{name}", name) for name in (*self.exact, *self.by_pattern)}
        without = {name.split("/")[0] for name, one in found.items() if not isinstance(one, Source)}
        of_owners = {owner: self._find(f"/orgs/{owner}", None) for owner in sorted(self.owners | without)}
        sources = [one for one in (*found.values(), *of_owners.values()) if isinstance(one, Source)]
        # A hook of the organisation also sends the events of its repositories. People have no such hook.
        covered = {owner for owner, one in of_owners.items() if isinstance(one, Source)}
        missing = [found[name] for name in self.exact if name.split("/")[0] not in covered]
        problems = [one for one in (*missing, *of_owners.values()) if isinstance(one, Problem)]
        return Sources(tuple(sources), tuple(problems))

    def _find(self, path: str, repository: str | None) -> Source | Problem | None:
        owner = path.split("/", 2)[2]
        try:
            with self.request():
                hooks = self.lists.hooks(path)
        except StepFailed as exc:
            if applies_to_all(exc):
                raise
            if isinstance(exc, DependencyDown):
                return Problem(f"the webhooks of {owner} cannot be listed: {exc}", exc.remedy)
            if repository is None:
                return None
            return Problem(f"the webhooks of {repository} cannot be listed: {exc}", WEBHOOKS_REMEDY)
        own = own_hooks(hooks, webhook_paths=self.webhook_paths, hook_id=self.hook_id)
        if len(own) > 1:
            return describe_several(owner, own, self.webhook_paths)
        if own:
            deliveries = self.lists.deliveries(path, own[0].id)
            return Source(f"{self.lists.base_url}{path}/hooks/{own[0].id}", repository, deliveries)
        if repository is None:
            return None
        message = f"{repository} has no active webhook whose URL ends with {self.webhook_paths[0]}"
        return Problem(message, CREATE_REMEDY)


@dataclass(frozen=True, slots=True)
class _Found:
    valid_until: float  # seconds, monotonic
    search: _Search
    sources: Sources


def _is_pattern(name: str) -> bool:
    return any(character in name for character in "*?[")


def _is_enabled(table: RepositoryTable, name: str) -> bool:
    found = table.find(name)
    return found is not None and found.enabled
