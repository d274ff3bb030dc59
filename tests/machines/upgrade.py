"""An upgrade with work in flight: a version is killed while it works, and the version that follows
continues with the same database.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hls_handler.db.migrate import REVISIONS
from tests.crash.scenarios import FreshRepository
from tests.e2e.service import ROOT, Service

HOME = FreshRepository(1)
NEWEST = REVISIONS[-1]
FOLLOWING = f"{NEWEST}.1"
MIGRATION = f"""\
import sqlalchemy as sa
from alembic import op

revision = "{FOLLOWING}"
down_revision = "{NEWEST}"


def upgrade() -> None:
    op.add_column(
        "deliveries", sa.Column("later", sa.Integer(), server_default="1", nullable=False)
    )
"""
GUID = '    Column("guid", Text, nullable=False, unique=True),\n'
LATER = '    Column("later", Integer, nullable=False, server_default="1"),\n'


def copy_with_a_later_column(folder: Path) -> Path:
    """Return a checkout of the version that follows this one."""
    package = folder / "hls_handler"
    shutil.copytree(ROOT / "hls_handler", package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("config", "docs", "hls_sandbox", "prompts", ".venv"):
        (folder / name).symlink_to(ROOT / name)
    (package / "db/migrations/versions/following.py").write_text(MIGRATION)
    replace_once(package / "db/tables.py", GUID, GUID + LATER)
    replace_once(package / "db/migrate.py", f'"{NEWEST}",)', f'"{NEWEST}", "{FOLLOWING}")')
    return folder


def replace_once(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


@dataclass
class CheckoutService(Service):
    """A service of the version in the folder, with its `.venv`."""

    folder: Path = Path()

    @property
    def command(self) -> list[str]:
        return [str(self.folder / ".venv/bin/python"), "-m", "hls_handler"]

    def start(self) -> Service:
        self.begin_log()
        command = [*self.command, "serve", "--config", str(self.settings)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        return self.until_up()

    @contextmanager
    def triage(self) -> Iterator[None]:
        """Start a batch of open issues with comments, and watch it."""
        options = ["--comments", "--yes", "--config", str(self.settings)]
        command = [*self.command, "batch", "triage", HOME.full_name, *options]
        watcher = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            watcher.terminate()
            watcher.wait()
