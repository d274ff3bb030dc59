"""`hls check`: report the problems of settings, prompts and credentials before any event arrives,
and those of a repository's settings file before it is pushed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hls_handler.analysis import Prompt, Usage
from hls_handler.claude.provider import find_cost_usd
from hls_handler.cli.options import DOTENV, AsJson, Config, abort, config_path
from hls_handler.cli.terminal import find_place, print_json, print_line, print_problem, waiting
from hls_handler.engine.library import load_checked
from hls_handler.engine.repository_settings import without_unknown_prompts
from hls_handler.errors import (
    PromptError,
    SettingsError,
)
from hls_handler.git.run import find_git
from hls_handler.prompting.front_matter import suggest_name
from hls_handler.prompting.prompt import Library
from hls_handler.reports.estimate import (
    describe_prices,
    estimate_largest_call,
    list_claude_models,
    list_models,
)
from hls_handler.settings import shipped
from hls_handler.settings.effective import (
    list_prompt_choices,
)
from hls_handler.settings.load import load_settings
from hls_handler.settings.model import Settings
from hls_handler.settings.problems import Kind, ProblemSeverity, Sentence, with_kind
from hls_handler.settings.providers import describe_retirement
from hls_handler.settings.repository import (
    RepositorySettings,
    RepositorySettingsFile,
    decode_repository_file,
    parse_repository_file,
)
from hls_handler.settings.values import is_loopback
from hls_handler.store.limits import list_budgets
from hls_handler.wording import count

EDITED = (
    "this shipped file is edited, and `git pull` aborts if a later version changes it, too; move"
    " prompts to a folder of your own (docs/prompts.md) and settings to config/settings.yaml, then"
    " restore the file with `git checkout`"
)


def check(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Check only this .github/hls.yaml, or hls.yaml of an organisation.",
            show_default=False,
            resolve_path=True,
        ),
    ] = None,
    config: Config = None,
    offline: Annotated[bool, typer.Option("--offline", help="Connect to no service.")] = False,
    as_json: AsJson = False,
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

    With FILE, checks only this file of a repository or an organisation, and connects to no service.
    Prompts that it names must be in the operator's library.

    docs/problems.md explains the id of each problem. `check.ignore` in the settings silences
    warnings, such as a retired model that is replaced, and notes.
    """
    path = config_path(config)
    is_offline = offline or file is not None
    try:
        settings = load_settings(path, os.environ, dotenv=DOTENV, allow_unset=is_offline)
    except SettingsError as exc:
        problems = [with_kind(problem, Kind.SETTINGS_FILE) for problem in exc.problems]
        _show(_Report(problems), as_json=as_json)
        raise typer.Exit(2) from None
    if file is None:
        report = _check_all(settings, offline=offline)
    else:
        report = _check_repository_file(settings, file)
    _show(report, as_json=as_json)
    if any(problem.kind.severity == "error" for problem in report.problems):
        raise typer.Exit(1)
    if not as_json:
        print_line(report.success, style="green")


@dataclass(frozen=True, slots=True)
class _Report:
    problems: Sequence[Sentence]  # those that `check.ignore` does not silence
    success: str = ""  # the last line, if no problem is an error
    silenced: Sequence[Sentence] = ()
    facts: Sequence[str] = ()  # such as the account that a token belongs to
    prices: Sequence[str] = ()  # lines of a table

    def of(self, severity: ProblemSeverity) -> Iterator[Sentence]:
        return (problem for problem in self.problems if problem.kind.severity == severity)


