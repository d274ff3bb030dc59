"""Lets a golden case happen in a conversation with the sandbox's GitHub, and asks the configured
Claude within a budget. A second model can judge the findings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hls_handler.analysis import (
    Finding,
    Prompt,
    PullRequestAnalysis,
    RenderedPrompt,
    Reply,
    ReplyFields,
    UnusableReply,
    Usage,
)
from hls_handler.claude.providers import Providers
from hls_handler.db.tables import secrets
from hls_handler.engine.asking import PROMPT_SECRET
from hls_handler.errors import BudgetExceeded, DependencyDown, ModelNotFound, Retryable
from hls_handler.handlers.job import VERIFY_PROMPT
from hls_handler.prompting.prompt import Library
from hls_handler.review.record import LedgerEntry, ReviewRecord
from hls_handler.settings.model import BudgetsSettings, Features, Limits, Settings
from hls_handler.settings.providers import Retrieval
from hls_sandbox.objects import Job
from tests.engine.claude import Answer, FakeClaude
from tests.engine.stand_in import file_document
from tests.engine.world import open_world
from tests.golden.cases import Case, CaseError, IssueCase, PullRequestCase, WorkflowCase
from tests.handlers.conversation import HEAD, Home, Talk, changed_file, job, open_home, person
from tests.handlers.events import START
from tests.handlers.world import HLS

PAUSES_S = (5.0, 20.0, 60.0)
"""Pauses before Claude is asked again after it was unavailable."""


@dataclass(slots=True)
class Meter:
    """A function that asks Claude. It asks again after outages, and begins no call that could
    exceed `max_usd`. Its error, after which it asks nothing, ends the evaluation.
    """

    claude: Providers
    max_usd: float | None
    pause: Callable[[float], object]  # seconds
    spent_usd: float = 0.0
    error: BudgetExceeded | Retryable | None = None

    def __call__(
        self, rendered: RenderedPrompt, correction: UnusableReply | None
    ) -> Reply | UnusableReply:
        """Raises `BudgetExceeded`, and `DependencyDown` if Claude is still unavailable after three
        pauses.
        """
        try:
            if self.error is not None:
                raise self.error
            self._check_budget(self.upper_estimate(rendered, correction).cost_usd or 0.0)
            answer = self._ask(rendered, correction)
        except (BudgetExceeded, Retryable) as exc:
            self.error = exc
            raise
        self.spent_usd += answer.usage.cost_usd or 0.0
        return answer

    def upper_estimate(
        self, rendered: RenderedPrompt, correction: UnusableReply | None = None
    ) -> Usage:
        provider = self.claude.chain(rendered.prompt.model).next()
        return provider.upper_estimate(rendered, correction=correction)

    def _ask(
        self, rendered: RenderedPrompt, correction: UnusableReply | None
    ) -> Reply | UnusableReply:
        for pause_s in (*PAUSES_S, None):
            try:
                return self.claude.answer(rendered, correction=correction)
            except DependencyDown as exc:
                if pause_s is None or isinstance(exc, ModelNotFound):
                    raise
                self.pause(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _check_budget(self, next_usd: float) -> None:
        if self.max_usd is not None and self.spent_usd + next_usd > self.max_usd:
            left = self.max_usd - self.spent_usd
            raise BudgetExceeded(
                f"the next call may cost {next_usd:.4f} USD, and {left:.4f} USD are left"
            )


@dataclass
class CaseClaude(FakeClaude):
    """Keeps the answers about a case. If the case gives the finding of the review, only the second
    look is asked.
    """

    reported: Finding | None = None
    prompts: list[RenderedPrompt] = field(default_factory=list)
    answers: list[Reply | UnusableReply] = field(default_factory=list)

    def ask(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> Reply | UnusableReply:
        if self.reported is not None and rendered.prompt.name != VERIFY_PROMPT:
            findings = [self.reported]
            review = PullRequestAnalysis(
                type="feature", summary="", earlier=[], findings=findings, suggested_labels=[]
            )
            return Reply(rendered.prompt.id, rendered.prompt.reply, review, Usage(""))
        self.prompts.append(rendered)
        answer = super().ask(rendered, correction=correction)
        self.answers.append(answer)
        return answer


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the service asked about a case, and what it stored of the replies."""

    prompts: tuple[RenderedPrompt, ...]
    answers: tuple[Reply | UnusableReply, ...]  # fewer than prompts if a call failed
    reason: str  # how the delivery ended
    review: ReviewRecord  # of an issue or a workflow: an empty one
    ranges: Mapping[int, int]  # comment on several lines -> the first one

    @property
    def reply(self) -> ReplyFields | None:
        """The first usable reply."""
        replies = [answer.fields for answer in self.answers if isinstance(answer, Reply)]
        return replies[0] if replies else None

    @property
    def findings(self) -> Sequence[LedgerEntry]:
        return self.review.ledger

    def with_answer(self, rendered: RenderedPrompt, answer: Reply | UnusableReply) -> Outcome:
        prompts, answers = (*self.prompts, rendered), (*self.answers, answer)
        return replace(self, prompts=prompts, answers=answers)


Ask = Callable[[RenderedPrompt, UnusableReply | None], Answer]


def refuse(_rendered: RenderedPrompt, _correction: UnusableReply | None) -> UnusableReply:
    """The reply to prompts that are only rendered."""
    return UnusableReply("", "refused", "nothing is asked", "", Usage(""))


