"""The results of an evaluation: figures by run, tables, and a JSON file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

from pydantic import TypeAdapter, ValidationError

from hls_handler.wording import add_usd, count
from tests.golden.asking import CaseResult
from tests.golden.cases import CaseError, to_sentence

T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""The 97.5% quantiles of Student's t distribution for 2 to 10 runs. For more runs the last one is
used.
"""

Run = tuple[CaseResult, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    began: str  # "2026-11-23T09:14:31+00:00"
    sets: tuple[str, ...]  # "golden", "martian (strict)", "reviewbench"
    judge: str | None  # None: findings are matched by file, lines and category
    runs: tuple[Run, ...]  # the last one may be shorter than the others
    stopped: str | None = None  # why not all cases were asked; None if all were


_EVALUATION = TypeAdapter(Evaluation)


def save(evaluation: Evaluation, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_EVALUATION.dump_json(evaluation, indent=1) + b"\n")


def load(path: Path) -> Evaluation:
    """Read the file that `save` wrote. Raises `CaseError` for any other file."""
    try:
        return _EVALUATION.validate_json(path.read_bytes())
    except (OSError, ValidationError) as exc:
        raise CaseError([f"{path} is not the result of an evaluation: {to_sentence(exc)}"]) from exc


def _figures(run: Run) -> Mapping[str, float | None]:
    """Return the figures of one run, in the order of the table. None stands for an unknown cost or
    no findings.
    """
    defects, clean, issues, workflows = (
        [result for result in run if result.kind == kind]
        for kind in ("defects", "clean", "issue", "workflow")
    )
    figures: dict[str, float | None] = {}
    if reviews := [*defects, *clean]:
        reported, exact = (
            _sum(r.score.reported for r in reviews),
            _sum(r.score.exact for r in reviews),
        )
        figures["planted defects"] = _expected(defects)
        figures["found"] = _sum(len(result.score.found) for result in defects)
        figures["missed"] = _sum(len(result.score.missed) for result in defects)
        figures["found with too low a severity"] = _sum(
            len(result.score.understated) for result in defects
        )
        figures["findings"] = reported
        figures["anchored exactly, %"] = 100 * exact / reported if reported else None
        figures["without a line"] = _sum(result.score.unanchored for result in reviews)
        figures["invented in cases with defects"] = _sum(
            len(result.score.invented) for result in defects
        )
        figures["false alarms in clean cases"] = _sum(
            len(result.score.invented) for result in clean
        )
        figures["clean cases"] = len(clean)
        figures["clean cases with a false alarm"] = _sum(
            bool(result.score.invented) for result in clean
        )
        typed = [result for result in reviews if result.score.has_type]
        if typed:
            figures["expected types"] = len(typed)
            figures["right types"] = _sum(not result.score.wrong_type for result in typed)
    for title, results in (("issues", issues), ("workflows", workflows)):
        if results:
            figures[f"{title}: checks"] = _expected(results)
            figures[f"{title}: checks passed"] = _sum(len(result.score.found) for result in results)
            figures[f"{title}: forbidden texts"] = _sum(
                len(result.score.invented) for result in results
            )
    for kind in ("true finding", "false finding"):
        if looks := [result for result in run if result.kind == kind]:
            dropped = "missed" if kind == "true finding" else "found"
            figures[f"second look: {kind}s"] = len(looks)
            figures[f"second look: {kind}s dropped"] = _sum(
                len(getattr(one.score, dropped)) for one in looks
            )
            figures[f"second look: {kind}s not proved"] = _sum(
                len(one.score.understated) for one in looks
            )
    figures["cases without a usable reply"] = _sum(result.problem is not None for result in run)
    figures["input tokens"] = _sum(result.input_tokens for result in run)
    figures["output tokens"] = _sum(result.output_tokens for result in run)
    figures["cost, USD"] = add_usd([result.cost_usd for result in run])
    return figures


def _expected(results: Iterable[CaseResult]) -> float:
    return _sum(len(result.score.found) + len(result.score.missed) for result in results)


def _sum(numbers: Iterable[float]) -> float:
    return sum(numbers)


def format_table(*evaluations: Evaluation) -> str:
    """Return the figures of each evaluation, one column each: the mean of its runs with its 95%
    confidence interval.

    Runs that were stopped do not count, unless there is no other.
    """
    columns = [_column(evaluation) for evaluation in evaluations]
    names = list(dict.fromkeys(name for column in columns for name in column))
    width = max(map(len, names), default=0)
    lines = []
    for name in names:
        cells = [f"{column.get(name, '-'):>24}" for column in columns]
        lines.append(f"{name:<{width}}{''.join(cells)}".rstrip())
    return "\n".join(lines)


def _column(evaluation: Evaluation) -> Mapping[str, str]:
    complete = max(map(len, evaluation.runs), default=0)
    figures = [_figures(run) for run in evaluation.runs if len(run) == complete]
    return {
        name: _format([run[name] for run in figures]) for name in (figures[0] if figures else ())
    }


def _format(values: Sequence[float | None]) -> str:
    """Return "12", or for values that differ the mean and half of its interval: "12.3 ± 1.2"."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return "-"
    if min(known) == max(known):
        return _number(known[0])
    t = T_QUANTILES[min(len(known), len(T_QUANTILES) + 1) - 2]
    return f"{_number(mean(known))} ± {_number(t * stdev(known) / len(known) ** 0.5)}"


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.4f}" if value < 1 else f"{value:,.1f}"


def format_details(evaluation: Evaluation) -> str:
    """Return a line for each miss, invented finding and unusable reply, with the number of runs
    that have it.
    """
    seen: Counter[str] = Counter()
    for run in evaluation.runs:
        seen.update(list(dict.fromkeys(line for result in run for line in _details(result))))
    runs = len(evaluation.runs)
    return "\n".join(
        line if runs == 1 else f"{line} [{times} of {runs} runs]" for line, times in seen.items()
    )


def _details(result: CaseResult) -> Iterator[str]:
    if result.problem is not None:
        yield f"{result.name}: no usable reply: {result.problem}"
    is_look = result.kind in ("true finding", "false finding")
    invented = {"clean": "false alarm", "false finding": "false finding kept"}
    for title, texts in (
        ("true finding dropped" if is_look else "missed", result.score.missed),
        ("not proved" if is_look else "severity too low", result.score.understated),
        (invented.get(result.kind, "invented"), result.score.invented),
    ):
        yield from (f"{result.name}: {title}: {text}" for text in texts)
    if result.score.wrong_type:
        yield f"{result.name}: wrong type: {result.score.wrong_type}"


def format_comparison(old: Evaluation, new: Evaluation) -> str:
    """Return a table of the cases that both evaluations have, and a line for each defect whose
    result changed.
    """
    shared = {result.name for run in old.runs for result in run} & {
        result.name for run in new.runs for result in run
    }
    lines = [f"{count(len(shared), 'case')} in both; left: {old.began}, right: {new.began}"]
    if old.judge != new.judge:
        lines.append(
            f"the judges differ ({old.judge or 'none'}, {new.judge or 'none'}), so the figures do"
            " not compare"
        )
    return "\n".join(
        [*lines, *_compare(select(old, names=shared), select(new, names=shared))]
    ).rstrip()


def format_excerpts(evaluation: Evaluation) -> str:
    """Return the comparison of the cases that were asked without excerpts, too; "" if there are
    none.
    """
    without = select(evaluation, without_excerpts=True)
    names = {result.name for run in without.runs for result in run}
    if not names:
        return ""
    title = (
        f"{count(len(names), 'case')} about other places; left: without excerpts of them, right:"
        " with"
    )
    return "\n".join([title, *_compare(without, select(evaluation, names=names))]).rstrip()


def format_calibration(evaluation: Evaluation) -> str:
    """Return how often fields of issues were right, by the confidence that Claude stated; "" if it
    stated none.
    """
    stated = [one for run in evaluation.runs for result in run for one in result.score.stated]
    if not stated:
        return ""
    brier = mean((confidence - is_right) ** 2 for confidence, is_right in stated)
    lines = [f"stated confidence in fields of issues; Brier score {brier:.3f} (0 is best)"]
    for tenth in range(10):
        right = [
            is_right for confidence, is_right in stated if min(int(confidence * 10), 9) == tenth
        ]
        if right:
            lines.append(
                f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}: {mean(right):4.0%} right of"
                f" {len(right)}"
            )
    return "\n".join(lines)


def select(
    evaluation: Evaluation, *, names: Collection[str] | None = None, without_excerpts: bool = False
) -> Evaluation:
    """Return the results with excerpts, or of the questions without; of all cases, or of the named
    ones.
    """
    runs = tuple(
        tuple(
            result
            for result in run
            if result.without_excerpts == without_excerpts
            and (names is None or result.name in names)
        )
        for run in evaluation.runs
    )
    return replace(evaluation, runs=runs)


def _compare(before: Evaluation, after: Evaluation) -> Iterator[str]:
    yield format_table(before, after)
    yield ""
    rates_before, rates_after = _found_rates(before), _found_rates(after)
    for name in sorted(rates_before.keys() & rates_after.keys()):
        if rates_before[name] != rates_after[name]:
            yield (
                f"{name}: found in {rates_before[name]:.0%} of the runs, now in"
                f" {rates_after[name]:.0%}"
            )


def _found_rates(evaluation: Evaluation) -> Mapping[str, float]:
    found: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for run in evaluation.runs:
        for result in run:
            found.update(f"{result.name}: {text}" for text in result.score.found)
            asked.update(
                f"{result.name}: {text}" for text in (*result.score.found, *result.score.missed)
            )
    return {name: found[name] / times for name, times in asked.items()}
