"""Every query of the dashboard and of the rules is asked of a Prometheus that scrapes a server."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.sessions import numbered
from tests.deploy.proxies import DEPLOY
from tests.processes import DEADLINE_SECONDS, Home, Server, free_port, serving, wait_for
from tests.programs import find_program
from tests.test_docs import documented_metrics
from tests.webhooks.receivers import receiving

DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/observatory.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = DASHBOARD["templating"]["list"]
QUERIES = [
    pytest.param(target["expr"], panel["title"], id=f"{panel['title']}-{target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
# What Grafana makes of a window for rates, here of scrapes each second.
WINDOW = "1m"
# Where this SQLite can tell, as docs/operations.md says.
RARE = {"Pages that are not in the database yet"}
# What was scraped often enough once all of these have an answer.
SEEN = (
    "count_over_time(observatory_build_info[5m]) > 4",
    'increase(observatory_webhook_deliveries_total{outcome="delivered"}[1m]) > 0',
    "sum(increase(observatory_stream_events_total[1m])) > 0",
    "observatory_maintenance_good == 1",
)
UNITS = {"short", "none", "s", "bytes", "Bps", "reqps", "percentunit", "currencyUSD"}


@dataclass(slots=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer, which must be a good one."""
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=DEADLINE_SECONDS) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def values(self, query: str) -> list[float]:
        """Return the values of all series of a query, as they are now."""
        return [float(found["value"][1]) for found in self.ask("query", query=query)["result"]]

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=DEADLINE_SECONDS):
                return True
        except OSError:
            return False


@contextmanager
def scraping(server: Server, folder: Path, *, program: str) -> Iterator[Prometheus]:
    """Run Prometheus with our configuration, for this server and each second."""
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    [job] = config["scrape_configs"]
    job["authorization"]["credentials_file"] = str(folder / "key")
    job["static_configs"] = [{"targets": [f"127.0.0.1:{server.port}"]}]
    (folder / "key").write_text(server.home.make_key("metrics:read"))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(DEPLOY / "prometheus/rules.yml", folder)
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        wait_for(prometheus.is_ready, what="Prometheus to answer")
        yield prometheus
    finally:
        process.terminate()
        process.wait(timeout=DEADLINE_SECONDS)


def write_session(home: Home, number: int, *, model: str) -> None:
    """Write a transcript in which a tool is used."""
    transcript = numbered(number)
    transcript.prompt("count the words")
    transcript.tool_use("Bash", {"command": "wc"}, model=model)
    transcript.tool_result("12")
    transcript.answer("twelve", model=model)
    path = home.projects / "-work" / f"{transcript.session_id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(transcript.bytes())


def use(server: Server, number: int) -> None:
    """Do what people and programs do, to a server that is scraped meanwhile."""
    server.get(f"/api/search?q=words{number}")
    server.get(f"/api/conversations/search?q=words{number}")
    server.get("/api/projects")
    server.get(f"/api/analytics/costs?to=2026-01-01T00:00:{number % 60:02}Z")
    server.post("/api/conversations", {"title": f"number {number}"})


@contextmanager
def streaming(server: Server) -> Iterator[None]:
    """Keep a stream of events open while a block runs."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/api/events/stream", headers=server.credentials()
    )
    with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
        assert answer.status == 200
        yield


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory) -> Iterator[Prometheus]:
    program = find_program("prometheus")
    home = Home(tmp_path_factory.mktemp("home"))
    write_session(home, 1, model="claude-opus-4-5-20251101")
    write_session(home, 2, model="without-a-price")
    settings = {"WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8", "DB_WAL_CHECKPOINT_INTERVAL": "1000"}
    with receiving() as receiver, serving(home, **settings) as server:
        wait_for(
            lambda: len(server.data("/api/conversations")["conversations"]) == 2, what="transcripts"
        )
        server.post("/api/webhooks", {"url": receiver.url})
        server.post("/api/budgets", {"name": "all", "period": "month", "limit_tokens": 10**6})
        with (
            streaming(server),
            scraping(server, tmp_path_factory.mktemp("prometheus"), program=program) as running,
        ):
            numbers = iter(range(10**6))

            def is_seen() -> bool:
                use(server, next(numbers))
                return all(running.values(query) for query in SEEN)

            wait_for(is_seen, what="scrapes of all that happened")
            yield running


def filled_in(query: str) -> str:
    """Return a query as Grafana sends it while all of each variable is chosen."""
    for variable in VARIABLES:
        query = query.replace(f"${variable['name']}", variable["allValue"])
    query = query.replace("$__rate_interval", WINDOW)
    assert "$" not in query
    return query


@pytest.mark.parametrize(("query", "title"), QUERIES)
def test_a_query_of_the_dashboard_has_an_answer(prometheus, query, title):
    values = prometheus.values(filled_in(query))
    if title not in RARE:
        assert any(map(math.isfinite, values)), values


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable["name"])
def test_a_variable_of_the_dashboard_has_values(prometheus, variable):
    metric, label = (
        variable["definition"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
    )
    found = prometheus.ask(f"label/{label}/values", **{"match[]": filled_in(metric)})
    assert found
    assert variable["query"]["query"] == variable["definition"]


def test_the_rules_are_evaluated_and_a_good_server_is_not_told_of(prometheus):
    [group] = prometheus.ask("rules")["groups"]
    for rule in group["rules"]:
        assert (rule["health"], rule.get("lastError")) == ("ok", None), rule["name"]
        assert rule["state"] != "firing", rule


# The file


def test_it_takes_the_prometheus_that_is_provisioned():
    provisioning = DEPLOY / "grafana/provisioning"
    [source] = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    wanted = {"type": source["type"], "uid": source["uid"]}
    targets = [target for panel in PANELS for target in panel["targets"]]
    assert all(each["datasource"] == wanted for each in [*PANELS, *targets, *VARIABLES])


def test_panels_do_not_cover_each_other():
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        own = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in own) < 24
        assert not own & cells, panel["title"]
        cells |= own
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_has_a_unit_legends_and_its_instance(panel):
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    for target in panel["targets"]:
        assert target["legendFormat"]
        assert 'instance=~"$instance"' in target["expr"]


def test_every_metric_is_on_the_dashboard():
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    missing = {name for name in documented_metrics() if name not in shown}
    # Of budgets the share is shown.
    assert all(name.startswith("observatory_budget_") for name in missing), missing
