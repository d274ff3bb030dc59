"""`hls learn`: drafts rules for reviews from decisions of people, and prints them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hls_handler.analysis import Usage
from hls_handler.cli.github_names import require_repository
from hls_handler.cli.options import (
    AsJson,
    Config,
    abort,
    connect_claude,
    describe_person,
    fail,
    load,
    require_claude_key,
    require_confirmation,
    require_existing_store,
)
from hls_handler.cli.prompt_library import load_library
from hls_handler.cli.terminal import is_terminal, print_json, print_line, waiting
from hls_handler.errors import HlsError, PromptError, SettingsError, StoreUnavailable, with_remedy
from hls_handler.learning.report import (
    NO_RULE,
    READ_FIRST,
    describe_case,
    describe_plan,
    describe_rule,
    to_document,
)
from hls_handler.learning.run import MOST_CASES, Plan, ask_for_rules, plan_rules
from hls_handler.review.guidance import HLS_PATH
from hls_handler.review.rules import ComparedRules, format_guidance
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.trials.sender import Sender
from hls_handler.wording import add_usd, format_usd


def learn(
    repository: Annotated[
        str, typer.Argument(metavar="OWNER/REPO", help="A repository, or its URL.")
    ],
    limit: Annotated[int, typer.Option(min=1, max=200, help="Newest cases.")] = MOST_CASES,
    max_usd: Annotated[
        float, typer.Option(min=0.0001, help="Most that the questions may cost, in USD.")
    ] = 0.25,
    yes: Annotated[bool, typer.Option("--yes", help="Ask Claude, which costs money.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Draft rules for reviews from decisions of people.

    Prints the cases: findings that people with write permission dismissed with a reason, labels of
    pull requests that people corrected, and review comments of people of the repository, as far as
    they are stored. With --yes, or after a confirmation, Claude drafts at most five rules, and says
    which stored findings each would have hidden. A rule that hides a finding that fails the check
    is left out.

    Prints text for .github/hls.md, and writes nothing. Read it before you paste it: it is drafted
    from what others wrote.

    Exit codes: 0 done, or only planned; 1 there are no cases, or Claude failed; 2 usage error, or
    unusable settings, prompts or database.
    """
    settings = load(config, credentials=False)
    name = require_repository(repository, base_url=settings.github.base_url)
    library = load_library(settings)
    with require_existing_store(settings) as store:
        try:
            plan = plan_rules(store, settings, library, name, most=limit)
        except PromptError as exc:
            abort(*exc.problems)
        except StoreUnavailable:
            raise
        except HlsError as exc:
            fail(with_remedy(exc))
        if not as_json:
            _print_plan(plan)
        if not yes and (as_json or not _is_confirmed()):
            if as_json:
                print_json(to_document(plan, None))
            return
        require_claude_key(settings, alternative="omit --yes for the cases alone")
        usages: list[Usage] = []
        compared = _ask(store, settings, plan, max_usd, usages)
        cost_usd = add_usd(usage.cost_usd for usage in usages)
        if as_json:
            print_json({**to_document(plan, compared), "cost_usd": cost_usd})
            return
        _print_rules(compared)
        print_line(f"cost: {format_usd(cost_usd)}", err=True)


def _is_confirmed() -> bool:
    """Ask on a terminal; elsewhere, say how to ask Claude."""
    if not (is_terminal() and sys.stdin.isatty()):
        print_line("Claude was not asked; add --yes to ask")
        return False
    require_confirmation("Ask Claude?", what="the cost", otherwise="Claude was not asked")
    return True


def _ask(
    store: Storage, settings: Settings, plan: Plan, max_usd: float, usages: list[Usage]
) -> ComparedRules:
    """Return the rules, and add to `usages`."""
    change = store.audit.record(describe_person(), "learn", plan.history.repository)
    try:
        with connect_claude(settings.claude) as client, waiting("Asking Claude"):
            sender = Sender(client, observe=usages.append)
            return ask_for_rules(plan, sender, max_usd=max_usd, where="--max-usd")
    except SettingsError as exc:
        abort(*exc.problems)
    except StoreUnavailable:
        raise
    except HlsError as exc:
        fail(with_remedy(exc))
    finally:
        store.audit.set_cost(change, add_usd(usage.cost_usd for usage in usages))


def _print_plan(plan: Plan) -> None:
    for case in plan.history.cases:
        print_line(f"{case.number:>3}  {describe_case(case)}")
    for line in describe_plan(plan):
        print_line(line)


def _print_rules(compared: ComparedRules) -> None:
    for one in compared.rules:
        print_line("")
        print_line(f"rule {one.rule.number}: {one.rule.text}", style="bold")
        print_line(f"    {describe_rule(one, compared.checked)}")
    for rule in compared.left_out:
        print_line("")
        print_line(f"left out: {rule.text}")
        print_line(f"    {rule.why}")
    print_line("")
    if not compared.rules:
        print_line(NO_RULE)
        return
    print_line(f"{READ_FIRST}. Text for {HLS_PATH}:")
    print_line("")
    for line in format_guidance(compared.rules).split("\n"):
        print_line(line)
