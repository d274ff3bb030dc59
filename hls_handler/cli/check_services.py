"""The checks of `hls check` that ask GitHub, Claude and the services of `retrieval`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cache

from hls_handler.analysis import Prompt
from hls_handler.background.catch_up import own_hooks
from hls_handler.claude.providers import connect_claude
from hls_handler.cli.options import utc_now
from hls_handler.errors import (
    DependencyDown,
    HlsError,
    Permanent,
    SettingsError,
    with_remedy,
)
from hls_handler.github.client import ReadOnlyGithub, connect_read_only
from hls_handler.github.hooks import Hook
from hls_handler.github.identity import EXPIRY_REMEDY, Identity
from hls_handler.github.source import read_optional
from hls_handler.github.values import RepositoryLabel
from hls_handler.handlers.labels import describe_missing, select_offer
from hls_handler.reports.estimate import list_models
from hls_handler.retrieval.vectors import VectorsUnavailable, connect_vectors
from hls_handler.routing.commands import list_needed_events
from hls_handler.settings.effective import (
    EffectiveSettings,
    RepositoryTable,
    find_unneeded_permissions,
    is_pattern,
)
from hls_handler.settings.model import Settings
from hls_handler.settings.problems import Kind, Sentence
from hls_handler.settings.repository import MISNAMED_PATH, PATH
from hls_handler.settings.values import web_url

SENT_TO_EVERY_APP = frozenset({"installation", "installation_repositories", "installation_target"})
"""https://docs.github.com/en/webhooks/webhook-events-and-payloads#installation"""


def check_services(
    settings: Settings, prompts: Sequence[Prompt], facts: list[str]
) -> Iterator[Sentence]:
    """Yield the problems. Appends to `facts` what is no problem, such as the account of a token."""
    yield from _check_github(settings, facts)
    yield from _check_claude(settings, prompts, facts)
    yield from _check_vectors(settings)


def _check_github(settings: Settings, facts: list[str]) -> Iterator[Sentence]:
    try:
        table = RepositoryTable(settings)
        by_key = {entry.key: entry for entry in table.all()}
        with closing(connect_read_only(settings.github, now=utc_now)) as github:
            failures = _find_rejected_accounts(github)
            identity = github.fetch_identity(unneeded=find_unneeded_permissions(table))
            facts += identity.sentences
            yield from _check_identity(settings, table, identity, failures)
            # repositories of an organisation share its webhooks
            list_hooks = cache(github.list_hooks)
            for index in range(len(settings.repositories)):
                effective = by_key[f"repositories[{index}]"]
                owner = effective.pattern.partition("/")[0]
                if effective.enabled and not is_pattern(owner):
                    yield from _check_entry(settings, effective, github, identity)
                    yield from _check_webhooks(settings, effective, list_hooks)
    except SettingsError as exc:
        yield from _to_sentences(Kind.PROXY, exc.problems)
    except HlsError as exc:
        where = settings.sources.where(settings.github.credential_key)
        yield Sentence(f"{where}: {with_remedy(exc)}", Kind.GITHUB)


def _to_sentences(kind: Kind, problems: Iterable[str]) -> Iterator[Sentence]:
    return (Sentence(problem, kind) for problem in problems)


def _check_entry(
    settings: Settings, effective: EffectiveSettings, github: ReadOnlyGithub, identity: Identity
) -> Iterator[Sentence]:
    owner, _, name = effective.pattern.partition("/")
    entry = settings.sources.where(f"{effective.key}.name")
    if is_pattern(name):
        if identity.owners is None and not github.has_account(owner):
            problem = f"{entry}: GitHub has no account {owner}; check the name"
            yield Sentence(problem, Kind.NOT_FOUND)
        elif identity.owners is not None and owner.lower() not in identity.owners:
            page = f"{identity.settings_url}/installations"
            yield Sentence(
                f"{entry}: the App is not installed on {owner}; check the name, or install it at"
                f" {page}",
                Kind.NOT_FOUND,
            )
    else:
        missing = github.find_missing_permissions(
            effective.pattern, with_webhooks=settings.catch_up.enabled
        )
        problems = [f"{entry}: {sentence}" for sentence in missing]
        yield from _to_sentences(Kind.MISSING_PERMISSION, problems)
        yield from _find_missing_issues(settings, effective, github)
        yield from _find_unlisted_labels(settings, effective, github)
        yield from _find_misnamed_file(effective, github)


def _check_webhooks(
    settings: Settings, effective: EffectiveSettings, list_hooks: Callable[[str], Sequence[Hook]]
) -> Iterator[Sentence]:
    """Yield the problems of the webhooks of the repository and its organisation, as far as a token
    may list them.
    """
    owner = effective.pattern.partition("/")[0]
    web = web_url(settings.github.base_url)
    places = [(f"/orgs/{owner}", f"{web}/organizations/{owner}")]
    if not is_pattern(effective.pattern):
        places.append((f"/repos/{effective.pattern}", f"{web}/{effective.pattern}"))
    sent: set[str] = set()
    page = None
    for path, address in places:
        hooks = own_hooks(
            list_hooks(path),
            webhook_paths=settings.server.webhook_paths,
            hook_id=settings.catch_up.hook_id,
        )
        for hook in hooks:
            sent |= hook.events
            page = f"{address}/settings/hooks/{hook.id}"
    missing = sorted(list_needed_events(effective, settings) - sent)
    if page is not None and missing and "*" not in sent:
        yield Sentence(
            f"{settings.sources.where(f'{effective.key}.name')}: the webhook does not send"
            f" {', '.join(missing)}, which the settings need; select them at {page}",
            Kind.MISSING_EVENT,
        )


