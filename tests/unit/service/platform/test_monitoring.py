"""The dashboard and the alerts of ``deploy``: they ask for metrics that the service exports."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
import yaml
from prometheus_client import generate_latest

from deepfake_service.platform.enums import ENDED
from deepfake_service.platform.metrics import Metrics
from tests.support.deployment import DEPLOY
from tests.unit.service.conftest import Service

RULES = DEPLOY / "prometheus" / "rules.yaml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "deepfake.json"
NAME = re.compile(r"\bdeepfake_\w+")
SAMPLES = {
    "counter": ["", "_total"],
    "gauge": [""],
    "histogram": ["_bucket", "_sum", "_count"],
}


def expressions() -> Iterator[str]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    dashboard = json.loads(DASHBOARD.read_text())
    yield from (t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", []))


async def test_every_metric_is_exported(service: Service) -> None:
    text = (await service.client.get("/metrics")).text
    exported = {
        name + ending
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
        for ending in SAMPLES[kind]
    }
    asked = {name for expression in expressions() for name in NAME.findall(expression)}
    assert asked <= exported, asked - exported
    assert len(asked) > 20


def test_every_end_of_a_job_is_counted_from_zero() -> None:
    """The rate of a counter misses the increase by which its series begins."""
    exposition = generate_latest(Metrics().registry).decode()
    assert "_created" not in exposition
    for state in ENDED:
        assert f'deepfake_jobs_total{{state="{state}"}} 0.0' in exposition


def test_the_dashboard_asks_the_data_source_that_grafana_is_given() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in dashboard["panels"]]
    assert len(set(places)) == len(places)


def test_every_alert_says_what_to_do() -> None:
    rules = [r for g in yaml.safe_load(RULES.read_text())["groups"] for r in g["rules"]]
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "action"}
    assert len({rule["alert"] for rule in rules}) == len(rules)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "words", [["check", "config", "prometheus.yaml"], ["test", "rules", "rules-test.yaml"]]
)
def test_prometheus_accepts_the_files_and_alerts_fire(words: list[str]) -> None:
    done = subprocess.run(
        ["promtool", *words], cwd=RULES.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
