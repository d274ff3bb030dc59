"""Adds the files that HLS ships outside of its package (see shipped.py) to the wheel."""

from setuptools import find_packages, setup

FOLDERS = {
    f"hls_handler.shipped_files.{folder}": folder for folder in ("prompts", "config", "docs")
}

setup(packages=[*find_packages(include=["hls_handler*"]), *FOLDERS], package_dir=FOLDERS)
