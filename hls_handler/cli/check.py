"""`hls check`: report the problems of settings, prompts and credentials before any event
arrives.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Annotated

import typer

from hls_handler import shipped
from hls_handler.analysis import Usage
from hls_handler.background.hooks import own_hooks
from hls_handler.claude.prices import find_cost_usd
from hls_handler.cli.options import DOTENV, Config, config_path, connect_claude, utc_now
from hls_handler.cli.terminal import print_line, print_problem, waiting
from hls_handler.engine.library import load_checked
from hls_handler.errors import (
    DependencyDown,
    HlsError,
    Permanent,
    PromptError,
    SettingsError,
    with_remedy,
)
from hls_handler.git.run import find_git
from hls_handler.github.client import ReadOnlyGithub, connect_read_only
from hls_handler.github.hooks import Hook
from hls_handler.github.identity import Identity
from hls_handler.github.values import RepositoryLabel
from hls_handler.handlers.labels import describe_missing, select_offer
from hls_handler.handlers.reader import read_optional
from hls_handler.prompting.problems import suggest_name
from hls_handler.prompting.prompt import Library
from hls_handler.question import Prompt
from hls_handler.reports.estimate import describe_prices, estimate_largest_call, list_claude_models
from hls_handler.retrieval.vectors import VectorsUnavailable, connect_vectors
from hls_handler.routing.commands import list_needed_events
from hls_handler.settings.effective import (
    EffectiveSettings,
    RepositoryTable,
    find_unneeded_permissions,
    is_pattern,
    list_prompt_choices,
)
from hls_handler.settings.load import load_settings
from hls_handler.settings.model import Provider, Settings, describe_retirement
from hls_handler.settings.values import is_loopback, web_url
from hls_handler.store.budgets import list_budgets
from hls_handler.wording import count

SENT_TO_EVERY_APP = frozenset({"installation", "installation_repositories", "installation_target"})
"""https://docs.github.com/en/webhooks/webhook-events-and-payloads#installation"""

EDITED = (
    "this shipped file is edited, and `git pull` aborts if a later version changes it, too; move"
    " prompts to a folder of your own (docs/prompts.md) and settings to config/settings.yaml, then"
    " restore the file with `git checkout`"
)


def check(
    config: Config = None,
    offline: Annotated[bool, typer.Option("--offline", help="Connect to no service.")] = False,
) -> None:
    """Report every problem of settings, prompts and credentials.

    Renders every prompt with every recorded payload of its events. Unless --offline is given, also
    checks the GitHub token, the Claude API key, the models, and the services of `retrieval`. The
    token's permissions, and the events that the webhook sends, are checked for each repository that
    the settings name without wildcards; the events of an App for all. Prints one line for each
    problem, with file and line number. With --offline, an unset variable in the settings is no
    problem; a note names it. Notes also name each shipped file that is edited in a clone and each
    model without a known price, and say if the console is off or git is missing. A table shows what
    a typical review and issue cost with each model.

    A warning, such as a retired model that is replaced, is no problem.

    Exit codes: 0 no problems; 1 problems found; 2 the settings file cannot be used.
    """
    path = config_path(config)
    try:
        settings = load_settings(path, os.environ, dotenv=DOTENV, allow_unset=offline)
    except SettingsError as exc:
        for problem in exc.problems:
            print_problem(problem)
        raise typer.Exit(2) from None
    findings: list[str] = []
    prompts: Sequence[Prompt] = ()
    try:
        library = load_checked(settings)
    except PromptError as exc:
        findings += exc.problems
    else:
        prompts = [*library.prompts.values()]
        findings += library.warnings
        findings += _find_unknown_prompts(settings, library)
    warnings = [
        *settings.warnings,
        *_find_retired_models(prompts),
        *_find_small_budgets(settings, prompts),
    ]
    if not offline:
        # All clients report a problem with the proxy variables, so duplicates are removed.
        with waiting("Asking GitHub, Claude and the services of `retrieval`"):
            found = [
                *_check_github(settings),
                *_check_claude(settings, prompts),
                *_check_vectors(settings),
            ]
        findings += dict.fromkeys(found)
    for note in _list_notes(settings, prompts):
        print_problem(note, severity="note")
    for line in _describe_prices(settings, prompts):
        print_line(line)
    for warning in warnings:
        print_problem(warning, severity="warning")
    for finding in findings:
        print_problem(finding)
    if findings:
        raise typer.Exit(1)
    fine = f"{path}: settings and {count(len(prompts), 'prompt')} are fine"
    if not offline:
        fine += "; GitHub and Claude answer"
    print_line(fine, style="green")


def _list_notes(settings: Settings, prompts: Sequence[Prompt]) -> Iterator[str]:
    for name in shipped.find_edited_files():
        yield f"{(shipped.PROMPTS.parent / name).absolute()}: note: {EDITED}"
    where = settings.sources.where
    for key, problem in settings.unset.items():
        yield f"{where(key)}: note: {problem}"
    # else it is one of the warnings
    if not settings.has_console and is_loopback(settings.server.host):
        yield (
            f"{where('server.api_key')}: note: the console and the API are off, because the key is"
            " not set (openssl rand -hex 24)"
        )
    if settings.mirror.enabled and find_git() is None:
        yield f"{where('mirror.enabled')}: note: git is not installed, so there is no mirror"
    yield from _describe_unpriced_models(settings, prompts)
    yield from _describe_fallback_reviews(settings)


