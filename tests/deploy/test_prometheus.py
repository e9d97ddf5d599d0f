"""Prometheus takes our files; each alert fires when it should, and the runbook has a word on it."""

from __future__ import annotations

import re
import shutil
import subprocess

import falcon.inspect
import pytest
import yaml

from observatory.app import create_app
from tests.deploy.proxies import DEPLOY
from tests.processes import ROOT
from tests.programs import find_program
from tests.test_docs import documented, documented_metrics

FOLDER = DEPLOY / "prometheus"
CONFIG = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
[GROUP] = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}
TESTS = yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OPERATIONS = (ROOT / "docs/operations.md").read_text()
RUNBOOK = OPERATIONS.partition("\n## Runbook\n")[2].partition("\n## ")[0]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool in the folder of our files; skip the test where it is not installed."""
    return subprocess.run(
        [find_program("promtool"), *arguments], capture_output=True, text=True, cwd=FOLDER
    )


# The configuration


def test_promtool_takes_the_configuration(tmp_path):
    """It looks for the key, too, so another file stands in."""
    (tmp_path / "key").write_text("obs_key\n")
    shutil.copy(FOLDER / "rules.yml", tmp_path)
    [job] = CONFIG["scrape_configs"]
    text = (FOLDER / "prometheus.yml").read_text()
    text = text.replace(job["authorization"]["credentials_file"], str(tmp_path / "key"))
    (tmp_path / "prometheus.yml").write_text(text)
    done = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_compose_mounts_is_what_the_configuration_names():
    [job] = CONFIG["scrape_configs"]
    [secret] = COMPOSE["services"]["prometheus"]["secrets"]
    assert job["authorization"] == {"credentials_file": f"/run/secrets/{secret}"}
    port = documented()["PORT"].strip("`")
    assert job["static_configs"] == [{"targets": [f"web:{port}"]}]
    assert all((FOLDER / name).is_file() for name in CONFIG["rule_files"])


# The rules


def test_promtool_takes_the_rules():
    done = promtool("check", "rules", "rules.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_should_and_else_does_not():
    done = promtool("test", "rules", "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_is_tried_with_an_instance_that_is_bad_and_one_that_is_good(alert):
    tried = [test for test in TESTS if test["name"] == alert]
    assert tried
    for test in tried:
        series = "".join(given["series"] for given in test["input_series"])
        assert 'instance="bad"' in series
        assert 'instance="good"' in series
        before, after = test["promql_expr_test"]
        assert before["expr"] == after["expr"]
        assert f'alertname="{alert}"' in before["expr"]
        assert before["exp_samples"] == []
        [fires] = after["exp_samples"]
        assert 'instance="bad"' in fires["labels"]


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on(alert):
    rule = RULES[alert]
    assert set(rule["labels"]) == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/operations.md#runbook-{alert.lower()}"


def test_alerts_ask_for_metrics_that_exist():
    known = {*documented_metrics(), "up"}
    for alert, rule in RULES.items():
        named = re.findall(r"\b(?:observatory_\w+|up)\b(?=[{\[\s)])", rule["expr"] + " ")
        named = [name for name in named if name not in known]
        assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in named} <= known, alert
        assert "observatory" in rule["expr"]


def test_the_limit_of_streams_is_the_default():
    limit = documented()["MAX_STREAMS"].strip("`")
    assert RULES["ObservatoryStreamsNearLimit"]["expr"].endswith(f"> 0.8 * {limit}")


# The runbook


def test_the_runbook_has_an_entry_for_each_alert_in_their_order():
    assert re.findall(r"^### Runbook (\w+)$", RUNBOOK, re.MULTILINE) == list(RULES)


def test_each_entry_says_something():
    for entry in re.split(r"^### Runbook \w+$", RUNBOOK, flags=re.MULTILINE)[1:]:
        assert len(entry.split()) > 15, entry


def test_addresses_in_the_runbook_exist():
    routes = {
        re.sub(r"{\w+}", "{}", route.path)
        for route in falcon.inspect.inspect_routes(create_app(cors_origins=(), folders=()))
    }
    named = re.findall(r"`(?:[A-Z]+ )?(/(?:api|health)[^`?]*)", RUNBOOK)
    assert len(named) > 5
    assert {re.sub(r"{\w+}", "{}", path) for path in named} <= routes