def _check_all(settings: Settings, *, offline: bool) -> _Report:
    problems: list[Sentence] = []
    prompts: Sequence[Prompt] = ()
    try:
        library = load_checked(settings)
    except PromptError as exc:
        problems += [with_kind(problem, Kind.TEMPLATE) for problem in exc.problems]
    else:
        prompts = [*library.prompts.values()]
        problems += library.warnings
        problems += _find_unknown_prompts(settings, library)
    problems += settings.warnings
    problems += _find_retired_models(prompts)
    problems += _find_small_budgets(settings, prompts)
    problems += _list_notes(settings, prompts)
    if "GITHUB_ACTIONS" in os.environ:
        problems += _find_shared_limits(settings)
    facts: list[str] = []
    if not offline:
        # its clients take longer to import than the rest of the command
        from hls_handler.cli.check_services import check_services

        with waiting("Asking GitHub, Claude and the services of `retrieval`"):
            problems += check_services(settings, prompts, facts)
    success = f"{settings.sources.file}: settings and {count(len(prompts), 'prompt')} are fine"
    if not offline:
        success += "; GitHub and Claude answer"
    # All clients report a problem with the proxy variables, so duplicates are removed.
    problems = [*dict.fromkeys(problems)]
    ignored = settings.check.ignore
    return _Report(
        problems=[problem for problem in problems if problem.kind.id not in ignored],
        success=success,
        silenced=[problem for problem in problems if problem.kind.id in ignored],
        facts=facts,
        prices=_describe_prices(settings, prompts),
    )


def _check_repository_file(settings: Settings, file: Path) -> _Report:
    """Check a `.github/hls.yaml`, or the `hls.yaml` of an organisation."""
    try:
        text = decode_repository_file(file.read_bytes(), str(file))
        parsed = parse_repository_file(text, str(file))
    except OSError as exc:
        abort(f"{file}: cannot be read: {exc.strerror}")
    except SettingsError as exc:
        parsed = RepositorySettings(problems=exc.problems)
    kind = Kind.SETTINGS_FILE
    if not parsed.problems:
        stored = RepositorySettingsFile(parsed, version=None)
        parsed = without_unknown_prompts(load_checked(settings), stored)
        kind = Kind.UNKNOWN_PROMPT
    problems = [with_kind(problem, kind) for problem in parsed.problems]
    return _Report(problems, f"{file}: these settings are fine")


def _show(report: _Report, *, as_json: bool) -> None:
    if as_json:
        problems = [_to_json(problem) for problem in report.problems]
        print_json({"problems": problems, "silenced": len(report.silenced)})
        return
    for fact in report.facts:
        print_line(fact)
    for problem in report.of("note"):
        print_problem(problem)
    for line in report.prices:
        print_line(line)
    for problem in (*report.of("warning"), *report.of("error")):
        print_problem(problem)
    if report.silenced:
        ids = sorted({problem.kind.id for problem in report.silenced})
        number = count(len(report.silenced), "problem")
        print_line(f"check.ignore silences {number}: {', '.join(ids)}", style="dim")


def _to_json(problem: Sentence) -> dict[str, object]:
    placed = find_place(problem)
    return {
        "id": problem.kind.id,
        "severity": problem.kind.severity,
        "file": placed.file or None,
        "line": int(placed.line) if placed.line else None,
        "message": placed.message,
    }


def _list_notes(settings: Settings, prompts: Sequence[Prompt]) -> Iterator[Sentence]:
    for name in shipped.find_edited_files():
        file = (shipped.PROMPTS.parent / name).absolute()
        yield Sentence(f"{file}: note: {EDITED}", Kind.EDITED_FILE)
    where = settings.sources.where
    for key, problem in settings.unset.items():
        yield Sentence(f"{where(key)}: note: {problem}", Kind.UNSET_OFFLINE)
    # else it is one of the warnings
    if not settings.has_console and is_loopback(settings.server.host):
        yield Sentence(
            f"{where('server.api_key')}: note: the console and the API are off, because the key is"
            " not set (openssl rand -hex 24)",
            Kind.CONSOLE_OFF,
        )
    if settings.mirror.enabled and find_git() is None:
        problem = "note: git is not installed, so there is no mirror"
        yield Sentence(f"{where('mirror.enabled')}: {problem}", Kind.NO_GIT)
    yield from _describe_unpriced_models(settings, prompts)
    yield from _describe_fallback_reviews(settings)


