"""Adds the commit, and files that HLS ships outside of its package, to the wheel
(settings/shipped.py).
"""

import subprocess
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

FOLDERS = {
    f"hls_handler.shipped_files.{folder}": folder for folder in ("prompts", "config", "docs")
}


class Build(build_py):
    def run(self) -> None:
        super().run()
        if Path(".git").exists() and not self.editable_mode:
            git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
            commit = subprocess.check_output(git, text=True)
            Path(self.build_lib, "hls_handler", "commit.txt").write_text(commit)


setup(
    packages=[*find_packages(include=["hls_handler*", "hls_sandbox*"]), *FOLDERS],
    package_dir=FOLDERS,
    cmdclass={"build_py": Build},
)
