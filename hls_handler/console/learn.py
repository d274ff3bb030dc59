"""The page of rules that people approve: the cases and the cost first, then Claude's drafts with
what they would have hidden. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler.console.claude_runs import ClaudeRun, ClaudeRuns
from hls_handler.console.frame import Form, Frame
from hls_handler.engine.asking import digest_request
from hls_handler.errors import HlsError, StoreUnavailable, with_remedy
from hls_handler.learning.cases import CannotLearn
from hls_handler.learning.report import (
    NO_RULE,
    READ_FIRST,
    describe_case,
    describe_plan,
    describe_rule,
)
from hls_handler.learning.run import MOST_CASES, Plan, ask_for_rules, plan_rules
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.reports.estimate import format_cost
from hls_handler.review.guidance import HLS_PATH
from hls_handler.review.rules import format_guidance
from hls_handler.storage import Storage

AMOUNTS = ("0.05", "0.25", "1", "5")
"""Limits on the cost that the form offers, in USD."""

DEFAULT_AMOUNT = "0.25"
CHANGED = "The cases have changed since the cost was shown. This is the new cost; ask again."


class LearnPages:
    def __init__(
        self,
        frame: Frame,
        store: Storage,
        prompts: Callable[[], ReloadingLibrary],
        runs: ClaudeRuns,
    ) -> None:
        self._frame = frame
        self._store = store
        self._prompts = prompts
        self._runs = runs

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/learn", self._show),
            self._frame.form("/learn", self._process),
        ]

    def _show(self, request: Request) -> Response:
        return self._page(request, request.query_params)

    def _process(self, request: Request, form: Form) -> Response:
        """Show the cases and the cost, or ask Claude."""
        try:
            plan = self._make_plan(form)
            if "ask" not in form:
                return self._page(request, form, plan)
            if form["ask"] != _digest(plan):
                return self._page(request, form, plan, said=CHANGED, status=409)
            self._start(request, plan, float(_find_amount(form)))
        except StoreUnavailable:
            raise
        except HlsError as exc:
            return self._page(request, form, said=with_remedy(exc), status=409)
        return RedirectResponse("/learn", 303)

    def _make_plan(self, form: Form) -> Plan:
        settings = self._frame.settings
        repository = form.get("repository", "").strip()
        if repository.count("/") != 1:
            raise CannotLearn("the repository must be written as owner/repo")
        library = self._prompts().latest
        return plan_rules(self._store, settings, library, repository, most=MOST_CASES)

    def _start(self, request: Request, plan: Plan, max_usd: float) -> None:
        ask = partial(ask_for_rules, plan, max_usd=max_usd, where="the limit of the form")
        name = plan.history.repository
        run = ClaudeRun(name, "learn", name, plan, ask)
        self._runs.start(run, self._frame.settings, by=self._frame.person(request))

    def _page(
        self,
        request: Request,
        given: Form,
        plan: Plan | None = None,
        *,
        said: str = "",
        status: int = 200,
    ) -> Response:
        """Show the form, and what was said, the plan, or else the last run."""
        digest = ""
        progress = None
        shown = plan
        if plan is not None:
            digest = _digest(plan)
        elif not said:  # the last run may be of another repository
            progress = self._runs.last
        if progress is not None:
            shown = progress.run.about
        return self._frame.render(
            request,
            "learn.html",
            status=status,
            given=given,
            plan=plan,
            digest=digest,
            progress=progress,
            shown=shown,
            said=said,
            amounts=AMOUNTS,
            amount=_find_amount(given),
            file=HLS_PATH,
            read_first=READ_FIRST,
            no_rule=NO_RULE,
            describe_case=describe_case,
            describe_rule=describe_rule,
            describe_plan=describe_plan,
            format_cost=format_cost,
            format_guidance=format_guidance,
        )


def _find_amount(given: Form) -> str:
    amount = given.get("max_usd", DEFAULT_AMOUNT)
    if amount not in AMOUNTS:
        return DEFAULT_AMOUNT
    return amount


def _digest(plan: Plan) -> str:
    """Identify the first question. The form sends it with the button that says what it costs."""
    return digest_request(plan.draft).hex()
