"""`git pull && make run` upgrades a checkout from the commit before, with the settings and the
database of its user.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hls_handler.prompting import recorded
from tests.e2e.service import ROOT, Service, settings_text, wait_until
from tests.e2e.test_main_job import send
from tests.github_fake.server import Sandbox

AUTHOR = ("-c", "user.name=Mona", "-c", "user.email=mona@example.com")


def git(folder: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(
        ["git", *AUTHOR, *arguments], cwd=folder, check=check, capture_output=True, text=True
    )
    return done.stdout


def commit_before() -> str:
    """Return the commit before this one; this one in a checkout without history, or if it edits the
    tables without a migration, as is allowed until 1.0.0 is tagged.
    """
    before = git(ROOT, "rev-parse", "--verify", "--quiet", "HEAD~1", check=False).strip()
    database = "hls_handler/db"
    changed = git(ROOT, "diff", "--name-only", before or "HEAD", "HEAD", "--", database).split()
    has_migration = any("/versions/" in path for path in changed)
    if not before or (f"{database}/tables.py" in changed and not has_migration):
        return "HEAD"
    return before


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The repository that users clone, at the commit before."""
    folder = tmp_path / "published"
    git(tmp_path, "clone", "--quiet", str(ROOT), str(folder))
    git(folder, "checkout", "--quiet", "-B", "main", commit_before())
    return folder


@pytest.fixture
def service(published: Path, sandbox: Sandbox, tmp_path: Path) -> Iterator[Service]:
    """The service of a user's clone, with the user's own settings. It is not started."""
    checkout = tmp_path / "hls"
    git(tmp_path, "clone", "--quiet", "--branch", "main", str(published), str(checkout))
    # here a symbolic link, and otherwise ignored
    (checkout / ".git" / "info" / "exclude").write_text(".venv\n")
    (checkout / ".venv").symlink_to(ROOT / ".venv")
    storage_url = f"sqlite:///{checkout}/data/hls.db"
    settings = checkout / "config" / "settings.yaml"
    settings.write_text(settings_text(sandbox, storage_url=storage_url))
    made = Service(settings, 0, tmp_path / "service.log", storage_url)
    yield made
    made.stop()


def test_pull_and_run_upgrade_a_checkout_from_the_commit_before(
    service: Service, published: Path, sandbox: Sandbox
) -> None:
    def run_with_make(service: Service, checkout: Path) -> None:
        """Start the service with `make run`, which uses the virtual environment of the tests."""
        command = ["make", "--no-print-directory", "--assume-old=.venv/ready", "run"]
        environ = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "MAKEFLAGS", "MAKELEVEL")
        }
        service.begin_log()
        with service.log.open("ab") as log:
            service.process = subprocess.Popen(
                command, cwd=checkout, stdout=log, stderr=log, env=environ
            )
        service.until_up()

    checkout, settings = service.settings.parent.parent, service.settings.read_text()
    run_with_make(service, checkout)
    bug = recorded.load("demo/bug")
    sandbox.state.seed(bug.event, bug.payload)
    assert service.deliver(bug.event, bug.body).status == 202
    wait_until(lambda: service.finished == 1)
    service.stop()  # make passes the signal on, and waits for the service
    assert '"stopped"' in service.log.read_text().splitlines()[-1]

    git(published, "reset", "--quiet", "--hard", git(ROOT, "rev-parse", "HEAD").strip())
    for changed in ("config/settings.example.yaml", "prompts/issues/analyze.j2"):
        with (published / changed).open("a") as file:
            file.write(
                "\n{# of the new version #}\n"
                if changed.endswith(".j2")
                else "\n# of the new version\n"
            )
    git(published, "commit", "--quiet", "--all", "--message", "The new version")
    git(checkout, "pull", "--quiet")
    assert git(checkout, "rev-parse", "HEAD") == git(published, "rev-parse", "HEAD")
    assert git(checkout, "status", "--porcelain") == ""
    assert service.settings.read_text() == settings

    run_with_make(service, checkout)
    assert send(service, sandbox, "demo/question") == "queued"
    assert "of the new version" in (checkout / "prompts" / "issues" / "analyze.j2").read_text()
    with closing(service.open_store()) as store:
        states = store.statistics.counters()
    assert states["outcome", "done"] == 2  # of both versions
