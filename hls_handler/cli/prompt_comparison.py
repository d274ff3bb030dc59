"""Format a comparison of two prompts as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table

from hls_handler.untrusted.terminal import escape_unprintable
from hls_handler.work.comparison import Comparison, Difference, Pair, Side, mean_cost_usd, mean_tokens, prompt_ids

TABLE_WIDTH = 1000
"""Characters; so wide that rows are not wrapped and can be searched with grep."""


def format_comparison(comparison: Comparison) -> Iterator[str]:
    """Yield a table row for each delivery, then the totals."""
    sides, other_sides = _sides(comparison)
    count, differing = len(comparison.pairs), comparison.differing
    yield f"{', '.join(prompt_ids(sides))} against {', '.join(prompt_ids(other_sides))}"
    yield ""
    yield from _table(comparison)
    yield ""
    yield f"compared     {count} deliver{'y' if count == 1 else 'ies'}{_format_left_out(comparison)}"
    yield f"same labels  {count - differing}"
    groups = ", ".join(f"{group} in {times}" for group, times in comparison.groups)
    yield f"differing    {differing}" + (f": {groups}" if groups else "")
    for difference, times in comparison.differences:
        yield f"             {times:>4}  {_format_difference(difference)}"
    comments = (sum(side.ran.speaks for side in sides), sum(side.ran.speaks for side in other_sides))
    yield f"comments     {comments[0]}, against {comments[1]}; differing in {comparison.spoke_differently}"
    yield f"mean tokens  {mean_tokens(sides):.0f}, against {mean_tokens(other_sides):.0f}"
    costs = [_format_cost_usd(mean_cost_usd(one)) for one in (sides, other_sides)]
    yield f"mean cost    {costs[0]}, against {costs[1]}"


def comparison_to_dict(comparison: Comparison) -> Mapping[str, object]:
    """Return a JSON object in which "prompt" is the prompt given to the command and "with" the other one."""
    sides, other_sides = _sides(comparison)
    return {
        "prompt": _summarize(sides),
        "with": _summarize(other_sides),
        "compared": len(comparison.pairs),
        "left_out": dict(comparison.excluded),
        "same_labels": len(comparison.pairs) - comparison.differing,
        "differing_labels": comparison.differing,
        "differing_by_group": dict(comparison.groups),
        "differences": [
            {"group": found.group, "prompt": found.one, "with": found.other, "deliveries": times}
            for found, times in comparison.differences
        ],
        "speaking_differently": comparison.spoke_differently,
        "deliveries": [
            {
                "delivery": pair.guid,
                "event": pair.event_key,
                "thread": pair.thread,
                "prompt": _side_to_dict(pair.one),
                "with": _side_to_dict(pair.other),
            }
            for pair in comparison.pairs
        ],
    }


def _table(comparison: Comparison) -> Iterator[str]:
    table = Table("delivery", "event", "thread", "comments", "tokens", "USD", "labels", box=None, pad_edge=False)
    for pair in comparison.pairs:
        table.add_row(*map(escape_unprintable, _cells(pair)))
    console = Console(
        width=TABLE_WIDTH, color_system=None, force_terminal=False, markup=False, highlight=False, emoji=False
    )
    lines = console.render_lines(table, pad=False)
    return ("".join(segment.text for segment in line).rstrip() for line in lines)


def _cells(pair: Pair) -> tuple[str, ...]:
    one, other = pair.one, pair.other
    return (
        pair.guid[:8],
        pair.event_key,
        pair.thread,
        f"{_yes_or_no(one)}, {_yes_or_no(other)}",
        f"{one.tokens}, {other.tokens}",
        f"{_format_cost(one.cost_usd)}, {_format_cost(other.cost_usd)}",
        "; ".join(map(_format_difference, pair.differences)) or "the same",
    )


def _sides(comparison: Comparison) -> tuple[list[Side], list[Side]]:
    return [pair.one for pair in comparison.pairs], [pair.other for pair in comparison.pairs]


def _format_difference(difference: Difference) -> str:
    """Return "priority-high, not priority-low"."""
    labels = " and ".join(difference.one) or f"no {difference.group}"
    return f"{labels}, not {' and '.join(difference.other) or 'none'}"


def _format_left_out(comparison: Comparison) -> str:
    parts = ", ".join(f"{count} {reason}" for reason, count in sorted(comparison.excluded.items()))
    return f"; left out: {parts}" if parts else ""


def _yes_or_no(side: Side) -> str:
    return "yes" if side.ran.speaks else "no"


def _format_cost(cost_usd: float | None) -> str:
    return "unknown" if cost_usd is None else f"{cost_usd:.6f}"


def _format_cost_usd(cost_usd: float | None) -> str:
    return "unknown" if cost_usd is None else f"{cost_usd:.6f} USD"


def _summarize(sides: list[Side]) -> Mapping[str, object]:
    return {
        "ids": prompt_ids(sides),
        "spoke": sum(side.ran.speaks for side in sides),
        "mean_tokens": mean_tokens(sides),
        "mean_cost_usd": mean_cost_usd(sides),
    }


def _side_to_dict(side: Side) -> Mapping[str, object]:
    return {
        "id": side.ran.prompt_id,
        "labels": [label.name for label in side.ran.labels],
        "speaks": side.ran.speaks,
        "tokens": side.tokens,
        "cost_usd": side.cost_usd,
    }