def _find_retired_models(prompts: Sequence[Prompt]) -> Iterator[str]:
    for prompt in prompts:
        if prompt.model is None:  # `settings.warnings` checks the models of the settings
            continue
        retirement = describe_retirement(prompt.model)
        if retirement is not None:
            yield f"{prompt.absolute_path}: model: {retirement}"


def _find_small_budgets(settings: Settings, prompts: Sequence[Prompt]) -> Iterator[str]:
    """Yield a warning for each budget that is smaller than the largest call may cost."""
    calls = [estimate_largest_call(settings.claude, prompt) for prompt in prompts]
    largest = max(calls, key=lambda call: call.cost_usd or 0.0, default=Usage(""))
    largest_usd = largest.cost_usd or 0.0
    limits = {one.where: one.limit_usd for one in list_budgets(settings, outsider="")}
    for name in ("max_usd", "max_usd_per_pull_request"):
        limits[settings.sources.where(f"review.{name}")] = getattr(settings.review, name)
    for where, limit_usd in limits.items():
        if limit_usd < largest_usd:
            yield (
                f"{where}: {limit_usd:g} USD are less than one call may cost ({largest_usd:.4f} USD"
                f" for claude.input_tokens and max_tokens with {largest.model}); a call that does"
                " not fit is never made"
            )


@dataclass(frozen=True, slots=True)
class _UsedModel:
    provider: Provider
    name: str
    where: str  # file and line that name it


def _list_models(settings: Settings, prompts: Sequence[Prompt]) -> Mapping[str, _UsedModel]:
    """Return the models of the settings and of prompts, as `Claude.name_model` names them.

    Retired models of prompts are left out.
    """
    claude = settings.claude
    where = settings.sources.where
    used = [
        _UsedModel(one, one.default_model(), where(f"{key}.model"))
        for key, one in claude.providers.items()
    ]
    for key, one in claude.providers.items():
        review_model = one.default_model(is_review=True)
        used.append(_UsedModel(one, review_model, where(f"{key}.review_model")))
    used += [
        _UsedModel(*claude.find_model(prompt.model), prompt.absolute_path)
        for prompt in prompts
        if prompt.model is not None and describe_retirement(prompt.model) is None
    ]
    found = dict[str, _UsedModel]()
    for model in used:
        found.setdefault(claude.name_model(model.provider, model.name), model)
    return found


def _describe_unpriced_models(settings: Settings, prompts: Sequence[Prompt]) -> Iterator[str]:
    for one in _list_models(settings, prompts).values():
        if find_cost_usd(Usage(one.name, input_tokens=1), one.provider, one.name) is None:
            key = f"{settings.claude.find_key(one.provider)}.price"
            problem = f"the model {one.name} has no known price"
            dearest = "a call counts as one of the dearest known model"
            yield f"{one.where}: note: {problem}, so {dearest}; set {key}"


def _describe_prices(settings: Settings, prompts: Sequence[Prompt]) -> list[str]:
    models = list_claude_models(settings.claude)
    for named, one in _list_models(settings, prompts).items():
        models[named] = (one.provider, one.name)
    return describe_prices(models)


def _describe_fallback_reviews(settings: Settings) -> Iterator[str]:
    if settings.claude.review_model is None:
        return
    for index, fallback in enumerate(settings.claude.fallbacks):
        if fallback.review_model is None:
            key = f"claude.fallbacks[{index}]"
            own = f"reviews by {fallback.name} use its model {fallback.default_model()}"
            where = settings.sources.where(f"{key}.model")
            yield f"{where}: note: {own}; {key}.review_model names another"


def _find_unknown_prompts(settings: Settings, library: Library) -> Iterator[str]:
    for use in list_prompt_choices(settings):
        if use.prompt is not False and use.prompt not in library.prompts:
            where = settings.sources.where(use.key)
            yield (
                f"{where}: there is no prompt {use.prompt!r};"
                f" {suggest_name(use.prompt, library.prompts)}"
            )


def _check_github(settings: Settings) -> Iterator[str]:
    try:
        table = RepositoryTable(settings)
        by_key = {one.key: one for one in table.all()}
        with closing(connect_read_only(settings.github, now=utc_now)) as github:
            failures = _find_rejected_accounts(github)
            identity = github.fetch_identity(unneeded=find_unneeded_permissions(table))
            yield from _check_identity(settings, table, identity, failures)
            # repositories of an organisation share its webhooks
            list_hooks = cache(github.list_hooks)
            for index in range(len(settings.repositories)):
                effective = by_key[f"repositories[{index}]"]
                owner = effective.pattern.partition("/")[0]
                if effective.enabled and not is_pattern(owner):
                    yield from _check_entry(settings, effective, github, identity)
                    where = settings.sources.where(f"{effective.key}.name")
                    found = _check_webhooks(settings, effective, list_hooks)
                    yield from (f"{where}: {sentence}" for sentence in found)
    except SettingsError as exc:
        yield from exc.problems
    except HlsError as exc:
        yield f"{settings.sources.where(settings.github.credential_key)}: {with_remedy(exc)}"


