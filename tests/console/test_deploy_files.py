"""The alert rules and the dashboard in deploy/ name metrics and labels that `/metrics` has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hls_handler.console.metrics import TOTALS
from tests.console.browser import KEY, Browser

RULES, DASHBOARD = Path("deploy/hls.rules.yaml"), Path("deploy/hls.grafana.json")


def expressions(path: Path) -> list[str]:
    if path == RULES:
        return [
            rule["expr"]
            for group in yaml.safe_load(path.read_text())["groups"]
            for rule in group["rules"]
        ]
    panels: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=str)
def test_named_metrics_and_labels_exist(path: Path, browser: Browser) -> None:
    def metrics(page: str) -> Iterator[str]:
        """Yield the names that a query can have."""
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE):
            yield from (
                (f"{name}_bucket", f"{name}_sum", f"{name}_count")
                if kind == "histogram"
                else (name,)
            )

    page = browser.get("/metrics", x_api_key=KEY).text
    text = "\n".join(expressions(path))
    named = set(re.findall(r"\bhls_[a-z_]+", text))
    assert len(named) > 8
    assert named - set(metrics(page)) == set()
    labels = {label for total in TOTALS for label in total.labels} | {
        "job",
        "instance",
        "component",
        "state",
        "le",
    }
    used = {label for group in re.findall(r"by \(([^)]*)\)", text) for label in group.split(", ")}
    used |= set(re.findall(r'(\w+)(?:=|!=|=~)"', text))
    assert used - labels == set()


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=str)
def test_processes_with_the_same_database_are_counted_once(path: Path) -> None:
    sums = [
        one
        for one in expressions(path)
        if re.search(r"\bsum( by \([^)]*\))? ?\((rate|increase)?\(?hls_", one)
    ]
    assert sums == []
