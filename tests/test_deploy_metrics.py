"""Rules, alerts, dashboard and autoscaler are what Prometheus and Grafana take, and ask for series that there are."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from service import errors
from service.api import metrics
from service.api.request_context import STAGES
from tests.support.deploy_kustomize import Object, read
from tests.support.deploy_manifests import DEPLOY, OVERLAYS, one, routes, server

PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD: Object = json.loads((DEPLOY / "grafana" / "gaze.json").read_text(encoding="utf-8"))


def samples() -> dict[str, set[str]]:
    """Return the labels of each series that the service exposes, by its name."""
    found: dict[str, set[str]] = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            labels = set(metric._labelnames)
            [family] = metric.describe()
            if family.type == "histogram":
                found |= {f"{family.name}_{part}": labels for part in ("sum", "count")}
                found[f"{family.name}_bucket"] = labels | {"le"}
            else:
                found[f"{family.name}_total" if family.type == "counter" else family.name] = labels
    return found


def recorded() -> dict[str, str]:
    """Return what rules.yml records, by its name."""
    [contents] = read(PROMETHEUS / "rules.yml")
    return {rule["record"]: rule["expr"] for group in contents["groups"] for rule in group["rules"]}


def alerts() -> dict[str, Object]:
    """Return the alerts by their names."""
    [contents] = read(PROMETHEUS / "alerts.yml")
    return {rule["alert"]: rule for group in contents["groups"] for rule in group["rules"]}


def panels() -> dict[str, str]:
    """Return the expressions of the dashboard, each under the title of its panel."""
    return {
        f"{panel['title']}, {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    }


EXPRESSIONS = recorded() | {name: alert["expr"] for name, alert in alerts().items()} | panels()
OF_THE_TARGET = {"job", "instance", "namespace", "pod"}
CODES = {each.code for each in vars(errors).values() if isinstance(each, type) and hasattr(each, "code")}
VALUES = {
    "code": CODES,
    "outcome": CODES | {"ranked", "explained"},
    "stage": set(STAGES),
    "source": {"upload", "base64", "url", "iiif"},
    "status": {"200", "500", "503"},
    "job": {"gaze"},
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expression_asks_for_series_and_labels_that_there_are(name: str) -> None:
    expression = EXPRESSIONS[name]
    series = re.findall(r"(?<![\w:$])(gaze[_:][\w:]+|up)(?:\{([^}]*)\})?", expression)
    assert series
    known = samples()
    for metric, matchers in series:
        labels = OF_THE_TARGET | known.get(metric, set())
        assert metric in {*known, *recorded(), "up"}
        for label, value in re.findall(r'(\w+)\s*[=!]~?\s*"([^"]*)"', matchers):
            assert label in labels
            for each in value.split("|") if label in VALUES else ():
                assert any(re.fullmatch(each, real) for real in VALUES[label]), each
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
    named = {label.strip() for group in grouped for label in group.split(",")}
    assert named <= OF_THE_TARGET.union(*(known.get(metric, set()) for metric, _ in series))


def test_paths_that_expressions_name_are_routes() -> None:
    paths = routes()
    named = {value for text in EXPRESSIONS.values() for value in re.findall(r'route=~?"([^"]*)"', text)}
    assert "/v1/gaze" in named
    for each in named:
        assert any(re.fullmatch(each, path) for path in paths), each


def test_every_alert_says_what_it_is_and_what_to_do() -> None:
    for alert in alerts().values():
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert set(alert["annotations"]) == {"summary", "description"}
        assert len(alert["annotations"]["description"]) > 60
    tested = (PROMETHEUS / "alerts_test.yml").read_text(encoding="utf-8")
    assert {name for name in alerts() if f'alertname="{name}"' in tested} == set(alerts())


def test_dashboard_can_be_imported() -> None:
    assert DASHBOARD["title"] == "Gaze"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids)) > 8
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in DASHBOARD["panels"]:
        assert panel["datasource"] == source
        assert all(target["datasource"] == source for target in panel["targets"])
        assert 'namespace=~"$namespace"' in panel["targets"][0]["expr"]
    assert [each["name"] for each in DASHBOARD["templating"]["list"]] == ["datasource", "namespace"]


def promtool(*arguments: str | Path) -> str:
    """Run promtool, which must find nothing wrong; skip where it is missing, but not in continuous integration."""
    if shutil.which("promtool") is None:
        assert "CI" not in os.environ, "promtool is missing: apt-get install prometheus"
        pytest.skip("there is no promtool on this machine (Debian's package prometheus)")
    ended = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_rules_and_alerts_are_prometheus_own() -> None:
    said = promtool("check", "rules", "--lint-fatal", PROMETHEUS / "rules.yml", PROMETHEUS / "alerts.yml")
    assert f"{len(recorded())} rules found" in said
    assert f"{len(alerts())} rules found" in said


def test_alerts_come_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", PROMETHEUS / "alerts_test.yml")


def test_configuration_is_prometheus_own(tmp_path: Path) -> None:
    for name in ("rules.yml", "alerts.yml"):
        shutil.copy(PROMETHEUS / name, tmp_path)
    [configuration] = read(PROMETHEUS / "prometheus.yml")
    [scraped] = configuration["scrape_configs"]
    [discovered] = scraped.pop("kubernetes_sd_configs")  # Debian's promtool is built without it
    assert discovered == {"role": "pod", "namespaces": {"names": ["gaze"]}}
    scraped["static_configs"] = [{"targets": ["gaze:8000"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    assert "2 rule files found" in promtool("check", "config", tmp_path / "prometheus.yml")
    labels = one("cpu", "Deployment")["spec"]["template"]["metadata"]["labels"]
    wanted = scraped["relabel_configs"][0]["regex"].split(";")
    assert wanted == [*(labels[f"app.kubernetes.io/{each}"] for each in ("name", "component")), "http"]


def test_dashboards_expressions_are_prometheus_own(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": text.replace("$__rate_interval", "1m").replace("$namespace", ".*")}
        for number, text in enumerate(panels().values())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    assert f"{len(rules)} rules found" in promtool("check", "rules", path)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_autoscaler_adds_pods_long_before_they_refuse(overlay: str) -> None:
    [metric] = one(overlay, "HorizontalPodAutoscaler")["spec"]["metrics"]
    [rule] = read(PROMETHEUS / "adapter.yml")[0]["rules"]["custom"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    series = rule["name"]["matches"].strip("^$")
    assert rule["seriesQuery"].startswith(f"{series}{{")
    assert series in recorded()
    limits, requests = (server(overlay)["resources"][name] for name in ("limits", "requests"))
    assert limits["cpu"] == requests["cpu"]  # the service would count on cores that others have
    places = max(12, 4 * int(limits["cpu"]))
    assert int(metric["pods"]["target"]["averageValue"]) <= places // 2