def _check_entry(
    settings: Settings, effective: EffectiveSettings, github: ReadOnlyGithub, identity: Identity
) -> Iterator[str]:
    owner, _, name = effective.pattern.partition("/")
    entry = settings.sources.where(f"{effective.key}.name")
    if is_pattern(name):
        if identity.owners is None and github.find_account(owner) is None:
            yield f"{entry}: GitHub has no account {owner}; check the name"
        elif identity.owners is not None and owner.lower() not in identity.owners:
            page = f"{identity.settings_url}/installations"
            yield (
                f"{entry}: the App is not installed on {owner}; check the name, or install it at"
                f" {page}"
            )
    else:
        missing = github.find_missing_permissions(
            effective.pattern, with_webhooks=settings.catch_up.enabled
        )
        yield from (f"{entry}: {sentence}" for sentence in missing)
        yield from _find_missing_issues(settings, effective, github)
        _note_unlisted_labels(settings, effective, github)


def _check_webhooks(
    settings: Settings, effective: EffectiveSettings, list_hooks: Callable[[str], Sequence[Hook]]
) -> Iterator[str]:
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
        yield (
            f"the webhook does not send {', '.join(missing)}, which the settings need; select them"
            f" at {page}"
        )


def _find_missing_issues(
    settings: Settings, effective: EffectiveSettings, github: ReadOnlyGithub
) -> Iterator[str]:
    for event, number in effective.comments.post_to.items():
        try:
            github.reader(effective.pattern).issue(number)
        except Permanent as exc:
            where = settings.sources.where(f"{effective.key}.comments.post_to.{event}")
            yield f"{where}: the issue {effective.pattern}#{number} cannot be read: {exc}"


def _note_unlisted_labels(
    settings: Settings,
    effective: EffectiveSettings,
    github: ReadOnlyGithub,
) -> None:
    if not effective.labels.suggest:
        return
    none: tuple[RepositoryLabel, ...] = ()
    labels = read_optional(github.reader(effective.pattern).labels, none).value
    missing = describe_missing(select_offer(labels, effective.labels, ()))
    if missing:
        where = effective.where("labels.suggest", settings)
        choice = "labels.allow and labels.deny choose which they list"
        note = f"{where}: note: prompts do not list {missing}; {choice}"
        print_problem(note, severity="note")


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
) -> Iterator[str]:
    where = settings.sources.where(settings.github.credential_key)
    yield from (f"{where}: {with_remedy(failure)}" for failure in failures)
    for sentence in identity.sentences:
        print_line(sentence)
    yield from (f"{where}: {sentence}" for sentence in identity.missing)
    needed = frozenset(
        name for one in table.all() if one.enabled for name in list_needed_events(one, settings)
    )
    if identity.events is None:
        return
    missing = sorted(needed - identity.events - SENT_TO_EVERY_APP)
    if missing:
        yield (
            f"{where}: the App's webhook does not send {', '.join(missing)}, which the settings"
            f" need; select them at {identity.settings_url}/permissions"
        )
    if "merge_group" not in identity.events:
        print_problem(
            f"{where}: note: the App's webhook does not send merge_group, so a merge queue that"
            " requires the check waits for it in vain; if you use one, add the permission Merge"
            f" queues (read) and the event Merge group at {identity.settings_url}/permissions",
            severity="note",
        )


def _check_claude(settings: Settings, prompts: Sequence[Prompt]) -> Iterator[str]:
    try:
        client = connect_claude(settings.claude)
    except SettingsError as exc:
        yield from exc.problems
        return
    failed = set[str]()  # key paths of providers whose models would all fail
    with client as claude:
        for named, model in _list_models(settings, prompts).items():
            where = model.where
            key = settings.claude.find_key(model.provider)
            title = settings.claude.title_of(model.provider)
            if key in failed:
                continue
            try:
                lifecycle = claude.lookup_model(named)
            except DependencyDown as exc:
                if f"{key}.model" not in exc.remedy:
                    failed.add(key)
                    where = settings.sources.where(f"{key}.api_key")
                yield f"{where}: {with_remedy(exc)}"
            except HlsError as exc:
                yield f"{where}: {exc}"
            else:
                if lifecycle == "unlisted":
                    print_line(
                        f"{title}: the service lists no models, so the key and {model.name} were"
                        " not checked"
                    )
                elif lifecycle != "active":
                    yield f"{where}: the model {model.name} is {lifecycle}; choose an active model"


def _check_vectors(settings: Settings) -> Iterator[str]:
    try:
        vectors = connect_vectors(settings.retrieval)
        if vectors is not None:
            with closing(vectors):
                vectors.check()
    except SettingsError as exc:
        yield from exc.problems
    except VectorsUnavailable as exc:
        yield f"{settings.sources.where('retrieval')}: {exc}"
