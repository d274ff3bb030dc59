"""`hls backtest`: asks a prompt about closed issues, and compares its labels with those that people
left.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Annotated, NoReturn

import typer

from hls_handler.backtest.compare import SUGGESTED, Group
from hls_handler.backtest.first_text import collect_past_issues
from hls_handler.backtest.plan import (
    EVENT,
    PAST_ISSUE,
    PLAN,
    Forecast,
    Inputs,
    Plan,
    Side,
    count_other_labels,
    describe_interval,
    describe_power,
    forecast,
    has_known_labels,
    list_groups,
    make_side,
    make_tasks,
)
from hls_handler.backtest.report import judge, list_answered, make_document
from hls_handler.backtest.run import Run, RunStopped
from hls_handler.claude.providers import Breakers, Providers
from hls_handler.cli.github_names import require_repository
from hls_handler.cli.options import (
    AsJson,
    Config,
    abort,
    fail,
    load,
    open_existing_store,
    require_claude_key,
    utc_now,
)
from hls_handler.cli.prompt_library import get_prompt, load_library
from hls_handler.cli.terminal import print_json, print_line, print_lines, track, waiting
from hls_handler.engine.active_config import Claude
from hls_handler.errors import HlsError, with_remedy
from hls_handler.events import Account
from hls_handler.github.client import ReadOnlyGithub, connect_read_only
from hls_handler.github.labels import fold
from hls_handler.handlers.labels import list_labels_of
from hls_handler.prompting.library import restore_library
from hls_handler.prompting.prompt import Library
from hls_handler.reports.backtests import (
    BacktestDocument,
    ChoiceDocument,
    FieldDocument,
    SideDocument,
    find_folder,
    format_share,
    save_document,
)
from hls_handler.settings.effective import EffectiveSettings, RepositoryTable, without_entry
from hls_handler.settings.model import Settings
from hls_handler.store.backtests import BacktestStore, IssueRow
from hls_handler.wording import count, format_seconds, format_usd

MAX_THREADS = 4

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def backtest(
    repository: Annotated[
        str, typer.Argument(metavar="OWNER/REPO", help="A repository, or its URL.")
    ],
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=5_000, help="Newest closed issues to read.")
    ] = 200,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="PROMPT", help=f"Prompt to test. Default: the one of {EVENT}."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="PROMPT", help="Compare with this prompt, and decide.")
    ] = None,
    against_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Compare with this model, and decide.")
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="LABEL=NAME",
            help='What the repository calls a label of the prompt: --map "bug=type: bug".',
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask Claude, which costs money.")] = False,
    max_usd: Annotated[
        float | None, typer.Option(min=0, help="Most that all calls of the backtest may cost.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="SQLite file of the backtest. Default: in data/backtests."
        ),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Test a prompt on closed issues as they were first written.

    Reads issues with the labels that people left, and nothing that was written or changed after an
    issue was opened. Without --yes it prints what the questions may cost and what they can show.
    With --yes and --max-usd it asks Claude, and prints how often the labels are those that people
    left. Nothing is written to GitHub or to the service's database. A run that was ended continues
    when the command is repeated; the console shows its result, too.
    """
    settings = load(config, credentials=not yes)
    if yes:
        require_claude_key(settings, alternative="omit --yes for the forecast alone")
        if max_usd is None:
            abort("--yes needs --max-usd, the most that all calls may cost")
    if against is not None and against_model is not None:
        abort("name --against or --against-model, not both")
    name = require_repository(repository, base_url=settings.github.base_url)
    library = load_library(settings)
    effective = RepositoryTable(settings).find(name) or without_entry(settings)
    sides = _make_sides(settings, library, effective, prompt, against, against_model)
    path = file or _find_file(settings, effective, name, sides)
    if path.suffix == ".json":
        abort(f"{path} would be overwritten by the result: name the SQLite file, such as a.db")
    command = _Command(settings, effective, name, sides, _parse_names(names or ()), limit, as_json)
    try:
        with BacktestStore.open(path) as store:
            command.run(store, path, max_usd=max_usd if yes else None)
    except HlsError as exc:
        fail(with_remedy(exc))


def _make_sides(
    settings: Settings,
    library: Library,
    effective: EffectiveSettings,
    name: str | None,
    against: str | None,
    against_model: str | None,
) -> tuple[Side, ...]:
    current = _find_current(settings, library, effective, name)
    sides = [current]
    if against is not None:
        sides.append(_load_side(settings, library, against))
    if against_model is not None:
        sides.append(make_side(current.library, current.prompt, against_model))
    for side in sides:
        if not any(model.label_rules for model in side.models):
            abort(f"{side.title} sets no label, so there is nothing to compare")
    return tuple(sides)


