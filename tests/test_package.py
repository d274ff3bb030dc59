"""The installed package: `hls` runs from any folder, with the prompts and settings that the wheel
contains.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from hls_handler import __version__
from tests.e2e.service import free_port

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git clone with the present files and one that git ignores."""
    source = tmp_path_factory.mktemp("source")
    files = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    for name in files.rstrip("\0").split("\0"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Shipped"]):
        subprocess.run([*git, *arguments], check=True)
    (source / "config" / "settings.yaml").write_text("the file of a user\n")
    return source


@pytest.fixture(scope="module")
def program(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`hls` of the built wheel in a virtual environment that has no other package but those that
    HLS needs.
    """
    environment = tmp_path_factory.mktemp("venv")
    build = ["build", "--quiet", "--offline", "--no-build-isolation", "--sdist", "--wheel"]
    python = ["--python", sys.executable, "--out-dir", str(environment / "dist")]
    subprocess.run([sys.executable, "-m", "uv", *build, *python, str(source)], check=True)
    (wheel,) = environment.glob("dist/*.whl")
    venv.create(environment)
    (packages,) = environment.glob("lib/python*/site-packages")
    # The dependencies of this environment, without its .pth files, one of which names the checkout.
    (packages / "dependencies.pth").write_text(
        "\n".join(path for path in sys.path if path.endswith("-packages"))
    )
    pip = [sys.executable, "-m", "pip", "--python", str(environment), "--disable-pip-version-check"]
    install = ["install", "--quiet", "--no-index", "--no-deps", "--no-compile", str(wheel)]
    subprocess.run([*pip, *install], check=True, cwd=environment)
    assert list((packages / "hls_handler" / "shipped_files" / "config").glob("*.yaml")) == [
        packages / "hls_handler" / "shipped_files" / "config" / "settings.example.yaml"
    ]
    return environment / "bin" / "hls"


def test_installed_program_has_all_files_that_it_needs(
    program: Path, source: Path, tmp_path: Path
) -> None:
    hidden = (
        "HLS_CONFIG",
        "PYTHONPATH",
        "GITHUB_TOKEN",
        "GITHUB_WEBHOOK_SECRET",
        "ANTHROPIC_API_KEY",
    )
    environ = {name: value for name, value in os.environ.items() if name not in hidden}

    def hls(*arguments: str) -> str:
        return subprocess.check_output(
            [program, *arguments], cwd=tmp_path, env=environ, text=True, timeout=120
        )

    git = ["git", "-C", str(source), "rev-parse", "--short", "HEAD"]
    commit = subprocess.check_output(git, text=True).strip()
    assert hls("--version") == f"hls {__version__} ({commit})\n"
    assert "Usage: hls init" in hls("init", "--help")
    (shipped,) = program.parent.parent.glob("lib/python*/site-packages/hls_handler/shipped_files")
    checked = hls("check", "--offline")
    assert f"{shipped}/config/settings.example.yaml: settings and 11 prompts are fine" in checked
    assert (shipped / "docs" / "running.md").read_text() == (
        ROOT / "docs" / "running.md"
    ).read_text()
    with subprocess.Popen(
        [program, "demo", "--port", f"{free_port()}"],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        try:
            assert next(line for line in demo.stdout if "issues.opened" in line)
            assert next(line for line in demo.stdout if "done" in line)
        finally:
            demo.kill()  # its service ends with it


def test_check_names_an_edited_shipped_file_of_a_clone(source: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(source), str(clone)], check=True)
    file = clone / "prompts/issues/analyze.j2"
    file.write_text(f"{file.read_text()}One more sentence.\n")
    command = [sys.executable, "-m", "hls_handler", "check", "--offline"]
    checked = subprocess.run(
        command, cwd=clone, text=True, timeout=120, capture_output=True, check=False
    ).stdout
    (edited,) = [line for line in checked.splitlines() if "this shipped file is edited" in line]
    assert edited.startswith(f"{file}: note: this shipped file is edited, and `git pull` aborts if")
