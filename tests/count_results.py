"""`python -m tests.count_results FOLDER`: print one line that counts the results of several runs.

The folder has a JUnit file of each run; the line has pytest's format.
"""

from __future__ import annotations

import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

# (attribute of a JUnit file, word in pytest's line)
FAILURES = (("failures", "failed"), ("skipped", "skipped"), ("errors", "errors"))


def count_results(folder: Path) -> str:
    """Return the line: "1 failed, 6811 passed in 712.40s (0:11:52)"."""
    counts: Counter[str] = Counter()
    seconds = 0.0
    for file in sorted(folder.glob("*.xml")):
        suite = ElementTree.parse(file).getroot()[0]
        counts["passed"] += int(suite.attrib["tests"])
        seconds += float(suite.attrib["time"])
        for attribute, word in FAILURES:
            counts[word] += int(suite.attrib[attribute])
            counts["passed"] -= int(suite.attrib[attribute])
    words = ("failed", "passed", "skipped", "errors")
    numbers = ", ".join(f"{counts[word]} {word}" for word in words if counts[word])
    return f"{numbers or 'no tests ran'} in {seconds:.2f}s ({timedelta(seconds=int(seconds))})"


if __name__ == "__main__":
    sys.stdout.write(count_results(Path(sys.argv[1])) + "\n")
