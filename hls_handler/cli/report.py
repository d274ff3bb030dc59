"""`hls report`: the figures of one repository as Markdown or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

import typer
from pydantic import TypeAdapter

from hls_handler.cli.github_names import require_repository
from hls_handler.cli.options import Config, fail, load, require_existing_store
from hls_handler.cli.terminal import print_json, print_lines
from hls_handler.console.pages import format_duration, format_percent, format_sum_usd
from hls_handler.reports.proposals import read_proposals
from hls_handler.review.proposals import describe_proposal
from hls_handler.settings.effective import RepositoryTable
from hls_handler.store.figures import FiguresReport
from hls_handler.wording import count


def report(
    repository: Annotated[
        str, typer.Argument(metavar="OWNER/REPO", help="A repository, or its URL.")
    ],
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="Length of the period, up to now.")
    ] = 90,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, as of /api/stats, and proposals.")
    ] = False,
    config: Config = None,
) -> None:
    """Print the figures of a repository, as after a pilot.

    They are those of the page /figures; docs/console.md defines each. Works while the service runs.

    Exit codes: 0 printed; 1 there is no database, or no delivery of the repository ended in the
    period; 2 usage error, or unusable settings or database.
    """
    settings = load(config, credentials=False)
    name = require_repository(repository, base_url=settings.github.base_url)
    with require_existing_store(settings) as store:
        now = store.now()
        found = store.figures.read(now - timedelta(days=days), now, repository=name)
        proposals = read_proposals(store, RepositoryTable(settings), name)
    if not found.repositories:
        fail(
            f"no delivery of {name} ended within {count(days, 'day')}: `hls deliveries list` shows"
            " which repositories sent events, --days sets a longer period"
        )
    if as_json:
        document = TypeAdapter(FiguresReport).dump_python(found, mode="json")
        print_json({**document, "proposals": [*map(describe_proposal, proposals)]})
    else:
        print_lines("\n".join(_format_markdown(found, name, days, settings.storage.keep_days)))
        for proposal in proposals:
            print_lines(f"\n{proposal.message}.")


def _format_duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return format_duration(seconds)


def _format_markdown(
    report: FiguresReport, name: str, days: int, keep_days: float
) -> Iterator[str]:
    total = report.total
    findings = report.total.findings
    reply = report.total.first_reply_seconds
    yield from (
        f"# HLS in {name}",
        "",
        f"{report.since:%Y-%m-%d} to {report.until:%Y-%m-%d} (UTC).",
        "",
    )
    if keep_days < days:
        yield (
            f"Deliveries are deleted after {keep_days:g} days (`storage.keep_days`): numbers of"
            " findings, labels and pull requests are without older ones."
        )
        yield ""
    if not report.is_complete:
        yield "HLS counts only since then, or its counters of the time before were deleted."
        yield ""
    percent = "unknown"
    if findings.acted_on_percent is not None:
        percent = format_percent(findings.acted_on_percent)
    acted_on = f"{findings.acted_on} of {findings.decided} decided findings"
    yield f"**Signal against noise: people acted on {acted_on} ({percent}).**"
    yield from ("", "| figure | value |", "|---|---:|")
    values = {
        "deliveries processed": f"{total.processed:,}",
        "of these dead letters": f"{total.dead:,}",
        "pull requests analysed": f"{total.pull_requests_analysed:,}",
        "findings raised": f"{findings.raised:,}",
        "findings accepted": f"{findings.accepted:,}",
        "findings fixed": f"{findings.fixed:,}",
        "findings dismissed": f"{findings.dismissed:,}",
        "findings ignored": f"{findings.ignored:,}",
        "labels kept": f"{total.labels.kept:,}",
        "labels corrected": f"{total.labels.corrected:,}",
        "time to the first reply, p50, estimated": _format_duration(reply.p50),
        "time to the first reply, p95, estimated": _format_duration(reply.p95),
        "cost": format_sum_usd(total.cost_usd),
    }
    yield from (f"| {figure} | {value} |" for figure, value in values.items())