def _find_retired_models(prompts: Sequence[Prompt]) -> Iterator[Sentence]:
    for prompt in prompts:
        if prompt.model is None:  # `settings.warnings` checks the models of the settings
            continue
        retirement = describe_retirement(prompt.model)
        if retirement is not None:
            problem = f"{prompt.absolute_path}: model: {retirement}"
            yield Sentence(problem, Kind.RETIRED_MODEL)


def _find_small_budgets(settings: Settings, prompts: Sequence[Prompt]) -> Iterator[Sentence]:
    """Yield a warning for each budget that is smaller than the largest call may cost."""
    calls = [estimate_largest_call(settings.claude, prompt) for prompt in prompts]
    largest = max(calls, key=lambda call: call.cost_usd or 0.0, default=Usage(""))
    largest_usd = largest.cost_usd or 0.0
    limits = {limit.where: limit.amount for limit in list_budgets(settings, outsider="")}
    for name in ("max_usd", "max_usd_per_pull_request"):
        limits[settings.sources.where(f"review.{name}")] = getattr(settings.review, name)
    for where, limit_usd in limits.items():
        if limit_usd < largest_usd:
            yield Sentence(
                f"{where}: {limit_usd:g} USD are less than one call may cost ({largest_usd:.4f} USD"
                f" for claude.input_tokens and max_tokens with {largest.model}); a call that does"
                " not fit is never made",
                Kind.SMALL_BUDGET,
            )


def _find_shared_limits(settings: Settings) -> Iterator[Sentence]:
    """Yield a warning for each limit over all events: in a workflow, each issue and pull request
    has a database of its own.
    """
    found = [limit.where for limit in list_budgets(settings, outsider="")]
    if "calls_per_hour" in settings.claude.model_fields_set:
        found.append(settings.sources.where("claude.calls_per_hour"))
    advice = "review.max_usd and review.max_usd_per_pull_request limit the cost in a workflow"
    for where in found:
        yield Sentence(f"{where}: needs a service (docs/actions.md); {advice}", Kind.UNUSED_KEY)


def _describe_unpriced_models(settings: Settings, prompts: Sequence[Prompt]) -> Iterator[Sentence]:
    for used in list_models(settings, prompts).values():
        if find_cost_usd(Usage(used.name, input_tokens=1), used.provider, used.name) is None:
            key = f"{settings.claude.find_key(used.provider)}.price"
            problem = f"the model {used.name} has no known price"
            dearest = "a call counts as one of the dearest known model"
            note = f"{used.where}: note: {problem}, so {dearest}; set {key}"
            yield Sentence(note, Kind.UNKNOWN_PRICE)


def _describe_prices(settings: Settings, prompts: Sequence[Prompt]) -> list[str]:
    models = list_claude_models(settings.claude)
    for named, used in list_models(settings, prompts).items():
        models[named] = (used.provider, used.name)
    return describe_prices(models)


def _describe_fallback_reviews(settings: Settings) -> Iterator[Sentence]:
    if settings.claude.review_model is None:
        return
    for index, fallback in enumerate(settings.claude.fallbacks):
        if fallback.review_model is None:
            key = f"claude.fallbacks[{index}]"
            clause = f"reviews by {fallback.name} use its model {fallback.default_model()}"
            where = settings.sources.where(f"{key}.model")
            note = f"{where}: note: {clause}; {key}.review_model names another"
            yield Sentence(note, Kind.FALLBACK_REVIEWS)


def _find_unknown_prompts(settings: Settings, library: Library) -> Iterator[Sentence]:
    for use in list_prompt_choices(settings):
        if use.prompt is not False and use.prompt not in library.prompts:
            where = settings.sources.where(use.key)
            advice = suggest_name(use.prompt, library.prompts)
            problem = f"{where}: there is no prompt {use.prompt!r}; {advice}"
            yield Sentence(problem, Kind.UNKNOWN_PROMPT)
