"""Detects the log group in which the runner shows a step's script or action, shell, inputs and environment.

    ##[group]Run npm test
    \x1b[36;1mnpm test\x1b[0m
    shell: /usr/bin/bash -e {0}
    env:
      CI: true
    ##[endgroup]

These lines are not output of the step, so words such as "error" in them mean no failure. If a program prints a group
with such a title, its lines are output.
"""

from __future__ import annotations

from hls_handler.ci.lines import RawLine

MAX_GROUP_LINES = 200
"""Limit for a group, in lines, because a group may never end."""


def opens_command(line: RawLine) -> bool:
    return line.mark == "group" and line.text.startswith("Run ")


class CommandGroup:
    """Tracks the group line by line; pass each line of the log once, in order."""

    def __init__(self) -> None:
        self._lines_left = 0
        self._has_values = False

    def includes(self, line: RawLine) -> bool:
        """Return True if the line belongs to such a group."""
        if opens_command(line):
            self._lines_left, self._has_values = MAX_GROUP_LINES, False
            return True
        if not self._lines_left:
            return False
        if line.mark == "endgroup":
            self._lines_left = 0
            return True
        # values may have several lines of any form
        self._has_values = self._has_values or line.text in {"with:", "env:"}
        is_included = self._has_values or line.is_script or line.text.startswith("shell: ")
        self._lines_left = self._lines_left - 1 if is_included else 0
        return is_included
