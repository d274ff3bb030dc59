"""`make eval`: ask the configured Claude about the golden cases, and print what it found, missed
and invented.

Exit codes: 0 done; 1 stopped before the end, with partial results; 2 usage error, or unusable
settings, prompts, cases or files.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path

import typer

from hls_handler.analysis import RenderedPrompt, UnusableReply, Usage, sum_usage
from hls_handler.claude.provider import with_price
from hls_handler.claude.providers import connect_claude
from hls_handler.cli.options import load, require_claude_key
from hls_handler.cli.terminal import print_line, print_lines
from hls_handler.engine.library import load_checked
from hls_handler.errors import HlsError
from hls_handler.handlers.job import VERIFY_PROMPT
from hls_handler.prompting.prompt import Library
from hls_handler.settings.model import Settings
from hls_handler.wording import add_usd, count
from tests.golden import report
from tests.golden.asking import Meter, ask_about, judge_prompt, refuse
from tests.golden.cases import Case, CaseError, PullRequestCase, load_cases, to_sentence
from tests.golden.scoring import find_candidates, score

OUTPUT = Path("data/eval.json")
NO_CLAUDE = "ask the sandbox by claude.base_url"


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Asks about cases, and lets the model `judge` decide which findings describe a defect."""

    settings: Settings
    library: Library
    claude: Meter
    judge: str | None = None

    def render(self, case: Case) -> Sequence[RenderedPrompt]:
        """Return the prompts that are known before Claude is asked: the first ones, or those of the
        second look.
        """
        return ask_about(case, self.settings, self.library, refuse).prompts

    def estimate_usd(self, case: Case) -> float | None:
        """Return what the calls about a case may cost, and the judge's; None if a price is unknown.

        All of `max_tokens` and a margin on the prompts are assumed, so that the true cost is lower.
        """
        prompts = [*self.render(case)]
        is_review = isinstance(case, PullRequestCase) and case.reported is None
        if is_review and VERIFY_PROMPT in self.library.prompts:
            prompts.append(prompts[0])  # a second look shows less than the first prompt
        most = sum_usage(map(self.claude.upper_estimate, prompts))
        if self.judge is None or not isinstance(case, PullRequestCase) or not case.defects:
            return most.cost_usd
        judged = self.claude.upper_estimate(judge_prompt(case, (), self.judge))
        # The judge reads the findings, which are a part of the reply.
        judged = replace(judged, cache_write_tokens=judged.cache_write_tokens + most.output_tokens)
        return add_usd([most.cost_usd, with_price(judged, self.settings.claude).cost_usd])

    def evaluate(self, case: Case) -> report.CaseResult:
        """Ask about a case and score the reply.

        Raises `CaseError`, and the error that ends the evaluation.
        """
        outcome = ask_about(case, self.settings, self.library, self.claude)
        if self.claude.error is not None:
            raise self.claude.error
        problem = outcome.reason if outcome.reply is None else ""
        if self.judge is not None and find_candidates(case, outcome):
            assert isinstance(case, PullRequestCase)  # the others have no candidates
            question = judge_prompt(case, outcome.findings, self.judge)
            answer = self.claude(question, None)
            outcome = outcome.with_answer(question, answer)
            if isinstance(answer, UnusableReply):
                problem = f"of the judge: {answer.problem}"
        usages = [answer.usage for answer in outcome.answers]
        used = sum_usage([Usage("", cost_usd=0.0), *usages])
        return report.CaseResult(
            name=case.name,
            kind=case.kind,
            score=score(case, outcome),
            problem=problem,
            prompts=tuple(dict.fromkeys(rendered.prompt.id for rendered in outcome.prompts)),
            models=tuple(dict.fromkeys(usage.model for usage in usages)),
            input_tokens=used.all_input_tokens,
            output_tokens=used.output_tokens,
            cost_usd=used.cost_usd,
        )


def main(
    arguments: Sequence[str], *, load_prompts: Callable[[Settings], Library] = load_checked
) -> int:
    try:
        return _run(_parse(arguments), load_prompts)
    except CaseError as exc:
        problems = exc.problems
    except (HlsError, OSError) as exc:
        problems = (to_sentence(exc),)
    for problem in problems:
        print_line(problem, err=True)
    return 2


