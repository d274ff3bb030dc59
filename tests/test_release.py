"""What a release installs and publishes: ranges, locks, pinned actions, and permissions of jobs."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hls_handler import __version__
from tests.e2e.service import ROOT
from tests.release_notes import read_notes

PROJECT: Any = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RELEASE: Any = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
DIRECT = "# What those need."
REQUIREMENTS = ["requirements.txt", "requirements-qdrant.txt", "requirements-providers.txt"]


def read_pins(name: str) -> dict[str, str]:
    """Return the pinned versions of a file by package: {"pygithub": "2.10.0"}."""
    pins = re.findall(
        r"^([\w.-]+)==([\w.]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE
    )
    return {canonicalize_name(package): version for package, version in pins}


@pytest.mark.parametrize(
    ("ranges", "files"),
    [
        (PROJECT["dependencies"], ["requirements.txt"]),
        (
            [one for extra in PROJECT["optional-dependencies"].values() for one in extra],
            ["requirements-qdrant.txt", "requirements-providers.txt"],
        ),
    ],
)
def test_ranges_name_what_hls_imports_and_have_the_tested_versions(
    ranges: list[str], files: list[str]
) -> None:
    def read_direct(name: str) -> dict[str, str]:
        text = (ROOT / name).read_text(encoding="utf-8").partition(DIRECT)[0]
        return {
            canonicalize_name(package): version
            for package, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)
        }

    tested = {name: version for file in files for name, version in read_direct(file).items()}
    parsed = {canonicalize_name(one.name): one for one in map(Requirement, ranges)}
    assert parsed.keys() == tested.keys()
    assert [name for name, one in parsed.items() if tested[name] not in one.specifier] == []
    assert [name for name, one in parsed.items() if "9999.0" in one.specifier] in ([], ["certifi"])


def test_ranges_of_the_libraries_that_change_most_end_with_the_minor_version() -> None:
    ranges = {one.name: one.specifier for one in map(Requirement, PROJECT["dependencies"])}
    for name in ("PyGithub", "anthropic", "uvicorn"):
        major, minor, _ = read_pins("requirements.txt")[name.lower()].split(".")
        assert f"{major}.{int(minor) + 1}.0" not in ranges[name]


@pytest.mark.parametrize(
    ("lock", "files"),
    [
        ("requirements.lock", ["requirements.txt"]),
        ("requirements-all.lock", REQUIREMENTS),
        ("requirements-build.lock", ["requirements-dev.txt"]),
    ],
)
def test_lock_has_the_versions_and_a_hash_of_each_package(lock: str, files: list[str]) -> None:
    # else: make lock
    pinned = {name: version for file in files for name, version in read_pins(file).items()}
    if lock == "requirements-build.lock":
        pinned = {name: pinned[name] for name in ("setuptools", "uv")}
    packages = re.split(r"\n(?=\S)", (ROOT / lock).read_text(encoding="utf-8").strip())
    assert [one for one in packages if "--hash=sha256:" not in one] == []
    everywhere = [one for one in packages if ";" not in one.partition("\\")[0]]
    found = dict(re.findall(r"^(\S+)==(\S+)", "\n".join(everywhere), re.MULTILINE))
    assert found == pinned


def test_actions_are_pinned_by_commit() -> None:
    files = [ROOT / "action.yml", *(ROOT / ".github/workflows").glob("*.yml")]
    used = re.findall(r"uses: (.+)", "\n".join(file.read_text(encoding="utf-8") for file in files))
    assert len(used) > 15
    assert [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", one)] == []


def test_jobs_of_a_release_have_the_permissions_that_they_need_and_publish_after_the_tests() -> (
    None
):
    jobs = RELEASE["jobs"]
    assert RELEASE["permissions"] == {}
    assert {name: job["permissions"] for name, job in jobs.items()} == {
        "test": {"contents": "read"},
        "build": {"contents": "read"},
        "package": {"id-token": "write"},
        "image": {"contents": "read", "packages": "write"},
        "release": {"contents": "write"},
    }
    assert jobs["package"]["needs"] == jobs["image"]["needs"] == ["test", "build"]
    assert jobs["release"]["needs"] == ["package", "image"]
    text = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    assert "secrets." not in text
    assert [
        line for line in re.findall(r"^ +(?:- )?run: (.+)", text, re.MULTILINE) if "${{" in line
    ] == []


def test_notes_of_a_release_are_its_section_of_the_changelog() -> None:
    assert read_notes(f"v{__version__}").startswith("The first release.")
    with pytest.raises(SystemExit, match=r"^the tag is v0\.9\.0, and hls_handler\.__version__ is"):
        read_notes("v0.9.0")


def test_only_the_page_about_releases_names_the_package_in_an_index_or_a_registry() -> None:
    name = PROJECT["name"]
    named = re.compile(
        rf"{name}|ghcr\.io|(?:pipx?|uv tool|uv pip) (?:install|run) hls|uvx hls|docker (?:pull|run) \S+/\S+"
    )
    files = [
        *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("config/*"), *ROOT.glob("prompts/**/*.j2"),
        *ROOT.glob("hls_handler/**/*.py"), ROOT / "compose.yaml", ROOT / "action.yml", ROOT / "Dockerfile",
    ]  # fmt: skip
    found = [str(file.relative_to(ROOT)) for file in files if named.search(file.read_text("utf-8"))]
    assert found == ["docs/releasing.md"]
