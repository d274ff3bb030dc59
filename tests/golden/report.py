"""The results of an evaluation: figures by run, tables, and a JSON file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

from pydantic import TypeAdapter, ValidationError

from hls_handler.wording import add_usd, count
from tests.golden.cases import CaseError, Kind, to_sentence
from tests.golden.scoring import Score

T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""The 97.5% quantiles of Student's t distribution for 2 to 10 runs. For more runs the last one is
used.
"""


@dataclass(frozen=True, slots=True)
class CaseResult:
    name: str
    kind: Kind
    score: Score
    problem: str  # why there is no usable reply; "" if there is one
    prompts: tuple[str, ...]  # ids of the prompts that were asked, the judge's included
    models: tuple[str, ...]  # that replied, without repetitions
    input_tokens: int  # with those of the prompt cache
    output_tokens: int
    cost_usd: float | None  # None if the price of a model is unknown


Run = tuple[CaseResult, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    began: str  # "2026-11-23T09:14:31+00:00"
    judge: str | None  # None: findings are matched by file, lines and category
    runs: tuple[Run, ...]  # the last one may be shorter than the others
    stopped: str = ""  # why not all cases were asked; "" if all were

    @property
    def results(self) -> Sequence[CaseResult]:
        return [result for run in self.runs for result in run]


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


@dataclass(frozen=True, slots=True)
class _Of:
    """The sums of some results of a run."""

    results: Sequence[CaseResult]

    def sum(self, name: str) -> float:
        """Return the number of texts in a field of the scores."""
        return sum(len(getattr(result.score, name)) for result in self.results)

    @property
    def expected(self) -> float:
        return self.sum("found") + self.sum("missed")


def _figures(run: Run) -> Mapping[str, float | None]:
    """Return the figures of one run, in the order of the table. None stands for an unknown cost."""
    kinds = {result.kind for result in run}
    of: dict[str, _Of] = {
        kind: _Of([result for result in run if result.kind == kind]) for kind in kinds
    }
    figures: dict[str, float | None] = {}
    if defects := of.get("defects"):
        figures["planted defects"] = defects.expected
        figures["found"] = defects.sum("found")
        figures["missed"] = defects.sum("missed")
        figures["found with too low a severity"] = defects.sum("understated")
        figures["invented in cases with defects"] = defects.sum("invented")
        figures["wrong types"] = sum(bool(one.score.wrong_type) for one in defects.results)
    if clean := of.get("clean"):
        figures["clean cases"] = len(clean.results)
        figures["clean cases with a false alarm"] = sum(
            bool(result.score.invented) for result in clean.results
        )
    for kind in ("issue", "workflow"):
        if results := of.get(kind):
            figures[f"{kind}s: checks"] = results.expected
            figures[f"{kind}s: checks passed"] = results.sum("found")
            figures[f"{kind}s: forbidden texts"] = results.sum("invented")
    for kind, dropped in (("true finding", "missed"), ("false finding", "found")):
        if results := of.get(kind):
            figures[f"second look: {kind}s"] = len(results.results)
            figures[f"second look: {kind}s dropped"] = results.sum(dropped)
            figures[f"second look: {kind}s not proved"] = results.sum("understated")
    figures["cases without a usable reply"] = sum(bool(result.problem) for result in run)
    figures["input tokens"] = sum(result.input_tokens for result in run)
    figures["output tokens"] = sum(result.output_tokens for result in run)
    figures["cost, USD"] = add_usd([result.cost_usd for result in run])
    return figures


def format_table(*evaluations: Evaluation) -> str:
    """Return the figures of each evaluation, one column each: the mean of its runs with its 95%
    confidence interval.

    Runs that were stopped do not count, unless there is no other.
    """
    columns = [_column(evaluation) for evaluation in evaluations]
    names = list(dict.fromkeys(name for column in columns for name in column))
    width = max(map(len, names), default=0)
    lines: list[str] = []
    for name in names:
        cells = [f"{column.get(name, '-'):>24}" for column in columns]
        lines.append(f"{name:<{width}}{''.join(cells)}".rstrip())
    return "\n".join(lines)


def _column(evaluation: Evaluation) -> Mapping[str, str]:
    complete = max(map(len, evaluation.runs), default=0)
    figures = [_figures(run) for run in evaluation.runs if len(run) == complete]
    names = figures[0] if figures else ()
    return {name: _format([run[name] for run in figures]) for name in names}


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


def format_evaluation(evaluation: Evaluation, earlier: Evaluation | None = None) -> str:
    """Return everything that is printed after the last call."""
    results = evaluation.results
    prompts = dict.fromkeys(prompt for result in results for prompt in result.prompts)
    models = dict.fromkeys(model for result in results for model in result.models)
    header = [
        f"prompts: {', '.join(prompts)}",
        f"models: {', '.join(models)}",
        f"judge: {evaluation.judge or 'none (matched by file, lines and category)'}",
    ]
    parts = [
        _format_details(evaluation),
        "\n".join(header),
        format_table(evaluation),
        f"STOPPED: {evaluation.stopped}" if evaluation.stopped else "",
        "" if earlier is None else _format_comparison(earlier, evaluation),
    ]
    return "\n\n".join(part for part in parts if part)


def _format_details(evaluation: Evaluation) -> str:
    """Return a line for each miss, invented finding and unusable reply, with the number of runs
    that have it.
    """
    lines: Counter[str] = Counter()
    for run in evaluation.runs:
        lines.update(dict.fromkeys(line for result in run for line in _details(result)).keys())
    runs = len(evaluation.runs)
    if runs == 1:
        return "\n".join(lines)
    return "\n".join(f"{line} [{times} of {runs} runs]" for line, times in lines.items())


def _details(result: CaseResult) -> Iterator[str]:
    if result.problem:
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


def _format_comparison(old: Evaluation, new: Evaluation) -> str:
    """Return a table of the cases that both evaluations have, and a line for each defect whose
    result changed.
    """
    shared = {result.name for result in old.results} & {result.name for result in new.results}
    lines = [f"{count(len(shared), 'case')} in both; left: {old.began}, right: {new.began}"]
    if old.judge != new.judge:
        judges = f"{old.judge or 'none'}, {new.judge or 'none'}"
        lines.append(f"the judges differ ({judges}), so the figures do not compare")
    before, after = _select(old, shared), _select(new, shared)
    lines += [format_table(before, after), ""]
    old_rates, new_rates = _found_rates(before), _found_rates(after)
    for name in sorted(old_rates.keys() & new_rates.keys()):
        if old_rates[name] != new_rates[name]:
            lines.append(
                f"{name}: found in {old_rates[name]:.0%} of the runs, now in {new_rates[name]:.0%}"
            )
    return "\n".join(lines).rstrip()


def _select(evaluation: Evaluation, names: Iterable[str]) -> Evaluation:
    runs = (tuple(one for one in run if one.name in names) for run in evaluation.runs)
    return replace(evaluation, runs=tuple(runs))


def _found_rates(evaluation: Evaluation) -> Mapping[str, float]:
    found: Counter[str] = Counter()
    expected: Counter[str] = Counter()
    for result in evaluation.results:
        names = [f"{result.name}: {text}" for text in result.score.found]
        found.update(names)
        expected.update([*names, *(f"{result.name}: {text}" for text in result.score.missed)])
    return {name: found[name] / times for name, times in expected.items()}
