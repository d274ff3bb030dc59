"""The group in which the runner shows what a step runs: the script or the action, its shell, inputs and environment.

    ##[group]Run npm test
    \x1b[36;1mnpm test\x1b[0m
    shell: /usr/bin/bash -e {0}
    env:
      CI: true
    ##[endgroup]

What stands there was not printed by what ran, and speaks of errors that did not happen. A program can print a group
with such a title too; its lines are output.
"""

from __future__ import annotations

from hls_handler.ci.lines import RawLine

LONGEST = 200
"""Lines. A group may never end."""


def opens_command(line: RawLine) -> bool:
    return line.mark == "group" and line.text.startswith("Run ")


class Command:
    """Goes along with a log, line by line."""

    def __init__(self) -> None:
        self._left = 0
        self._has_values = False

    def takes(self, line: RawLine) -> bool:
        """Whether the line is of such a group."""
        if opens_command(line):
            self._left, self._has_values = LONGEST, False
            return True
        if not self._left:
            return False
        if line.mark == "endgroup":
            self._left = 0
            return True
        self._has_values = self._has_values or line.text in {"with:", "env:"}  # of several lines, which look anyhow
        is_ours = self._has_values or line.is_script or line.text.startswith("shell: ")
        self._left = self._left - 1 if is_ours else 0
        return is_ours
