"""`make eval`: ask the configured Claude about the golden cases, and print what it found, missed
and invented.

Exit codes: 0 done; 1 stopped before the end, with partial results; 2 usage error, or unusable
settings, prompts, cases or files.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path

import typer

from hls_handler.claude.providers import connect_claude
from hls_handler.cli.options import lacks_github_token, load, require_claude_key, utc_now
from hls_handler.cli.prompt_library import get_prompt
from hls_handler.cli.terminal import print_line, print_lines
from hls_handler.engine.library import load_checked
from hls_handler.errors import DependencyDown, HlsError
from hls_handler.git.mirror import Mirrors
from hls_handler.github.client import connect_read_only
from hls_handler.prompting.prompt import Library
from hls_handler.settings.model import Settings
from hls_handler.wording import add_usd, count
from tests.golden import report
from tests.golden.asking import CaseResult, Evaluator, MeteredClaude, OverBudget, Question
from tests.golden.cases import Case, CaseError, PullRequestCase, load_cases, to_sentence
from tests.golden.public_sets import PROFILES, PublicSet, load_martian, load_reviewbench

OUTPUT = Path("data/eval.json")
NO_CLAUDE = "ask the sandbox by claude.base_url"


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
    names, cases = _select(options)
    earlier = report.load(options.compare) if options.compare else None
    settings = load(options.config, credentials=False)
    require_claude_key(settings, alternative=NO_CLAUDE)
    if any(
        isinstance(case, PullRequestCase) and case.public for case in cases
    ) and lacks_github_token(settings):
        raise CaseError(
            [
                (
                    "public sets need github.token, because the service reads their pull requests from"
                    " GitHub"
                )
            ]
        )
    library = load_prompts(settings)
    prompts = {get_prompt(library, name).name.partition("/")[0]: name for name in options.prompt}
    mirrors = Mirrors(lambda: settings.mirror)
    anonymous = lacks_github_token(settings)
    with (
        connect_claude(settings.claude) as client,
        closing(
            connect_read_only(settings.github, now=utc_now, anonymous=anonymous, mirrors=mirrors)
        ) as github,
    ):
        claude = MeteredClaude(client, options.max_usd, time.sleep)
        evaluator = Evaluator(
            settings, library, claude, github, prompts, options.model, options.judge
        )
        questions = read_questions(evaluator, cases, show=print_line)
        estimate = add_usd([evaluator.estimate_usd(question) for question in questions])
        shown = "unknown" if estimate is None else f"at most {estimate * options.runs:.4f} USD"
        print_line(
            f"{count(len(questions), 'question')}, {count(options.runs, 'run')}; estimated cost:"
            f" {shown}"
        )
        if options.render:
            print_line(
                f"{count(write_prompts(questions, options.render), 'prompt')} written to"
                f" {options.render}"
            )
        if options.estimate or options.render:
            return 0
        runs, stopped = evaluate_runs(evaluator, questions, options.runs, show=print_line)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    evaluation = report.Evaluation(began, names, options.judge, runs, stopped)
    print_lines(format_evaluation(evaluation, earlier))
    report.save(evaluation, options.output)
    print_line(f"written to {options.output}")
    return 0 if stopped is None else 1


def read_questions(
    evaluator: Evaluator, cases: Sequence[Case], *, show: Callable[[str], None]
) -> tuple[Question, ...]:
    """Return the questions about all cases. Pull requests that cannot be read from GitHub are left
    out.
    """
    questions: list[Question] = []
    for case in cases:
        public = case.public if isinstance(case, PullRequestCase) else None
        try:
            read = evaluator.read(case)
        except HlsError as exc:
            if public is None or isinstance(exc, DependencyDown):
                raise
            show(f"{case.name}: left out: {to_sentence(exc)}")
            continue
        questions += read
        facts = read[0].trial.source.facts
        if public is not None and (problem := facts.context_problem or facts.selection.unsearched):
            show(f"{case.name}: without its repository: {problem}")
    return tuple(questions)


def write_prompts(questions: Sequence[Question], directory: Path) -> int:
    """Write the prompts that are known before Claude is asked, one a file; return their number."""
    directory.mkdir(parents=True, exist_ok=True)
    number = 0
    for question in questions:
        for index, one in enumerate(question.render_requests(), 1):
            name = f"{question.case.name}{'-without-excerpts' if question.without_excerpts else ''}-{index}.txt"
            text = f"{one.system}\n\n{one.task}\n\n{json.dumps(one.schema, indent=1)}\n"
            (directory / name).write_text(text, encoding="utf-8")
            number += 1
    return number


def evaluate_runs(
    evaluator: Evaluator, questions: Sequence[Question], times: int, *, show: Callable[[str], None]
) -> tuple[tuple[report.Run, ...], str | None]:
    """Ask all questions so many times. Return the runs, and why the last one is incomplete (None if
    it is not).
    """
    runs: list[report.Run] = []
    for number in range(1, times + 1):
        results: list[CaseResult] = []
        try:
            for question in questions:
                results.append(evaluator.evaluate(question))
                score = results[-1].score
                figures = (
                    f"found {len(score.found)}, missed {len(score.missed)}, invented"
                    f" {len(score.invented)}"
                )
                name = f"{question.case.name}{' without excerpts' if question.without_excerpts else ''}"
                show(f"run {number}, {len(results)} of {len(questions)}: {name}: {figures}")
        except (OverBudget, HlsError, KeyboardInterrupt) as exc:
            done = (
                f"run {number} stopped after {len(results)} of {count(len(questions), 'question')}"
            )
            # also for the case that was not finished
            spent = f"spent in all: {evaluator.claude.spent_usd:.4f} USD"
            why = "interrupted" if isinstance(exc, KeyboardInterrupt) else to_sentence(exc)
            return (*runs, *([tuple(results)] if results else [])), f"{done}: {why}; {spent}"
        runs.append(tuple(results))
    return tuple(runs), None


def format_evaluation(
    evaluation: report.Evaluation, earlier: report.Evaluation | None = None
) -> str:
    """Return everything that is printed after the last call."""
    results = [result for run in evaluation.runs for result in run]
    prompts = dict.fromkeys(prompt for result in results for prompt in result.prompts)
    models = dict.fromkeys(model for result in results for model in result.models)
    header = [
        f"sets: {', '.join(evaluation.sets)}",
        f"prompts: {', '.join(prompts)}",
        f"models: {', '.join(models)}",
        f"judge: {evaluation.judge or 'none (matched by file, lines and category)'}",
    ]
    shown = report.select(evaluation)
    parts = [
        report.format_details(shown),
        "\n".join(header),
        report.format_table(shown),
        report.format_excerpts(evaluation),
        report.format_calibration(shown),
        "" if evaluation.stopped is None else f"STOPPED: {evaluation.stopped}",
        "" if earlier is None else report.format_comparison(earlier, evaluation),
    ]
    return "\n\n".join(part for part in parts if part)


def _select(options: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Case, ...]]:
    """Return the names of the sets, and the cases that match --cases. Raises `CaseError`."""
    names: tuple[str, ...] = ("golden",)
    if not options.set:
        cases = load_cases()
    else:
        sets = [_load_set(text, options) for text in options.set]
        for one in sets:
            if one.without_diff:
                left_out = (
                    f"{count(len(one.without_diff), 'case')} left out, because there is no diff"
                )
                print_line(f"{one.name}: {left_out}: {', '.join(one.without_diff)}", err=True)
        names = tuple(one.name for one in sets)
        cases = tuple(case for one in sets for case in one.cases)
    chosen = tuple(
        case for case in cases if any(fnmatch(case.name, pattern) for pattern in options.cases)
    )
    if not chosen:
        raise CaseError([f"no case matches {' '.join(options.cases)}"])
    return names, chosen


def _load_set(text: str, options: argparse.Namespace) -> PublicSet:
    name, _, path = text.partition(":")
    match name:
        case "martian" if options.judge is None:
            raise CaseError(
                [
                    (
                        "--set martian needs --judge MODEL, because its comments have neither file nor"
                        " line"
                    )
                ]
            )
        case "martian":
            return load_martian(Path(path), options.profile)
        case "reviewbench":
            return load_reviewbench(Path(path))
        case "reviewbench-test":
            return load_reviewbench(Path(path), "test/test.json")
        case _:
            raise CaseError(
                [f"--set {text}: it is martian:PATH, reviewbench:PATH or reviewbench-test:PATH"]
            )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make eval", description=__doc__)
    parser.add_argument(
        "--runs", type=_positive, default=5, help="ask about each case so many times (5)"
    )
    parser.add_argument(
        "--cases", nargs="+", default=["*"], metavar="GLOB", help="names of cases: 'python-*'"
    )
    parser.add_argument(
        "--prompt", action="append", default=[], help="use this prompt for its family; repeatable"
    )
    parser.add_argument(
        "--model", help="model for all prompts, in place of that of the settings and the prompts"
    )
    parser.add_argument(
        "--judge",
        metavar="MODEL",
        help="model that decides which findings describe a planted defect",
    )
    parser.add_argument(
        "--max-usd", type=float, help="begin no call that could exceed this cost of the evaluation"
    )
    parser.add_argument(
        "--render",
        type=Path,
        metavar="DIR",
        help="write the prompts to files there and ask nothing",
    )
    parser.add_argument(
        "--estimate", action="store_true", help="print the estimated cost and ask nothing"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME:PATH",
        help="martian, reviewbench, reviewbench-test",
    )
    parser.add_argument(
        "--profile", choices=sorted(PROFILES), default="core", help="comments of martian that count"
    )
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help=f"file for the results ({OUTPUT})"
    )
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="earlier results to compare with"
    )
    parser.add_argument("--config", type=Path, metavar="PATH", help="settings file")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except typer.Exit as exc:  # of the functions that the commands use
        sys.exit(exc.exit_code)
