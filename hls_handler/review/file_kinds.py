"""Recognises test files and documentation by their names."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

FOLDERS = {
    "test", "tests", "testing", "spec", "specs", "t", "e2e",
    "__tests__", "__mocks__", "__fixtures__", "__snapshots__",
    "testutil", "testutils", "test_util", "test_utils", "test-utils",
    "testhelper", "testhelpers", "test_helpers",
    "testdata", "fixtures", "cypress", "androidtest", "inttest", "integrationtest", "testfixtures",
}  # fmt: skip
"""Names of folders with tests, in lower case."""

PROJECTS = re.compile(r"[._-](unit|integration|functional)?[._-]?(tests?|specs?)$")
"""Found in the lower-case names of folders with the tests of one project: `Billing.Tests` (.NET),
`api-tests`.
"""

WORDS = re.compile(
    r"^(test|spec)[._-]|[._-](tests?|unittest|specs?|cy|e2e)$"
    r"|^(conftest|testutils?|test_?helpers?|spec_?helper|rails_helper|setuptests?|tests?)$"
)
"""Found in the lower-case names of files without their extension: `test_a.py`, `a_test.go`,
`a.spec.ts`.
"""

CLASSES = re.compile(r"^(Test|IT)[A-Z]|[a-z0-9](Tests?|TestCase|Specs?|IT|ITCase|TestSuite)$")
"""Found in those of languages that name a file after its class: `AreaTest.java`, `AreaTests.cs`,
`AreaSpec.scala`.
"""

SOURCE_SETS = re.compile(r"[a-z0-9]Tests?$")
"""Found in the names of their folders with tests: `functionalTest` (Gradle), `jvmTest` (Kotlin)."""

CLASS_EXTENSIONS = {
    ".java", ".kt", ".kts", ".scala", ".groovy", ".cs", ".fs", ".vb", ".php", ".swift",
    ".m", ".mm", ".cpp", ".cc", ".cxx", ".hs", ".dart",
}  # fmt: skip

TAP = {".t", ".bats"}
"""Extensions of files that are tests whatever their names are (Perl, Bats)."""

PROSE = re.compile(r"\.(md|mdx|rst|txt|adoc)$")


def is_test_file(path: str) -> bool:
    file = PurePosixPath(path)
    folders = [folder.lower() for folder in file.parts[:-1]]
    if any(folder in FOLDERS or PROJECTS.search(folder) for folder in folders):
        return True
    extension = file.suffix.lower()
    if extension in TAP or WORDS.search(file.stem.lower()):
        return True
    if extension not in CLASS_EXTENSIONS:
        return False
    is_in_source_set = any(SOURCE_SETS.search(folder) for folder in file.parts[:-1])
    return is_in_source_set or CLASSES.search(file.stem) is not None


def is_prose(path: str) -> bool:
    """Return True for texts of any folder. Code in `docs/` is code."""
    return PROSE.search(path.lower()) is not None