def _run(options: argparse.Namespace, load_prompts: Callable[[Settings], Library]) -> int:
    cases = [
        case
        for case in load_cases()
        if any(fnmatch(case.name, pattern) for pattern in options.cases)
    ]
    if not cases:
        raise CaseError([f"no case matches {' '.join(options.cases)}"])
    earlier = report.load(options.compare) if options.compare else None
    settings = load(options.config, credentials=False)
    require_claude_key(settings, alternative=NO_CLAUDE)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    with connect_claude(settings.claude) as client:
        claude = Meter(client, options.max_usd, time.sleep)
        evaluator = Evaluator(settings, load_prompts(settings), claude, options.judge)
        if options.render:
            number = write_prompts(evaluator, cases, options.render)
            print_line(f"{count(number, 'prompt')} written to {options.render}")
            return 0
        estimate = add_usd(list(map(evaluator.estimate_usd, cases)))
        cost = "unknown" if estimate is None else f"at most {estimate * options.runs:.4f} USD"
        numbers = f"{count(len(cases), 'case')}, {count(options.runs, 'run')}"
        print_line(f"{numbers}; estimated cost: {cost}")
        if options.estimate:
            return 0
        evaluation = evaluate_runs(evaluator, cases, options.runs, began=began, show=print_line)
    print_lines(report.format_evaluation(evaluation, earlier))
    report.save(evaluation, options.output)
    print_line(f"written to {options.output}")
    return 1 if evaluation.stopped else 0


def write_prompts(evaluator: Evaluator, cases: Sequence[Case], directory: Path) -> int:
    """Write the prompts that are known before Claude is asked, one a file; return their number."""
    directory.mkdir(parents=True, exist_ok=True)
    number = 0
    for case in cases:
        for index, rendered in enumerate(evaluator.render(case), 1):
            schema = json.dumps(rendered.schema, indent=1)
            text = f"{rendered.system}\n\n{rendered.task}\n\n{schema}\n"
            (directory / f"{case.name}-{index}.txt").write_text(text, encoding="utf-8")
            number += 1
    return number


def evaluate_runs(
    evaluator: Evaluator,
    cases: Sequence[Case],
    times: int,
    *,
    began: str,
    show: Callable[[str], None],
) -> report.Evaluation:
    """Ask about all cases so many times, or until an error ends the evaluation."""
    runs: list[report.Run] = []
    stopped = ""
    for number in range(1, times + 1):
        results: list[report.CaseResult] = []
        try:
            for case in cases:
                results.append(evaluator.evaluate(case))
                figures = results[-1].score
                show(
                    f"run {number}, {len(results)} of {len(cases)}: {case.name}:"
                    f" found {len(figures.found)}, missed {len(figures.missed)},"
                    f" invented {len(figures.invented)}"
                )
        except (HlsError, KeyboardInterrupt) as exc:
            why = "interrupted" if isinstance(exc, KeyboardInterrupt) else to_sentence(exc)
            # also for the case that was not finished
            spent = f"spent in all: {evaluator.claude.spent_usd:.4f} USD"
            done = f"run {number} stopped after {len(results)} of {count(len(cases), 'case')}"
            stopped = f"{done}: {why}; {spent}"
        if results:
            runs.append(tuple(results))
        if stopped:
            break
    return report.Evaluation(began, evaluator.judge, tuple(runs), stopped)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make eval", description=__doc__)
    add = parser.add_argument
    add("--runs", type=_positive, default=5, help="ask about each case so many times (5)")
    add("--cases", nargs="+", default=["*"], metavar="GLOB", help="names of cases: 'python-*'")
    add("--judge", metavar="MODEL", help="model that decides which findings describe a defect")
    add("--max-usd", type=float, help="begin no call that could exceed this cost of all calls")
    add("--render", type=Path, metavar="DIR", help="write the prompts there and ask nothing")
    add("--estimate", action="store_true", help="print the estimated cost and ask nothing")
    add("--output", type=Path, default=OUTPUT, help=f"file for the results ({OUTPUT})")
    add("--compare", type=Path, metavar="FILE", help="earlier results to compare with")
    add("--config", type=Path, metavar="PATH", help="settings file")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


if __name__ == "__main__":
    logging.disable()  # the service's log of each case
    try:
        sys.exit(main(sys.argv[1:]))
    except typer.Exit as exc:  # of the functions that the commands use
        sys.exit(exc.exit_code)