def _find_missing_issues(
    settings: Settings, effective: EffectiveSettings, github: ReadOnlyGithub
) -> Iterator[Sentence]:
    for event, number in effective.comments.post_to.items():
        try:
            github.reader(effective.pattern).issue(number)
        except Permanent as exc:
            where = settings.sources.where(f"{effective.key}.comments.post_to.{event}")
            problem = f"{where}: the issue {effective.pattern}#{number} cannot be read: {exc}"
            yield Sentence(problem, Kind.NOT_FOUND)


def _find_misnamed_file(effective: EffectiveSettings, github: ReadOnlyGithub) -> Iterator[Sentence]:
    reader = github.reader(effective.pattern)
    found = read_optional(lambda: reader.find_file(MISNAMED_PATH, ref=None), None).value
    if found is not None:
        problem = f"{effective.pattern}: {MISNAMED_PATH} is not read; rename it to {PATH}"
        yield Sentence(problem, Kind.MISNAMED_FILE)


def _find_unlisted_labels(
    settings: Settings, effective: EffectiveSettings, github: ReadOnlyGithub
) -> Iterator[Sentence]:
    if not effective.labels.suggest:
        return
    none: tuple[RepositoryLabel, ...] = ()
    labels = read_optional(github.reader(effective.pattern).labels, none).value
    missing = describe_missing(select_offer(labels, effective.labels, ()))
    if missing:
        where = effective.where("labels.suggest", settings)
        choice = "labels.allow and labels.deny choose which they list"
        note = f"{where}: note: prompts do not list {missing}; {choice}"
        yield Sentence(note, Kind.UNLISTED_LABELS)


def _find_rejected_accounts(github: ReadOnlyGithub) -> list[DependencyDown]:
    """Return the error of each account that GitHub rejects. Raises the first if it rejects all."""
    failures: list[DependencyDown] = []
    accounts = github.accounts()
    for account in accounts:
        try:
            account.fetch_bot_account()
        except DependencyDown as exc:
            failures.append(exc)
    if len(failures) == len(accounts):
        raise failures[0]
    return failures


def _check_identity(
    settings: Settings,
    table: RepositoryTable,
    identity: Identity,
    failures: Sequence[DependencyDown],
) -> Iterator[Sentence]:
    where = settings.sources.where(settings.github.credential_key)
    rejected = [f"{where}: {with_remedy(failure)}" for failure in failures]
    yield from _to_sentences(Kind.GITHUB, rejected)
    lacking = [f"{where}: {sentence}" for sentence in identity.missing]
    yield from _to_sentences(Kind.MISSING_PERMISSION, lacking)
    expiring = [f"{where}: {sentence}; {EXPIRY_REMEDY}" for sentence in identity.expiring]
    yield from _to_sentences(Kind.TOKEN_EXPIRES, expiring)
    needed = frozenset(
        name
        for entry in table.all()
        if entry.enabled
        for name in list_needed_events(entry, settings)
    )
    if identity.events is None:
        return
    missing = sorted(needed - identity.events - SENT_TO_EVERY_APP)
    if missing:
        yield Sentence(
            f"{where}: the App's webhook does not send {', '.join(missing)}, which the settings"
            f" need; select them at {identity.settings_url}/permissions",
            Kind.MISSING_EVENT,
        )
    if "merge_group" not in identity.events:
        yield Sentence(
            f"{where}: note: the App's webhook does not send merge_group, so a merge queue that"
            " requires the check waits for it in vain; if you use one, add the permission Merge"
            f" queues (read) and the event Merge group at {identity.settings_url}/permissions",
            Kind.NO_MERGE_GROUP,
        )


def _check_claude(
    settings: Settings, prompts: Sequence[Prompt], facts: list[str]
) -> Iterator[Sentence]:
    try:
        client = connect_claude(settings.claude)
    except SettingsError as exc:
        yield from _to_sentences(Kind.PROXY, exc.problems)
        return
    failed = set[str]()  # key paths of providers whose models would all fail
    with client as claude:
        for named, model in list_models(settings, prompts).items():
            where = model.where
            key = settings.claude.find_key(model.provider)
            title = settings.claude.title_of(model.provider)
            if key in failed:
                continue
            try:
                lifecycle = claude.lookup_model(named)
            except DependencyDown as exc:
                kind = Kind.UNUSABLE_MODEL
                if f"{key}.model" not in exc.remedy:
                    kind = Kind.CLAUDE
                    failed.add(key)
                    where = settings.sources.where(f"{key}.api_key")
                yield Sentence(f"{where}: {with_remedy(exc)}", kind)
            except HlsError as exc:
                yield Sentence(f"{where}: {exc}", Kind.CLAUDE)
            else:
                if lifecycle == "unlisted":
                    facts.append(
                        f"{title}: the service lists no models, so the key and {model.name} were"
                        " not checked"
                    )
                elif lifecycle != "active":
                    problem = f"the model {model.name} is {lifecycle}; choose an active model"
                    yield Sentence(f"{where}: {problem}", Kind.UNUSABLE_MODEL)


def _check_vectors(settings: Settings) -> Iterator[Sentence]:
    try:
        vectors = connect_vectors(settings.retrieval)
        if vectors is not None:
            with closing(vectors):
                vectors.check()
    except SettingsError as exc:
        yield from _to_sentences(Kind.PROXY, exc.problems)
    except VectorsUnavailable as exc:
        yield Sentence(f"{settings.sources.where('retrieval')}: {exc}", Kind.RETRIEVAL)