def ask_about(case: Case, given: Settings, library: Library, ask: Ask) -> Outcome:
    """Let a case happen, and return what the service makes of it. Raises `CaseError` if it asks
    nothing.
    """

    def answer(rendered: RenderedPrompt) -> Answer:
        return ask(rendered, claude.corrections[-1])

    reported = case.reported if isinstance(case, PullRequestCase) else None
    claude = CaseClaude(answer, reported=reported)
    with open_world(replies=claude, given=_to_settings(case, given)) as world:
        world.prompts = library
        with world.store.database.writing() as connection:  # equal cases give equal prompts
            connection.execute(secrets.insert().values(name=PROMPT_SECRET, value=b"golden"))
        home = open_home(world)
        number = _let_happen(case, home)
        reason = f"{world.row(f'{home.deliveries}').reason}"
        if not claude.prompts:
            raise CaseError([f"{case.name}: Claude was not asked:\n{home.why}"])
        history = world.store.repositories.history(home.repository["id"], HLS.login)
        comments = [comment for _, comment in Talk(home, number).now.review_comments()]
        review = history.review(number)
    ranges = {one["id"]: one["start_line"] for one in comments if one.get("start_line")}
    return Outcome(tuple(claude.prompts), tuple(claude.answers), reason, review, ranges)


def _to_settings(case: Case, given: Settings) -> Settings:
    """Return the settings without what keeps the service from asking about a case or from posting,
    such as the dry run.
    """
    review = given.review.model_copy(update={"when": "push"})
    if isinstance(case, PullRequestCase) and case.reported:  # every finding is asked about
        changes = {"verify": True, "check": True, "fail_on": "low"}
        review = review.model_copy(update=changes)
    has_documents = isinstance(case, IssueCase) and bool(case.documents)
    plain = {
        "budgets": BudgetsSettings(),
        "features": Features(repository_settings=False),
        "limits": Limits(),
        "retrieval": Retrieval(enabled=has_documents),
    }
    return given.model_copy(update={"review": review, **plain})


def _let_happen(case: Case, home: Home) -> int:
    """Return the number of the issue or pull request."""
    match case:
        case PullRequestCase():
            sha = home.client.commit(case.repository) if case.repository else HEAD
            pull = home.open_pull_request(
                title=case.title,
                body=case.description,
                files=[file_document(file) for file in case.files],
                head={"sha": sha, "ref": "fix", "label": "mona:fix", "user": person("mona")},
            )
            pull.act("opened")
            return pull.number
        case IssueCase():
            texts: dict[str, str] = {}
            for section in case.documents:
                headings = enumerate(section.title.split(" > "), 1)
                lines = [f"{'#' * level} {heading}" for level, heading in headings]
                texts[section.path] = "\n\n".join([*lines, section.text])
            home.client.commit(texts, branch="main")
            known: dict[str, Any] = {"title": case.title, "body": case.body}
            return home.open_issue(author_association="NONE", **known).number
        case WorkflowCase():
            files = [changed_file(path, patch=None) for path in case.changed]
            pull = home.open_pull_request(files=files)
            home.end_run(_to_job(case), name=case.workflow)
            return pull.number


STEP_S = 10
"""Each step of a case begins so many seconds after the last one; its log lines are 1 ms apart."""


def _to_job(case: WorkflowCase) -> Job:
    steps: list[dict[str, object]] = []
    lines: list[str] = []
    for number, (name, texts) in enumerate(case.log, start=1):
        began = START + timedelta(seconds=STEP_S * number)
        conclusion = "failure" if name == case.failed else "success"
        ended = began + timedelta(seconds=STEP_S - 1)
        times = {"started_at": began.isoformat(), "completed_at": ended.isoformat()}
        steps.append({"number": number, "name": name, "conclusion": conclusion, **times})
        for index, text in enumerate(texts):
            lines.append(f"{began + timedelta(milliseconds=index):%Y-%m-%dT%H:%M:%S.%f}0Z {text}")
    return job(case.workflow, "\n".join(lines), steps=steps)


class _Pair(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    defect: int = Field(description="The number of the defect.")
    finding: int = Field(description="The number of the finding that describes it.")


class Judgement(ReplyFields):
    """Which findings describe which known defect."""

    matches: list[_Pair] = Field(max_length=500)


JUDGE_FILE = Path(__file__).with_name("judge.md")
JUDGE_TOKENS = 4_000


def judge_prompt(
    case: PullRequestCase, findings: Sequence[LedgerEntry], model: str
) -> RenderedPrompt:
    """Return the question whether findings describe planted defects. Texts are JSON strings, so
    none can end early.
    """
    system = JUDGE_FILE.read_text(encoding="utf-8").strip()
    prompt = Prompt(
        name="golden/judge",
        id=f"golden/judge@{sha256(system.encode()).hexdigest()[:6]}",
        path=JUDGE_FILE.name,
        on=(),
        reply="generic_analysis",
        reply_model=Judgement,
        model=model,
        max_tokens=JUDGE_TOKENS,
        effort=None,
        then=None,
    )
    defects = [
        {
            "number": number,
            "about": defect.about,
            "places": [f"{place.path}:{place.line}" for place in defect.places],
        }
        for number, defect in enumerate(case.defects)
    ]
    reported = [
        {
            "number": number,
            "path": finding.path,
            "line": finding.line,
            "title": finding.title,
            "body": finding.body,
        }
        for number, finding in enumerate(findings)
    ]
    task = json.dumps({"defects": defects, "findings": reported}, indent=1)
    return RenderedPrompt(prompt, system, task, Judgement.model_json_schema())
