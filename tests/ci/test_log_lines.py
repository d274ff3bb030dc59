"""Lines of a job's log, and private keys in them."""

from __future__ import annotations

import pytest

from hls_handler.ci.log_lines import (
    REPLACEMENT,
    LogLine,
    PrivateKeyFilter,
    display_text,
    parse_line,
    truncate_line,
)

TIME = "2026-11-20T09:14:31.1234567Z "


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (f"{TIME}npm test\n", "npm test"),
        (f"\ufeff{TIME}first line", "first line"),
        ("2026-11-20T09:14:31Z no fraction", "no fraction"),
        (f"{TIME}\x1b[31;1mred\x1b[0m and \x1b[38;5;9mmore\x1b[K", "red and more"),
        (f"{TIME}\x1b]0;title\x07text", "text"),
        (f"{TIME}\x1b]0;a title that never ends: error", "0;a title that never ends: error"),
        (f"{TIME} 10 %\r 50 %\r100 %\r\n", "100 %"),
        (f"{TIME}##[command]/usr/bin/git version", "$ /usr/bin/git version"),
        (f"{TIME}##[unheard-of]text", "##[unheard-of]text"),
        (f"{TIME}PK\x03\x04\0\0", "[35 characters that are not text]"),
        (f"{TIME}\ufffd\ufffd\ufffd\ufffd", "[33 characters that are not text]"),
    ],
)
def test_a_line_is_shown_without_times_marks_and_escape_sequences(raw: str, text: str) -> None:
    assert display_text(parse_line(raw)) == text


def test_second_of_a_line_is_parsed() -> None:
    assert parse_line(f"{TIME}npm test").second == "2026-11-20T09:14:31"
    assert parse_line("no time").second == ""


def test_long_line_is_truncated_with_the_number_of_cut_characters() -> None:
    line = parse_line("error: " + "a" * 10_000_000)
    shown = truncate_line(LogLine(1, line.text, unread=line.unread))
    assert shown.text == "error: " + "a" * 493 + "… [9,999,507 characters cut]"


def test_a_credential_at_the_end_of_a_long_line_is_not_cut_in_two() -> None:
    shown = truncate_line(LogLine(1, "x" * 480 + " ghp_" + "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5"))
    assert "ghp_" not in shown.text


KEY = (
    "-----BEGIN RSA PRIVATE KEY-----",
    "Proc-Type: 4,ENCRYPTED",
    "",
    *("MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfnygWyF8PbnGy5S7AEkXv1Hqk3sZs9tLmMa",) * 3,
    "kq==",
    "-----END RSA PRIVATE KEY-----",
)


def redacted(*lines: str) -> list[str]:
    key_filter = PrivateKeyFilter()
    return [key_filter.redact_line(line) for line in lines]


def test_each_line_of_a_private_key_is_redacted() -> None:
    assert redacted("before", *KEY, "after") == ["before", *[REPLACEMENT] * 8, "after"]
    assert redacted(*(f"> {line}" for line in KEY)) == [f"> {REPLACEMENT}", *[REPLACEMENT] * 7]


def test_line_that_cannot_be_part_of_a_key_ends_it() -> None:
    code = "error: this is no key, whatever stands above"
    assert redacted(KEY[0], KEY[3], code, "MIIE") == [REPLACEMENT, REPLACEMENT, code, "MIIE"]


def test_a_key_in_one_line_is_left_to_redaction() -> None:
    line = "-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----"
    assert redacted(line, "after") == [line, "after"]
