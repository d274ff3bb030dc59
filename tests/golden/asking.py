"""Asks Claude about the golden cases, within a budget, and lets a second model judge the findings.

Prompts, client, validation and the correction of an invalid reply are the service's own. No reply
is stored or reused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field

from hls_handler.analysis import (
    Finding,
    FindingVerdicts,
    IssueAnalysis,
    PullRequestAnalysis,
    ReplyFields,
    WorkflowAnalysis,
)
from hls_handler.claude.prices import with_price
from hls_handler.claude.provider import Provider
from hls_handler.claude.providers import Providers, T
from hls_handler.engine.recording_job import RecordingJob
from hls_handler.errors import DependencyDown, ModelNotFound, Permanent
from hls_handler.github.client import ReadOnlyGithub
from hls_handler.handlers.asking import VERIFY_PROMPT
from hls_handler.handlers.job import FactSource
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.pull_requests import ask_review
from hls_handler.prompting.prompt import Library
from hls_handler.question import Prompt, RenderedPrompt
from hls_handler.replies import Reply, UnusableReply, Usage, sum_usage
from hls_handler.review.positions import Located
from hls_handler.settings.model import Settings
from hls_handler.trials.sender import Sender
from hls_handler.trials.trial import Trial
from hls_handler.wording import add_usd
from tests.golden.cases import (
    Case,
    CaseError,
    IssueCase,
    Kind,
    PullRequestCase,
    WorkflowCase,
    to_sentence,
)
from tests.golden.questions import to_question
from tests.golden.scoring import (
    Match,
    Score,
    expected_of,
    find_candidates,
    find_matches,
    find_posted,
    score_issue,
    score_look,
    score_review,
    score_workflow,
)

DELIMITER_KEY = b"golden"
"""Key of the delimiters of untrusted text. The same in all runs, so that equal cases give equal
requests.
"""

PAUSES_S = (5.0, 20.0, 60.0)
"""Pauses before Claude is asked again after it was unavailable."""


class OverBudget(Exception):
    """The next call could exceed --max-usd."""


@dataclass(slots=True)
class MeteredClaude(Providers):
    """A Claude that is asked again after outages, and does not begin a call that could exceed
    `max_usd`.
    """

    claude: Providers
    max_usd: float | None
    pause: Callable[[float], object]  # seconds
    spent_usd: float = 0.0

    def answer(self, model: str | None, ask: Callable[[Provider], T], *, delivery: str = "") -> T:
        return ask(cast(Provider, self))

    def find_outage(self) -> DependencyDown | None:
        return None

    def upper_estimate(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> Usage:
        return self.claude.answer(
            rendered.prompt.model,
            lambda provider: provider.upper_estimate(rendered, correction=correction),
        )

    def ask(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> Reply | UnusableReply:
        """Raises `OverBudget`, and `StepFailed` if Claude is still unavailable after three
        pauses.
        """
        self._check_budget(self.upper_estimate(rendered, correction=correction))
        for pause_s in (*PAUSES_S, None):
            try:
                answer = self.claude.answer(
                    rendered.prompt.model,
                    lambda provider: provider.ask(rendered, correction=correction),
                )
            except DependencyDown as exc:
                if pause_s is None or isinstance(exc, ModelNotFound):
                    raise
                self.pause(pause_s)
            else:
                self.spent_usd += answer.usage.cost_usd or 0.0
                return answer
        raise AssertionError("the last attempt returns or raises")

    def _check_budget(self, estimate: Usage) -> None:
        if self.max_usd is None:
            return
        next_usd = estimate.cost_usd or 0.0
        if self.spent_usd + next_usd > self.max_usd:
            left = self.max_usd - self.spent_usd
            raise OverBudget(
                f"the next call may cost {next_usd:.4f} USD, and {left:.4f} USD are left"
            )


class _Pair(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    defect: int = Field(description="The number of the defect.")
    finding: int = Field(description="The number of the finding that describes it.")


class Judgement(ReplyFields):
    """Which findings describe which known defect."""

    matches: list[_Pair] = Field(max_length=500)


JUDGE_FILE = Path(__file__).with_name("judge.md")
JUDGE_TOKENS = 4_000


def judge_prompt(case: PullRequestCase, findings: Sequence[Located], model: str) -> RenderedPrompt:
    """Return the question whether findings describe planted defects. Texts are JSON strings, so
    none can end early.
    """
    system = JUDGE_FILE.read_text(encoding="utf-8").strip()
    digest = sha256(system.encode()).hexdigest()[:6]
    prompt = Prompt(
        name="golden/judge",
        id=f"golden/judge@{digest}",
        path=JUDGE_FILE.name,
        on=(),
        reply="generic_analysis",
        reply_model=Judgement,
        model=model,
        max_tokens=JUDGE_TOKENS,
        effort=None,
        then=None,
    )
    shown = {
        "defects": [
            {
                "number": number,
                "about": defect.about,
                "places": [
                    f"{place.path}:{place.start_line or place.line}-{place.line}"
                    for place in defect.places
                ],
            }
            for number, defect in enumerate(case.defects)
        ],
        "findings": [
            {
                "number": index,
                "path": one.finding.path,
                "line": None if one.line is None else one.finding.line,
                "title": one.finding.title,
                "body": one.finding.body,
            }
            for index, one in enumerate(findings)
        ],
    }
    return RenderedPrompt(
        prompt, system, json.dumps(shown, indent=1), Judgement.model_json_schema()
    )


@dataclass(frozen=True, slots=True)
class Question:
    """A case as the service would ask about it."""

    case: Case
    trial: Trial
    without_excerpts: bool = False  # other places of the repository are left out

    def render_requests(self, source: FactSource | None = None) -> tuple[RenderedPrompt, ...]:
        """Return the requests that are known before Claude is asked: of the first prompt, or of the
        second look, with what a reply asks to see of the source.
        """
        if self.review is None:
            return self.trial.render_requests()
        rendered_prompts: list[RenderedPrompt] = []

        def collect(rendered: RenderedPrompt) -> Reply:
            rendered_prompts.append(rendered)
            verdicts = FindingVerdicts(verdicts=[])
            return Reply(rendered.prompt.id, "finding_verdicts", verdicts, Usage(""))

        job = self.make_job(collect)
        job.source = source
        job.run(self.trial.source.handler)
        return tuple(rendered_prompts)

    @property
    def review(self) -> PullRequestAnalysis | None:
        """The reply of the review if the case gives it."""
        if not isinstance(self.case, PullRequestCase) or self.case.reported is None:
            return None
        return PullRequestAnalysis(
            type="feature",
            summary=self.case.title,
            earlier=[],
            findings=[self.case.reported],
            suggested_labels=[],
        )

    def make_job(self, send: Callable[[RenderedPrompt], Reply]) -> RecordingJob:
        """Return the job that asks about the case. The review of a golden finding is not sent: its
        reply is given.
        """
        reply = self.review
        if reply is None:
            return self.trial.make_job(send)

        def send_look(rendered: RenderedPrompt) -> Reply:
            if rendered.prompt.name == VERIFY_PROMPT:
                return send(rendered)
            return Reply(
                rendered.prompt.id, "pull_request_analysis", reply, Usage("", cost_usd=0.0)
            )

        return self.trial.make_job(send_look)

    def ask(self, send: Callable[[RenderedPrompt], Reply]) -> AskedCase:
        source = self.trial.source
        job = self.make_job(send)
        if isinstance(source.facts, PullRequestFacts):
            review = ask_review(job, source.facts)
            return AskedCase(review.facts, review.replies.all[0])
        return AskedCase(source.facts, job.run(source.handler).all[0])


@dataclass(frozen=True, slots=True)
class AskedCase:
    """What a case was scored by: the facts with what Claude decided, and the first reply."""

    facts: Any
    reply: Reply


@dataclass(frozen=True, slots=True)
class CaseResult:
    name: str
    kind: Kind
    score: Score
    problem: str | None  # why there is no usable reply; None if there is one
    prompts: tuple[str, ...]  # ids of the prompts that were asked, the judge's included
    models: tuple[str, ...]  # that replied, without repetitions
    input_tokens: int  # with those of the prompt cache
    output_tokens: int
    cost_usd: float | None  # None if the price of a model is unknown
    without_excerpts: bool = False


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Asks about cases. `model` replaces the model of every prompt; `judge` is the judge's
    model.
    """

    settings: Settings
    library: Library
    claude: MeteredClaude
    github: ReadOnlyGithub | None = None  # from which pull requests of public sets are read
    # folder -> prompt: {"issues": "issues/strict"}
    prompts: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    judge: str | None = None

    def read(self, case: Case) -> tuple[Question, ...]:
        """Read what the service would show Claude about a case, once for all runs.

        A case that needs other places of the repository is a second question without them. Raises
        `HlsError`, and `CaseError` if no prompt is used for the event.
        """
        source, name = to_question(case, self.settings, self.library, self.prompts, self.github)
        trial, facts = Trial(source, self.library, name, DELIMITER_KEY), source.facts
        if not isinstance(case, PullRequestCase) or not case.needs:
            return (Question(case, trial),)
        bare = replace(facts, selection=replace(facts.selection, second_sites=()))
        other = replace(trial, source=replace(source, facts=bare))
        return Question(case, trial), Question(case, other, without_excerpts=True)

    def estimate_usd(self, question: Question) -> float | None:
        """Return what the calls about a case may cost, and the judge's; None if a price is unknown.

        All of `max_tokens` and a margin on the prompts are assumed, so that the true cost is lower.
        """
        case, upper_estimate = question.case, self.claude.upper_estimate
        parts = [self._with_model(one) for one in question.render_requests()]
        # The verification shows parts of the patches, with a system prompt that is shorter than the
        # first one.
        is_review = isinstance(case, PullRequestCase) and question.review is None
        is_verified = is_review and VERIFY_PROMPT in self.library.prompts
        asked = [*parts, parts[0]] if is_verified else parts
        most = sum_usage(map(upper_estimate, asked))
        if self.judge is None or not isinstance(case, PullRequestCase) or not case.defects:
            return most.cost_usd
        judged = upper_estimate(judge_prompt(case, (), self.judge))
        # The judge reads the findings, which are a part of the reply.
        judged = replace(judged, cache_write_tokens=judged.cache_write_tokens + most.output_tokens)
        return add_usd([most.cost_usd, with_price(judged, self.settings.claude).cost_usd])

    def evaluate(self, question: Question) -> CaseResult:
        """Ask about a case and score the reply.

        Raises `OverBudget`, `StepFailed`, and `CaseError` for a prompt whose reply type cannot be
        scored.
        """
        case, sender, problem = question.case, Sender(self.claude), None

        def send(rendered: RenderedPrompt) -> Reply:
            return sender.send(self._with_model(rendered))

        try:
            asked = question.ask(send)
            # The first prompt has what the case expects; those that follow it have other reply
            # types.
            score = self._score(case, asked.facts, asked.reply, sender)
        except Permanent as exc:
            problem, score = to_sentence(exc), Score((), expected_of(case), ())
        used = sum_usage([Usage("", cost_usd=0.0), *sender.usages])
        return CaseResult(
            name=case.name,
            kind=case.kind,
            score=score,
            problem=problem,
            prompts=tuple(dict.fromkeys(one.rendered.prompt.id for one in sender.questions)),
            models=tuple(dict.fromkeys(one.model for one in sender.usages)),
            input_tokens=used.all_input_tokens,
            output_tokens=used.output_tokens,
            cost_usd=used.cost_usd,
            without_excerpts=question.without_excerpts,
        )

    def _with_model(self, rendered: RenderedPrompt) -> RenderedPrompt:
        return (
            rendered
            if self.model is None
            else replace(rendered, prompt=replace(rendered.prompt, model=self.model))
        )

    def _score(self, case: Case, facts: Any, answer: Reply, sender: Sender) -> Score:
        reply = answer.fields
        match case, reply:
            case PullRequestCase(reported=Finding()), PullRequestAnalysis():
                return score_look(case, facts)
            case PullRequestCase(), PullRequestAnalysis():
                posted = find_posted(reply, facts)
                if self.judge is None:
                    matches = find_matches(case, posted.findings)
                else:
                    matches = self._judge(case, posted.findings, sender)
                return score_review(case, posted, matches)
            case IssueCase(), IssueAnalysis():
                return score_issue(case, reply)
            case WorkflowCase(), WorkflowAnalysis():
                return score_workflow(case, reply, facts)
            case _:
                name = answer.prompt_id.partition("@")[0]
                raise CaseError(
                    [f"the replies of {name} ({type(reply).__name__}) cannot be scored"]
                )

    def _judge(
        self, case: PullRequestCase, findings: Sequence[Located], sender: Sender
    ) -> frozenset[Match]:
        candidates = find_candidates(case, findings)
        if not candidates:
            return frozenset()
        assert self.judge is not None
        reply = sender.send(judge_prompt(case, findings, self.judge)).fields
        assert isinstance(reply, Judgement)
        return candidates & {(pair.defect, pair.finding) for pair in reply.matches}
