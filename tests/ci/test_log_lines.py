"""Lines of a job's log: how they are parsed, redacted and shortened."""

from __future__ import annotations

import json

import pytest

from hls_handler.ci.log_lines import BLOCK_LINES, REPLACEMENT, parse_line, read_lines

TIME = "2026-11-20T09:14:31.1234567Z "
GBK = "未声明的标识符".encode("gbk").decode("utf-8", "replace")
TOKEN = "ghp_" + "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5"


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
        (f"{TIME}##[command]/usr/bin/git version", "/usr/bin/git version"),
        (f"{TIME}##[error]It is broken", "Error: It is broken"),
        (f"{TIME}##[unheard-of]text", "##[unheard-of]text"),
        (f"{TIME}PK\x03\x04\0\0", ""),
        (f"{TIME}\ufffd\ufffd\ufffd\ufffd", ""),
        (f"{TIME}a.c(3): {GBK}", f"a.c(3): {GBK}"),
        (f"{TIME}{'Error: 0x80370102'.encode('utf-16-le').decode()}\n", "Error: 0x80370102"),
        (f"\0{'Zeile 2'.encode('utf-16-le').decode()}\r\0\n", "Zeile 2"),
    ],
)
def test_a_line_is_shown_without_times_marks_and_escape_sequences(raw: str, text: str) -> None:
    assert parse_line(1, raw).text == text


def test_second_of_a_line_is_parsed() -> None:
    assert parse_line(1, f"{TIME}npm test").second == "2026-11-20T09:14:31"
    assert parse_line(1, "no time").second == ""


def read(*raw: str) -> list[str]:
    return [line.text for line in read_lines(raw)]


def test_long_line_keeps_its_beginning_and_its_end() -> None:
    assert read("error: " + "a" * 3_000 + " because") == [
        "error: " + "a" * 993 + " [... 1,015 characters] " + "a" * 992 + " because"
    ]


def test_long_line_of_json_begins_with_its_reason() -> None:
    fields = {"cmd": ["x" * 900] * 3, "rc": 1, "stderr": "exited (3)", "msg": "non-zero"}
    (text,) = read(f"fatal: [web-1]: FAILED! => {json.dumps(fields)}")
    assert text.startswith(
        'fatal: [web-1]: FAILED! => {"msg": "non-zero", "stderr": "exited (3)", "cmd": ["xxx'
    )
    assert len(text) < 2_100


def test_a_line_longer_than_is_parsed_keeps_only_its_beginning() -> None:
    # the end of what was read may be half of a credential
    (text,) = read("error: " + "a" * 15_970 + f" {TOKEN}")
    assert text == "error: " + "a" * 993 + " [... 15,000 characters]"


@pytest.mark.parametrize("place", [980, 1_000, 2_980, 3_000])
def test_rule_10_a_credential_is_redacted_before_a_long_line_is_cut(place: int) -> None:
    (text,) = read("x" * (place - 20) + f" {TOKEN} " + "y" * (4_000 - place))
    assert not any(TOKEN[start : start + 12] in text for start in range(len(TOKEN) - 12))


KEY_TEXT = "MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfnygWyF8PbnGy5S7AEkXv1Hqk3sZs9tLmMa"
KEY = (
    "-----BEGIN RSA PRIVATE KEY-----",
    *(KEY_TEXT,) * 3,
    "kq==",
    "-----END RSA PRIVATE KEY-----",
)


def test_rule_10_a_credential_with_escapes_of_json_is_redacted_before_a_long_line_is_cut() -> None:
    escaped = "\\u0067hp_" + "b7" * 20
    (text,) = read(f'{{"a": "{"x" * 2_000}", "msg": "{"y" * 980} {escaped}"}}')
    assert "b7b7" not in text


def test_rule_10_a_private_key_with_escaped_line_ends_is_redacted() -> None:
    assert read(*(f"    {line}\\n\\" for line in KEY[:-1])) == [
        f"    {REPLACEMENT}",
        *[f"    {REPLACEMENT}\\n\\"] * 3,
        f"    {REPLACEMENT}",
    ]


@pytest.mark.parametrize("before", [1, BLOCK_LINES - 3, BLOCK_LINES - 1])
@pytest.mark.parametrize("prefix", ["", "> ", "#12 4.567 ", "tests-1  | "])
def test_rule_10_each_line_of_a_private_key_is_redacted(prefix: str, before: int) -> None:
    texts = read(*["before"] * before, *(prefix + line for line in KEY), "after")
    assert texts[before:-1] == [f"{prefix}{REPLACEMENT}".strip()] * 5 + [REPLACEMENT]
    assert (texts[before - 1], texts[-1]) == ("before", "after")


def test_rule_10_a_private_key_is_redacted_between_the_lines_of_other_tasks() -> None:
    noise = [f"db-1     | alpha bravo {'cargo ' * (number % 5)}delta" for number in range(25)]
    between: list[str] = []
    for line in (*KEY[:3], "KeyError: 'id'"):
        between += [f"tests-1  | {line}", "db-1     | ember flint"]
    texts = read(*noise, *between, *noise)
    assert [text for text in texts if text.startswith("tests-1")] == [
        *[f"tests-1  | {REPLACEMENT}"] * 3,
        "tests-1  | KeyError: 'id'",
    ]


@pytest.mark.parametrize("padding", [0, 950, 3_000])
def test_rule_10_a_private_key_in_a_line_of_json_is_redacted(padding: int) -> None:
    key = "\n".join((KEY[0], *(KEY_TEXT,) * 25, KEY[-1]))
    (text,) = read(json.dumps({"pad": "x" * padding, "err": key, "msg": "it failed", "end": "y"}))
    assert "MIIE" not in text
    assert KEY_TEXT[20:40] not in text
    assert "it failed" in text


def test_line_that_cannot_be_part_of_a_key_is_shown() -> None:
    code = "error: this is no key, whatever stands above"
    assert read(KEY[0], KEY[1], code, "MIIE") == [REPLACEMENT, REPLACEMENT, code, "MIIE"]


@pytest.mark.parametrize("before", [1, BLOCK_LINES - 1])
def test_rule_10_a_password_below_its_name_is_redacted(before: int) -> None:
    texts = read(*["before"] * before, "- name: DB_PASSWORD", "  value: swordfish", "after")
    assert texts[-2] == "  value: [redacted: password]"
