"""Format of log lines, bound ids, masking of secrets, the lines of operators, and the ring buffer of
the newest lines.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import threading
import warnings
from pathlib import Path
from typing import Any, Literal

import pytest

from hls_handler import logs
from hls_handler.engine.processing import configure_logs
from hls_handler.logs import MAX_LINES, MAX_OBJECTS, LogRing, log_act
from tests.settings.files import SMALLEST, load

pytestmark = pytest.mark.usefixtures("logging_as_before")

TOKEN = 'marker "quoted" tökén'
OTHER = "webhook-secret-marker"
UNKNOWN_TOKEN = "ghp_" + "a1B2" * 9


def configured(layout: Literal["json", "text"] = "json", level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, layout, stream, [TOKEN, OTHER])
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object() -> None:
    stream = configured()
    logging.getLogger("hls_handler.web").info(
        "delivery finished", extra={"state": "done", "took_s": 1.5, "due": None}
    )
    (line,) = lines(stream)
    timestamp = line.pop("timestamp")
    assert timestamp.endswith("Z")
    assert len(timestamp) == len("2026-11-20T12:00:00.123Z")
    assert line == {
        "level": "INFO",
        "logger": "hls_handler.web",
        "message": "delivery finished",
        "state": "done",
        "took_s": 1.5,
        "due": None,
    }
    assert list(line)[:3] == ["level", "logger", "message"]


RECORDED: dict[str, tuple[dict[str, Any], str]] = {
    "fields": (
        {
            "msg": "webhook received",
            "event": "issues",
            "status": 202,
            "reason": None,
            "ratio": 0.5,
            "ok": True,
        },
        (
            '"message": "webhook received", "event": "issues", "status": 202, "reason": null,'
            ' "ratio": 0.5, "ok": true}'
        ),
    ),
    "names of the line's own": (
        {
            "msg": "shadows",
            "level": "field",
            "timestamp": "field",
            "logger": "field",
            "message_dict": {"a": 1},
        },
        '"message": "shadows", "message_dict": {"a": 1}}',
    ),
    "names with _": (
        {"msg": "private", "_hidden": "not shown"},
        '"message": "private"}',
    ),
    "a message that is a dict": (
        {"msg": {"a": 1, "exc_info": "no", "message": "inner"}, "more": 2},
        """"message": "{'a': 1, 'exc_info': 'no', 'message': 'inner'}", "more": 2}""",
    ),
    "other objects and characters": (
        {
            "msg": "caf\u00e9 \ud800 \u2028",
            "names": {"b"},
            "pairs": [("x", 1)],
            "nested": {"k": ValueError(TOKEN)},
        },
        (
            r'"message": "caf\u00e9 \ud800 \u2028", "names": ["b"], "pairs": [["x", 1]], "nested":'
            r' {"k": "***"}}'
        ),
    ),
    "a trace and a stack that another handler formatted": (
        {"msg": "text", "exc_text": "cached", "stack_info": "Stack (most recent call last):"},
        '"message": "text"}',
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_line_is_as_it_was_before_python_json_logger(name: str) -> None:
    fields, rest = RECORDED[name]
    stream = configured()
    record = logging.makeLogRecord(
        {
            "name": "hls_handler.web",
            "levelno": 20,
            "levelname": "INFO",
            "created": 1795176000.123,
            "msecs": 123.0,
            **fields,
        }
    )
    logging.getLogger("hls_handler.web").handle(record)
    beginning = (
        '{"timestamp": "2026-11-20T12:00:00.123Z", "level": "INFO", "logger": "hls_handler.web", '
    )
    assert stream.getvalue() == f"{beginning}{rest}\n"


def test_bound_ids_are_in_every_line_inside_and_in_none_outside() -> None:
    stream = configured()
    log = logging.getLogger("of.some.sdk")
    with logs.log_context(delivery="g-1", request_id=None):
        log.info("a")
        with logs.log_context(repository="o/r", delivery="g-2"):
            log.info("b")
        log.info("c")
    log.info("d")
    assert [
        (line.get("delivery"), line.get("repository"), "request_id" in line)
        for line in lines(stream)
    ] == [
        ("g-1", None, False),
        ("g-2", "o/r", False),
        ("g-1", None, False),
        (None, None, False),
    ]


def test_a_field_does_not_replace_an_id_or_the_level() -> None:
    stream = configured()
    with logs.log_context(delivery="bound"):
        logging.getLogger("x").info(
            "m", extra={"delivery": "field", "level": "field", "timestamp": "field"}
        )
    (line,) = lines(stream)
    assert (line["delivery"], line["level"], line["timestamp"] == "field") == (
        "bound",
        "INFO",
        False,
    )


def test_a_stack_trace_is_one_field() -> None:
    stream = configured()
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("x").exception("defect")
    (line,) = lines(stream)
    assert line["message"] == "defect"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: broken")
    assert "exc_info" not in line


def test_an_uncaught_exception_in_a_thread_is_one_line() -> None:
    stream = configured()
    worker = threading.Thread(target=lambda: [].pop(), name="worker-3")
    worker.start()
    worker.join()
    (line,) = lines(stream)
    assert (line["level"], line["message"]) == ("CRITICAL", "uncaught exception in a thread")
    assert line["thread_name"] == "worker-3"
    assert line["exception"].endswith("IndexError: pop from empty list")


@pytest.mark.parametrize("layout", ["json", "text"])
def test_rule_19_no_secret_is_logged(layout: Literal["json", "text"]) -> None:
    stream = configured(layout, level="DEBUG")
    log = logging.getLogger("x")
    log.info("token %s", TOKEN)
    log.info(f"token {OTHER}")
    log.info(
        "fields",
        extra={
            "a": TOKEN,
            "b": [{"c": (OTHER,)}],
            "d": ValueError(TOKEN),
            OTHER: 1,
            "e": {OTHER: {TOKEN}},
        },
    )
    with logs.log_context(delivery=OTHER):
        try:
            raise RuntimeError(f"401 with {TOKEN} and {UNKNOWN_TOKEN}")
        except RuntimeError:
            log.exception("failed with %s", UNKNOWN_TOKEN)
    written = stream.getvalue()
    assert written.count("\n") >= 4
    assert "marker" not in written
    assert UNKNOWN_TOKEN not in written


def test_rule_19_the_arguments_of_an_unwritable_record_are_not_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream = configured()
    logging.getLogger("x").info("number %d", OTHER)
    assert stream.getvalue() == ""
    assert capsys.readouterr().err == "a log line of x could not be written\n"


def test_lines_of_libraries_are_ours_unless_they_were_silenced() -> None:
    own = logging.StreamHandler(io.StringIO())
    for name in ("uvicorn", "uvicorn.access", "urllib3.connectionpool"):
        logging.getLogger(name).addHandler(own)
        logging.getLogger(name).propagate = False
    stream = configured()
    logging.getLogger("uvicorn.access").info(
        '%s - "%s %s HTTP/%s" %d',
        "127.0.0.1:1",
        "GET",
        "/health",
        "1.1",
        200,
        extra={"color_message": "colours"},
    )
    logging.getLogger("urllib3.connectionpool").warning("from a library")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("deprecated call", DeprecationWarning, stacklevel=1)
    logging.getLogger(
        "uvicorn.access"
    ).propagate = False  # as uvicorn silences it between two calls
    logs.configure("INFO", "json", stream, [])
    logging.getLogger("uvicorn.access").warning("a request")
    assert own.stream.getvalue() == ""
    access, library, warning = lines(stream)
    assert access["message"] == '127.0.0.1:1 - "GET /health HTTP/1.1" 200'
    assert "color_message" not in access
    assert library["message"] == "from a library"
    assert (warning["logger"], "deprecated call" in warning["message"]) == ("py.warnings", True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "setting", "environ", "begins"),
    [
        (io.StringIO(), "", {}, '{"timestamp": "'),
        (Terminal(), "", {}, "\x1b[2m20"),
        (Terminal(), "", {"NO_COLOR": "1"}, "20"),
        (Terminal(), "logging: {format: json}\n", {}, '{"timestamp": "'),
    ],
    ids=["pipe", "terminal", "NO_COLOR", "json on a terminal"],
)
def test_format_depends_on_the_terminal_unless_it_is_set(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    stream: io.StringIO,
    setting: str,
    environ: dict[str, str],
    begins: str,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in ({"TERM": "xterm"} | environ).items():
        monkeypatch.setenv(name, value)
    with contextlib.redirect_stderr(stream):
        configure_logs(load(tmp_path, SMALLEST + setting), LogRing())
    logging.getLogger("x").warning("hello", extra={"field": "\x1b[31mred"})
    written = stream.getvalue()
    assert written.startswith(begins)
    assert ("\x1b[33mWARNING" in written) == (begins[0] == "\x1b")
    assert "\x1b[31m" not in written  # a value cannot colour the terminal


def test_text_lines_have_the_ids_at_the_end_and_cannot_be_forged() -> None:
    stream = configured("text")
    with logs.log_context(delivery="g-1", repository="o/r"):
        logging.getLogger("hls_handler.web").warning(
            "delivery waits", extra={"reason": "Claude is down", "attempt": 2}
        )
    logging.getLogger("x").info(
        "title %s", "a\n2026-11-20 forged \x1b[2J \u202e", extra={"field": "b\nc \u2028 d"}
    )
    line, forged = stream.getvalue().splitlines()
    assert forged.endswith('title a\\n2026-11-20 forged \\x1b[2J \\u202e  field="b\\nc \\u2028 d"')
    assert (
        line[len("2026-11-20 12:00:00.123") :]
        == ' WARNING  web              delivery waits  reason="Claude is down"  attempt=2 '
        " [delivery=g-1 repository=o/r]"
    )


def test_proxy_passwords_are_masked_encoded_and_decoded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("https_proxy", "http://hls:pass%40word-of-ours@proxy.example:3128")
    configure_logs(load(tmp_path, SMALLEST), LogRing())
    logging.getLogger("theirs").warning("sent pass@word-of-ours, written pass%40word-of-ours")
    assert json.loads(capsys.readouterr().err)["message"] == "sent ***, written ***"


def test_terminal_shows_one_line_for_each_event_when_it_has_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with contextlib.redirect_stderr(stream):
        configure_logs(load(tmp_path, SMALLEST), LogRing())
    event = {"event": "issues", "action": "opened"}
    of_repository = {**event, "repository": "octo/widgets"}
    received = logging.getLogger("hls_handler.web")
    received.info("webhook received", extra={**of_repository, "decision": "queued"})
    ignored = {"decision": "ignored", "reason": "a bot"}
    received.info("webhook received", extra={**of_repository, **ignored})
    ended = {"state": "done", "reason": "added \x1b[2J", "duration_ms": 2100, "cost_usd": 0.0006}
    with logs.log_context(delivery="g-1", repository="octo/widgets"):
        logging.getLogger("x").info("delivery finished", extra={**event, "number": 7, **ended})
    lines = [re.sub("[0-9:]{8}", "T", line) for line in stream.getvalue().splitlines()]
    dim = "\x1b[2mT\x1b[0m"
    assert lines == [
        f"{dim} \x1b[2mignored   \x1b[0m octo/widgets  issues.opened  a bot",
        (
            f"{dim} \x1b[32mdone      \x1b[0m octo/widgets#7  issues.opened  added \\x1b[2J  2.1 s from"
            " the receipt, $0.00060"
        ),
    ]


def test_line_of_an_operator_has_who_what_how_many_why_and_ids() -> None:
    stream = io.StringIO()
    logs.configure("INFO", "json", stream, [])
    log_act("mona", "discard", ["g1", "g2"], number=2, reason="a duplicate")
    line = json.loads(stream.getvalue())
    del line["timestamp"]
    assert line == {
        "level": "INFO",
        "logger": "hls_handler.operators",
        "message": "operator",
        "person": "mona",
        "act": "discard",
        "number": 2,
        "reason": "a duplicate",
        "objects": ["g1", "g2"],
    }


def test_line_of_an_operator_names_at_most_a_hundred_objects(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    guids = [f"g{number}" for number in range(150)]
    log_act("mona", "retry", guids, number=len(guids))
    (record,) = caplog.records
    assert vars(record)["number"] == 150
    assert vars(record)["objects"] == guids[:MAX_OBJECTS] == guids[:100]


@pytest.mark.parametrize("layout", ["json", "text"])
def test_rule_19_secrets_and_control_characters_of_people_are_removed(
    layout: logs.LogLayout,
) -> None:
    stream = io.StringIO()
    logs.configure("INFO", layout, stream, [OTHER])
    log_act("mo\x1b[31mna", "discard", [f"x{OTHER}"], reason=f"{UNKNOWN_TOKEN}\n\u202e{OTHER}")
    text = stream.getvalue()
    assert not any(secret in text for secret in (OTHER, UNKNOWN_TOKEN, "\x1b", "\u202e"))
    assert text.count("\n") == 1


def written_line(message: str = "m", level: str = "INFO", **fields: object) -> str:
    fixed = {
        "timestamp": "2026-11-20T12:00:00.123Z",
        "level": level,
        "logger": "work",
        "message": message,
    }
    return json.dumps(fixed | fields)


def ring_of(*lines: str) -> LogRing:
    ring = LogRing()
    for text in lines:
        ring.add(text)
    return ring


def messages(ring: LogRing, *, limit: int = 100, **wanted: Any) -> list[str]:
    return [found["message"] for found in ring.find(limit=limit, **wanted)]


def test_log_of_a_delivery_has_no_lines_that_other_people_can_cause() -> None:
    ring = ring_of(
        written_line("webhook received", delivery="g-1", decision="queued"),
        written_line(
            "by a forged header of an unsigned request", delivery="g-1", decision="rejected"
        ),
        written_line("by a request id", request_id="g-1"),
        written_line("by a text", repository='x", "delivery": "g-1"', reason='"delivery": "g-1"'),
        written_line("of another one", delivery="g-10"),
        written_line("delivery finished", delivery="g-1", reason='"decision": "rejected"'),
    )
    assert messages(ring, delivery="g-1") == ["delivery finished", "webhook received"]


@pytest.mark.parametrize("layout", ["json", "text"])
def test_every_line_of_the_log_is_in_the_ring_without_secrets(
    layout: Literal["json", "text"],
) -> None:
    ring, stream = LogRing(), io.StringIO()
    logs.configure("INFO", layout, stream, ["marker-of-a-secret"], ring=ring)
    log = logging.getLogger("hls_handler.engine")
    with logs.log_context(delivery="g-1"):
        log.info(
            "has marker-of-a-secret and ghp_%s", "a1B2" * 9, extra={"state": "done", "took_s": 1.5}
        )
        log.info("webhook received", extra={"event": "marker-of-a-secret"})
    log.debug("below the level")
    second, first = ring.find(limit=9)
    assert {**first, "timestamp": ""} == {
        "timestamp": "",
        "level": "INFO",
        "logger": "hls_handler.engine",
        "message": "has *** and [redacted: github-token]",
        "delivery": "g-1",
        "state": "done",
        "took_s": 1.5,
    }
    assert (second["message"], second["delivery"], second["event"]) == (
        "webhook received",
        "g-1",
        "***",
    )
    assert len(stream.getvalue().splitlines()) == 2


def test_ring_keeps_only_the_newest_lines() -> None:
    ring = ring_of(*(written_line(str(number)) for number in range(MAX_LINES + 10)))
    found = messages(ring, limit=MAX_LINES + 10)
    assert (found[0], found[-1], len(found)) == ("5009", "10", 5_000)
    assert messages(ring, limit=1) == ["5009"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"level": "WARNING"}, ["crash", "Bäd"]),
        ({"id": "g-1"}, ["Bäd", "received"]),
        ({"id": "g-"}, []),
        ({"repository": "octo/Widgets"}, ["Bäd"]),
        ({"text": "BäD"}, ["Bäd"]),
        ({"text": 'a "quoted\\ '}, ["crash"]),
        ({"level": "WARNING", "id": "g-1", "repository": "octo/widgets", "text": "b"}, ["Bäd"]),
    ],
)
def test_lines_of_the_ring_are_filtered(wanted: dict[str, Any], found: list[str]) -> None:
    ring = ring_of(
        written_line("received", delivery="g-1", request_id="r-1"),
        written_line("Bäd", "WARNING", delivery="g-1", repository="octo/widgets"),
        written_line("crash", "CRITICAL", reason='": "g-1" "level": "INFO", a "quoted\\ text'),
    )
    assert messages(ring, **wanted) == found
