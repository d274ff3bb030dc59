"""Adds the prompts and the shipped settings, whose folders are outside of the package's folder, to the wheel."""

from setuptools import find_packages, setup

FOLDERS = {f"hls_handler.shipped_files.{folder}": folder for folder in ("prompts", "config")}  # see shipped.py

setup(packages=[*find_packages(include=["hls_handler*"]), *FOLDERS], package_dir=FOLDERS)
