"""A comparison of two prompts, in lines for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table

from hls_handler.untrusted.terminal import printable
from hls_handler.work.comparison import Comparison, Difference, Pair, Side, mean_cost_usd, mean_tokens, prompt_ids

WIDEST = 1000
"""Characters: rows are not broken, so that they can be searched."""


def shown_comparison(comparison: Comparison) -> Iterator[str]:
    """A row for each delivery, then the sums."""
    ones, others = _sides(comparison)
    count, differing = len(comparison.pairs), comparison.differing
    yield f"{', '.join(prompt_ids(ones))} against {', '.join(prompt_ids(others))}"
    yield ""
    yield from _table(comparison)
    yield ""
    yield f"compared     {count} deliver{'y' if count == 1 else 'ies'}{_left_out(comparison)}"
    yield f"same labels  {count - differing}"
    groups = ", ".join(f"{group} in {times}" for group, times in comparison.groups)
    yield f"differing    {differing}" + (f": {groups}" if groups else "")
    for difference, times in comparison.differences:
        yield f"             {times:>4}  {_told(difference)}"
    spoke = (sum(one.ran.speaks for one in ones), sum(one.ran.speaks for one in others))
    yield f"speaks       {spoke[0]}, against {spoke[1]}; differing in {comparison.spoke_differently}"
    yield f"mean tokens  {mean_tokens(ones):.0f}, against {mean_tokens(others):.0f}"
    yield f"mean cost    {_usd(mean_cost_usd(ones))}, against {_usd(mean_cost_usd(others))}"


def comparison_document(comparison: Comparison) -> Mapping[str, object]:
    """The same as a JSON object: "prompt" is the side that was asked for, "with" the other."""
    ones, others = _sides(comparison)
    return {
        "prompt": _sum(ones),
        "with": _sum(others),
        "compared": len(comparison.pairs),
        "left_out": dict(comparison.left_out),
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
                "prompt": _document(pair.one),
                "with": _document(pair.other),
            }
            for pair in comparison.pairs
        ],
    }


def _table(comparison: Comparison) -> Iterator[str]:
    table = Table("delivery", "event", "thread", "speaks", "tokens", "USD", "labels", box=None, pad_edge=False)
    for pair in comparison.pairs:
        table.add_row(*map(printable, _cells(pair)))
    console = Console(width=WIDEST, color_system=None, force_terminal=False, markup=False, highlight=False, emoji=False)
    lines = console.render_lines(table, pad=False)
    return ("".join(segment.text for segment in line).rstrip() for line in lines)


def _cells(pair: Pair) -> tuple[str, ...]:
    one, other = pair.one, pair.other
    return (
        pair.guid[:8],
        pair.event_key,
        pair.thread,
        f"{_yes(one)}, {_yes(other)}",
        f"{one.tokens}, {other.tokens}",
        f"{_number(one.cost_usd)}, {_number(other.cost_usd)}",
        "; ".join(map(_told, pair.differences)) or "the same",
    )


def _sides(comparison: Comparison) -> tuple[list[Side], list[Side]]:
    return [pair.one for pair in comparison.pairs], [pair.other for pair in comparison.pairs]


def _told(difference: Difference) -> str:
    """ "priority-high, not priority-low"."""
    one = " and ".join(difference.one) or f"no {difference.group}"
    return f"{one}, not {' and '.join(difference.other) or 'none'}"


def _left_out(comparison: Comparison) -> str:
    told = ", ".join(f"{times} {why}" for why, times in sorted(comparison.left_out.items()))
    return f"; left out: {told}" if told else ""


def _yes(one: Side) -> str:
    return "yes" if one.ran.speaks else "no"


def _number(cost_usd: float | None) -> str:
    return "unknown" if cost_usd is None else f"{cost_usd:.6f}"


def _usd(cost_usd: float | None) -> str:
    return "unknown" if cost_usd is None else f"{cost_usd:.6f} USD"


def _sum(sides: list[Side]) -> Mapping[str, object]:
    return {
        "ids": prompt_ids(sides),
        "spoke": sum(one.ran.speaks for one in sides),
        "mean_tokens": mean_tokens(sides),
        "mean_cost_usd": mean_cost_usd(sides),
    }


def _document(one: Side) -> Mapping[str, object]:
    return {
        "id": one.ran.prompt_id,
        "labels": [wish.name for wish in one.ran.labels],
        "speaks": one.ran.speaks,
        "tokens": one.tokens,
        "cost_usd": one.cost_usd,
    }