def _find_current(
    settings: Settings, library: Library, effective: EffectiveSettings, name: str | None
) -> Side:
    if name is not None:
        return _load_side(settings, library, name)
    chosen = effective.find_prompt(EVENT)
    if chosen is not None and chosen.prompt:
        return make_side(library, get_prompt(library, chosen.prompt).name)
    candidates = library.on(EVENT)
    if len(candidates) != 1:
        found = ", ".join(candidates) or "none"
        abort(f"the prompts for {EVENT} are {found}: name one with --prompt")
    return make_side(library, candidates[0])


def _load_side(settings: Settings, library: Library, name: str) -> Side:
    """Return a prompt of the library, or an earlier version "issues/analyze@3f9c2a" that the
    service has asked.
    """
    base, at, _ = name.partition("@")
    known = library.prompts.get(base)
    if not at or (known is not None and known.id == name):
        return make_side(library, get_prompt(library, name).name)
    sources = None
    with open_existing_store(settings) as store:
        if store is not None:
            sources = store.prompt_versions.find(name)
    if sources is None:
        abort(f"{name} is neither in use nor stored: the service keeps versions that it asked")
    restored = restore_library(sources)
    alone = replace(restored.prompts[base], then=None)  # follow-up prompts are not stored with it
    return make_side(replace(restored, prompts={base: alone}), base)


