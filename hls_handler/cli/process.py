"""`hls process`: process one event without a service, as a step of a workflow of GitHub Actions."""

from __future__ import annotations

import html
import os
import secrets
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from hls_handler.batches.recorded import RUNS
from hls_handler.cli.batch_follower import find_problem
from hls_handler.cli.event_input import EventName
from hls_handler.cli.options import DOTENV, Config, abort, config_path
from hls_handler.cli.terminal import print_line
from hls_handler.deliveries import OPEN_STATES, End
from hls_handler.engine.health import Health
from hls_handler.engine.processing import Processing, configure_logs
from hls_handler.errors import Forbidden, PayloadError, SettingsError, StepFailed
from hls_handler.logs import LogRing
from hls_handler.queue.leases import EXPIRY
from hls_handler.reports.delivery_report import DeliveryReport, format_report, load_reports
from hls_handler.settings.reload import SettingsFile
from hls_handler.store.storage import Storage
from hls_handler.web.webhook import unsigned_delivery
from hls_handler.wording import format_usd

MOST_S = 600.0  # of all attempts
POLL_S = 0.1
OPTIONS: Mapping[str, object] = {
    "storage.url": "sqlite:///.hls/hls.db",
    "mirror.enabled": False,
    "limits.concurrency": 1,
    "limits.settle_s": 0,
    "limits.shutdown_s": 3,  # GitHub kills a cancelled job after ten
    "logging.level": "WARNING",
    "logging.format": "text",
}
STOPPED = "the run was stopped"
TOO_LONG = f"it cannot be done within {MOST_S / 60:g} minutes"


def process(
    event_file: Annotated[
        Path | None,
        typer.Argument(metavar="EVENT.json", help="The payload. Default: $GITHUB_EVENT_PATH."),
    ] = None,
    event: EventName = None,
    config: Config = None,
) -> None:
    """Process one event without a service.

    For a workflow of GitHub Actions (docs/actions.md). Reads GITHUB_EVENT_NAME, GITHUB_EVENT_PATH,
    GITHUB_TOKEN and ANTHROPIC_API_KEY. Keeps its database in .hls/, and continues there what an
    earlier run left. Ends when all is done, after ten minutes, or at SIGTERM; the check is ended in
    any case. Writes what it did to GITHUB_STEP_SUMMARY. Exits with 1 if the event failed, and with
    2 if it cannot be processed.
    """
    environ = os.environ
    path = event_file or Path(environ.get("GITHUB_EVENT_PATH", ""))
    name = (event or environ.get("GITHUB_EVENT_NAME", "")).removesuffix("_target")
    if not (name and path.is_file()):
        abort("name the file of an event and --event, or set GITHUB_EVENT_PATH, GITHUB_EVENT_NAME")
    guid = str(uuid4())
    if "GITHUB_RUN_ID" in environ:
        guid = f"{environ['GITHUB_RUN_ID']}-{environ.get('GITHUB_RUN_ATTEMPT', '1')}"
    options = {**OPTIONS, "github.webhook_secret": secrets.token_hex()}
    if "GITHUB_API_URL" in environ:
        options["github.base_url"] = environ["GITHUB_API_URL"]
    try:
        file = SettingsFile(config_path(config), environ, dotenv=DOTENV, options=options)
        configure_logs(file.initial, LogRing())
        processing = Processing(file.initial, RUNS)
        reports = _process(processing, name, guid, path.read_bytes())
    except SettingsError as exc:
        abort(*exc.problems)
    except PayloadError as exc:
        abort(f"{path}: {exc}")
    for report in reports:
        line = f"{report.event} {report.conversation}: {report.sentence}"
        print_line(f"{line} {format_usd(report.cost_usd)}")
    if environ.get("GITHUB_STEP_SUMMARY"):
        lines = [line for report in reports for line in format_report(report, can_retry=False)]
        text = f"<pre>{html.escape(chr(10).join(lines))}</pre>\n"
        Path(environ["GITHUB_STEP_SUMMARY"]).write_text(text, encoding="utf-8")
    if environ.get("GITHUB_OUTPUT"):
        state = "done"
        if all(report.state == "ignored" for report in reports):
            state = "ignored"
        Path(environ["GITHUB_OUTPUT"]).write_text(f"state={state}\n", encoding="utf-8")
    if any(report.state == "dead" for report in reports):
        raise typer.Exit(1)


def _process(processing: Processing, name: str, guid: str, body: bytes) -> Sequence[DeliveryReport]:
    """Process the event and what earlier runs left, and return the reports of what ended."""
    store = processing.store
    stops: list[int] = []  # an event could not be set in a handler while it is waited for
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stops.append(number))
    began = store.now()
    with closing(processing):
        if _accept(processing, name, guid, body) != "ignored":
            problem = _find_missing_permission(processing, guid)
            if not problem:
                with processing.working() as health:
                    problem = _wait(store, health, stops)
            if problem:
                _give_up(store, problem)
        # at once: there may be no later run
        processing.make_check_ender(threading.Event().wait, slowest_write_s=0.0).run()
        row = store.deliveries.find(guid)
        rows = [] if row is None else [row]
        if row is not None and row.repository is not None and row.number is not None:
            rows = [
                one
                for one in store.deliveries.of_conversation(row.repository, row.number)
                if one.guid == guid or (one.finished_at is not None and one.finished_at >= began)
            ]
        return load_reports(store, rows)


def _accept(processing: Processing, name: str, guid: str, body: bytes) -> str:
    config = processing.config
    new = unsigned_delivery(name, guid, body, config.route, config.settings, request_id=guid)
    # a job that is run again has the same body, and must be processed
    return processing.store.queue.accept([new], finds_replays=False)[0].outcome


def _find_missing_permission(processing: Processing, guid: str) -> str:
    """Return why the token may not write, before Claude is paid; "" if it may, or if that is not
    known.
    """
    row = processing.store.deliveries.find(guid)
    if row is None or row.state not in OPEN_STATES or not row.repository or row.number is None:
        return ""
    entry = processing.config.table.find(row.repository)
    if entry is not None and entry.features.dry_run:
        return ""
    with closing(processing.connect_github()) as github:
        try:
            github.require_write_permission(row.repository, row.number)
        except Forbidden as exc:
            return f"{exc}; give the job `permissions` to write (docs/actions.md)"
        except StepFailed:  # the event's own attempts say it
            pass
    return ""


def _wait(store: Storage, health: Health, stops: Sequence[int]) -> str:
    """Wait until all is done, and return ""; else why it is not."""
    until = time.monotonic() + MOST_S
    while not stops:
        time.sleep(POLL_S)
        state = store.deliveries.queue_state()
        if not state.queued + state.running:
            return ""
        problem = find_problem(health)
        if problem:
            return problem
        if time.monotonic() + (store.queue.seconds_until_due() or 0.0) > until:
            return ": ".join(filter(None, (TOO_LONG, state.waiting_reason)))
    return STOPPED


def _give_up(store: Storage, reason: str) -> None:
    """End the deliveries that are not done, so that their checks end, too."""
    store.queue.release_all_leases()
    store.queue.reschedule_waiting()
    while (lease := store.queue.claim(worker="process", lease_s=EXPIRY.lease_s)) is not None:
        store.queue.finish(lease, End("dead", reason), took_s=0.0)
