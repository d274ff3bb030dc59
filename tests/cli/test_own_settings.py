"""`hls config check-repository`: the problems of a .github/hls.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hls_handler.cli import app


def check(tmp_path: Path, content: bytes | None) -> Result:
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_bytes(content)
    return CliRunner().invoke(app, ["config", "check-repository", str(file), "--config", "config/settings.yaml"])


def test_a_valid_file_is_accepted_without_credentials(tmp_path: Path) -> None:
    result = check(tmp_path, b"prompts: {use: {issues.opened: issues/analyze}}\n")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}/mine.yaml can be used\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\nlables: {}\n", ":2: lables: unknown key; did you mean labels?"),
        (b"limits: {}\n", ":1: limits: can only be set by the operator, in HLS's own settings; remove it"),
        (
            b"prompts:\n  use: {issues.opened: issues/none}\n",
            (
                ":2: prompts.use.issues.opened: the operator has no prompt issues/none for issues.opened; there are "
                "issues/analyze"
            ),
        ),
        (b"\xff", ":1: not UTF-8; save the file as UTF-8"),
        (b"#" * 70_000, ": larger than 65536 bytes; this is not a settings file"),
    ],
    ids=["unknown key", "operator's", "unknown prompt", "binary", "huge"],
)
def test_each_problem_is_printed_with_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    result = check(tmp_path, content)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"{tmp_path}/mine.yaml{message}\n")


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    result = check(tmp_path, None)
    assert (result.exit_code, result.stderr) == (
        2,
        f"{tmp_path}/mine.yaml: cannot be read: No such file or directory\n",
    )