def _parse_names(given: Sequence[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for one in given:
        label, equals, own = one.partition("=")
        if not (label.strip() and equals and own.strip()):
            raise typer.BadParameter("write it as LABEL=NAME", param_hint="--map")
        names[label.strip()] = own.strip()
    return names


def _find_file(
    settings: Settings, effective: EffectiveSettings, repository: str, sides: Sequence[Side]
) -> Path:
    """Return the file of these sides: a changed prompt, or a changed setting that is part of the
    question, begins a backtest of its own.
    """
    lists_labels = effective.labels.suggest and effective.features.auto_labeling
    asked = [settings.claude.default_model(), *(side.title for side in sides)]
    asked += [str(lists_labels), json.dumps(effective.variables, sort_keys=True, default=str)]
    digest = hashlib.sha256("\n".join(asked).encode()).hexdigest()[:8]
    name = _NOT_IN_NAMES.sub("-", repository)
    return find_folder(settings) / f"{name}-{digest}.db"


@dataclass(frozen=True, slots=True)
class _Command:
    settings: Settings
    effective: EffectiveSettings
    repository: str
    sides: tuple[Side, ...]
    names: Mapping[str, str]
    limit: int
    as_json: bool

    def run(self, store: BacktestStore, path: Path, *, max_usd: float | None) -> None:
        """Print the forecast; with `max_usd`, ask Claude and print the result."""
        claude = self.settings.claude
        threads = min(MAX_THREADS, self.settings.limits.concurrency)
        with closing(connect_read_only(self.settings.github, now=utc_now)) as github:
            inputs = self._read_inputs(github)
            self._check_names(inputs)
            groups = [list_groups(inputs, side) for side in self.sides]
            with waiting(f"Reading issues of {self.repository}"):
                plan = self._load_plan(store, github, groups)
            if not plan.planned:
                self._fail_without_labels(plan, inputs)
            issues = [PAST_ISSUE.validate_json(row.issue) for row in store.issues()]
            tasks = make_tasks(inputs, self.sides, issues)
        run = Run(store, tasks, threads=threads, per_second=claude.requests_per_second)
        found = forecast(self.settings, run.missing, threads=threads)
        if max_usd is None:
            self._print_forecast(plan, len(issues), found, store.spent_usd())
            return
        if found.max_usd is None:
            models = ", ".join(found.expected.models)
            fail(f"the price of {models} is unknown, so --max-usd cannot hold: set claude.price")
        if not self.as_json:
            self._print_plan(plan, len(issues), found, store.spent_usd())
        with ExitStack() as clients:
            breakers = Breakers(utc_now)

            def connect() -> Claude:
                client = Providers(claude, clock=monotonic, now=utc_now, breakers=breakers)
                return clients.enter_context(closing(client))

            stopped = self._ask(run, connect, max_usd)
        answered = list_answered(issues, store.load_all(), len(self.sides))
        judged = [
            judge(side, number, groups[number], answered) for number, side in enumerate(self.sides)
        ]
        thresholds = {SUGGESTED: self.effective.labels.min_confidence}
        document = make_document(
            plan,
            answered,
            judged,
            thresholds,
            ended_at=utc_now().isoformat(timespec="seconds"),
            stopped=stopped,
        )
        save_document(path.with_suffix(".json"), document)
        if self.as_json:
            print_json(document)
        else:
            print_lines("\n".join(format_document(document)))
            print_line(f"file        {path}")
        if stopped is not None:
            raise typer.Exit(1)

    def _read_inputs(self, github: ReadOnlyGithub) -> Inputs:
        reader = github.reader(self.repository)
        document = github.repository_document(self.repository)
        labels = reader.labels()
        return Inputs(self.settings, self.effective, document, labels, self.names, reader)

    def _check_names(self, inputs: Inputs) -> None:
        models = chain.from_iterable(side.models for side in self.sides)
        asked = {label.name for model in models for label in list_labels_of(model)}
        own = {fold(label.name) for label in inputs.labels}
        for label, name in self.names.items():
            if label not in asked:
                abort(f"--map {label}={name}: the labels of the prompt are {', '.join(asked)}")
            if fold(name) not in own:
                abort(f"--map {label}={name}: {self.repository} has no label {name}")

    def _load_plan(
        self, store: BacktestStore, github: ReadOnlyGithub, groups: Sequence[Sequence[Group]]
    ) -> Plan:
        """Return the stored plan of a run that has asked. Read the issues if there is none, if more
        are wanted, or if labels have other names.
        """
        stored = store.load_plan()
        known = None
        limit = self.limit
        if stored is not None:
            known = PLAN.validate_json(stored)
            self._require_same(known)
        if known is not None and not store.has_calls():
            known = None
        if known is not None:
            if known.limit >= limit and known.names == self.names:
                return known
            limit = max(limit, known.limit)
        histories = github.reader(self.repository).closed_issues(limit)
        found = collect_past_issues(histories, self._find_bot(github))
        labelled = [one for one in found.issues if has_known_labels(one, groups)]
        rows = [IssueRow(one.first.number, PAST_ISSUE.dump_json(one).decode()) for one in labelled]
        planned = len(labelled)
        if known is not None:
            planned = known.planned
        plan = Plan(
            self.repository,
            tuple(side.title for side in self.sides),
            planned,
            len(found.issues),
            found.skipped,
            limit,
            self.names,
            count_other_labels(found.issues, chain.from_iterable(groups)),
        )
        store.save_plan(PLAN.dump_json(plan).decode(), rows)
        return plan

    def _find_bot(self, github: ReadOnlyGithub) -> Account | None:
        """Return HLS's account, whose labels prove nothing; None for the token of a person with
        which it has set none.
        """
        account = github.fetch_bot_account()
        if account.is_bot:
            return account
        with open_existing_store(self.settings) as store:
            if store is not None and store.conversations.has_labels_by(account.login):
                return account
        return None

    def _require_same(self, plan: Plan) -> None:
        titles = tuple(side.title for side in self.sides)
        if (plan.repository, plan.sides) != (self.repository, titles):
            other = f"{plan.repository} with {' against '.join(plan.sides)}"
            abort(f"the file has a backtest of {other}: name another one with --file")

    def _fail_without_labels(self, plan: Plan, inputs: Inputs) -> NoReturn:
        own = ", ".join(label.name for label in inputs.labels[:12]) or "none"
        fail(
            f"of {count(plan.read, 'closed issue')}, none has a label by a person that the prompt"
            f" can ask for; the repository's labels: {own}; --map LABEL=NAME says which is which"
        )

    def _ask(self, run: Run, connect: Callable[[], Claude], max_usd: float) -> str | None:
        """Ask about the missing issues. Return why the run stopped before its end."""
        shown: Iterator[object] = run.ask_all(connect, max_usd)
        if not self.as_json:
            shown = track(shown, "Asking Claude", total=len(run.missing))
        try:
            for _ in shown:
                pass
        except RunStopped as exc:
            return str(exc)
        except KeyboardInterrupt:
            return "it was interrupted; run it again to continue"
        return None

    def _print_forecast(self, plan: Plan, labelled: int, found: Forecast, spent_usd: float) -> None:
        if self.as_json:
            print_json(
                {
                    "repository": plan.repository,
                    "sides": list(plan.sides),
                    "read": plan.read,
                    "skipped": dict(plan.skipped),
                    "planned": plan.planned,
                    "labelled": labelled,
                    "issues": found.issues,
                    "calls": found.expected.questions,
                    "input_tokens": found.expected.input_tokens,
                    "typical_usd": found.expected.typical_usd,
                    "max_usd": found.max_usd,
                    "seconds": found.seconds,
                    "spent_usd": spent_usd,
                }
            )
            return
        self._print_plan(plan, labelled, found, spent_usd)
        most = "1"
        if found.max_usd is not None:
            cents = math.ceil((spent_usd + found.max_usd) * 100)
            most = f"{max(cents, 1) / 100:.2f}"
        print_line(f"start       add --yes --max-usd {most}")

    def _print_plan(self, plan: Plan, labelled: int, found: Forecast, spent_usd: float) -> None:
        print_line(f"repository  {plan.repository}: {' against '.join(plan.sides)}")
        unlabelled = plan.read - labelled
        print_line(
            f"issues      {labelled:,} of {count(plan.read, 'closed issue')} as first written;"
            f" {unlabelled:,} without a label by a person that the prompt can ask for"
        )
        for reason, number in plan.skipped.items():
            print_line(f"skipped     {count(number, 'issue')}: {reason}")
        expected = found.expected
        cost = "unknown"
        if expected.typical_usd is not None and found.max_usd is not None:
            typical = format_usd(expected.typical_usd)
            cost = f"about {typical}, at most {format_usd(found.max_usd)}"
        print_line(
            f"missing     {count(expected.questions, 'call')} about {found.issues:,} issues,"
            f" {expected.input_tokens:,} tokens, {cost}, about {format_seconds(found.seconds)};"
            f" paid so far {format_usd(spent_usd)}"
        )
        if plan.other_labels:
            others = [f"{name} ({number:,})" for name, number in plan.other_labels.items()]
            print_line(f"not mapped  left by people, too: {', '.join(others)}; see --map")
        print_line("left out    documentation and similar issues: only those of now are known")
        print_line(f"can show    {describe_interval(labelled)}")
        if len(plan.sides) > 1:
            print_line(f"            {describe_power(plan.planned)}")


def format_document(document: BacktestDocument) -> Iterator[str]:
    """Yield the lines of the result."""
    for side in document["sides"]:
        yield from _format_side(side, document["labelled"])
    decision = document["decision"]
    if decision is not None:
        by = f" ({decision['test']})" if decision["test"] else ""
        yield (
            f"decision    {decision['conclusion']}{by}: of {decision['compared']:,} issues the"
            f" candidate fixed {decision['fixed']} and broke {decision['broken']};"
            f" {format_share(decision['current'])} against {format_share(decision['candidate'])}"
        )
        if decision["missing"]:
            yield f"            {decision['missing']:,} of {decision['planned']:,} are not asked"
    if document["stopped"] is not None:
        yield f"stopped     {document['stopped']}"


def _format_side(side: SideDocument, labelled: int) -> Iterator[str]:
    cost = format_usd(side["cost_usd"])
    each = format_usd(side["usd_per_issue"])
    yield (
        f"prompt      {side['title']}: {side['asked']:,} of {labelled:,} issues,"
        f" {count(side['calls'], 'call')}, {cost}, {each} an issue"
    )
    for problem, number in side["failed"].items():
        yield f"failed      {count(number, 'issue')}: {problem}"
    for field in side["fields"]:
        yield from _format_field(field)
    if side["front_matter"]:
        yield "front matter to paste:"
        yield from (f"  {line}" for line in side["front_matter"].rstrip().split("\n"))


def _format_field(field: FieldDocument) -> Iterator[str]:
    choice = field["choice"]
    line = f"{field['field']:<11} {count(field['issues'], 'labelled issue')}"
    if not field["is_enough"]:
        line += ", too few to judge"
    if choice is not None:
        right = format_share(choice["right"])
        line += f": right {right}, without a label {choice['without_label']['part']:,}"
    yield line
    for label in field["labels"]:
        yield (
            f"  {label['label']:<20} precision {format_share(label['precision'])},"
            f" recall {format_share(label['recall'])}"
        )
    if choice is not None:
        yield from _format_choice(choice)


def _format_choice(choice: ChoiceDocument) -> Iterator[str]:
    bands = [
        f"{band['stated']:.2f} -> {format_share(band['right'])}"
        for band in choice["calibration"]
        if band["stated"] is not None
    ]
    if bands:
        yield f"  stated confidence -> right: {'; '.join(bands)}"
