"""Mutants that tests notice, and mutants that none can notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants import Runner, find_mutants

MODULE = """
def has_number(numbers: list[int]) -> bool:
    return len(numbers) > 0 or bool(numbers)
"""
TEST = """
from numbered import has_number

def test_numbers():
    assert has_number([7]) is True
    assert has_number([]) is False

def test_unrelated():
    assert False
"""


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_mutant_lives_only_if_no_test_notices_it(tmp_path: Path) -> None:
    module = tmp_path / "numbered.py"
    module.write_text(MODULE)
    (tmp_path / "test_numbers.py").write_text(TEST)
    mutants = list(find_mutants(module))
    tests = {"test_numbers.py::test_numbers"}
    runner = Runner([(mutant, tests) for mutant in mutants], measured_at=float("inf"))
    pytest.main(
        ["-qq", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)], plugins=[runner]
    )
    assert {str(mutant).partition(": ")[2]: mutant in runner.killed for mutant in mutants} == {
        "return len(numbers) > 0 or bool(numbers) -> return None": True,
        "len(numbers) > 0 or bool(numbers) -> len(numbers) > 0 and bool(numbers)": False,
        "len(numbers) > 0 -> len(numbers) >= 0": True,
        "0 -> 1": False,
    }
