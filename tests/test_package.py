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

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`hls` in a virtual environment, installed by pip from a copy of the checkout."""
    source = tmp_path_factory.mktemp("source")
    for name in ("hls_handler", "prompts", "config", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (
        *ROOT.glob("requirements*.txt"),
        *(ROOT / name for name in ("pyproject.toml", "setup.py", "LICENSE")),
    ):
        shutil.copy(path, source)
    (source / "config" / "settings.yaml").write_text("the file of a user\n")
    environment = tmp_path_factory.mktemp("venv")
    venv.create(environment)
    (packages,) = environment.glob("lib/python*/site-packages")
    # The dependencies of this environment, without its .pth files, one of which names the checkout.
    (packages / "dependencies.pth").write_text(
        "\n".join(path for path in sys.path if path.endswith("-packages"))
    )
    pip = [sys.executable, "-m", "pip", "--python", str(environment), "--disable-pip-version-check"]
    install = [
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--no-compile",
        str(source),
    ]
    subprocess.run([*pip, *install], check=True, cwd=environment)
    assert list((packages / "hls_handler" / "shipped_files" / "config").glob("*.yaml")) == [
        packages / "hls_handler" / "shipped_files" / "config" / "settings.example.yaml"
    ]
    shutil.rmtree(source)
    return environment / "bin" / "hls"


def test_installed_program_has_all_files_that_it_needs(program: Path, tmp_path: Path) -> None:
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

    assert hls("--version") == f"hls {__version__}\n"
    (shipped,) = program.parent.parent.glob("lib/python*/site-packages/hls_handler/shipped_files")
    checked = hls("check", "--offline")
    assert f"{shipped}/config/settings.example.yaml: settings and 11 prompts are fine" in checked
    assert (shipped / "docs" / "running.md").read_text() == (
        ROOT / "docs" / "running.md"
    ).read_text()
    with subprocess.Popen(
        [program, "demo"], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        try:
            assert next(line for line in demo.stdout if "issues.opened" in line)
            assert next(line for line in demo.stdout if "done" in line)
        finally:
            demo.kill()  # its service ends with it


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A git clone with the files of this checkout, and its compiled modules, which git ignores."""
    for name in ("hls_handler", "prompts", "config", "docs"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pyc.*", "settings.yaml")
        )
    shutil.copy(ROOT / ".gitignore", tmp_path)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Shipped"]):
        subprocess.run([*git, *arguments], check=True)
    return tmp_path


def test_check_names_an_edited_shipped_file_of_a_clone(clone: Path) -> None:
    file = clone / "prompts/issues/analyze.j2"
    file.write_text(f"{file.read_text()}One more sentence.\n")
    command = [sys.executable, "-m", "hls_handler", "check", "--offline"]
    checked = subprocess.run(
        command, cwd=clone, text=True, timeout=120, capture_output=True, check=False
    ).stdout
    (edited,) = [line for line in checked.splitlines() if "this shipped file is edited" in line]
    assert edited.startswith(f"{file}: note: this shipped file is edited, and `git pull` aborts if")
