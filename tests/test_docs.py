"""The pages say what the code does: settings, commands, targets, addresses, metrics, links."""

from __future__ import annotations

import argparse
import ast
import os
import re
from pathlib import Path
from unittest.mock import patch

import falcon.inspect
import pytest
from marshmallow import Schema

from observatory import __main__ as command_line
from observatory import settings
from observatory.api.account_schemas import ApiKeyParams, AuditParams, UserParams
from observatory.api.budget_schemas import BudgetParams
from observatory.api.conversations import ConversationParams, MessageParams, ToolUseParams
from observatory.api.exports import ExportParams
from observatory.api.files import FileParams
from observatory.api.metrics import Metrics
from observatory.api.operations import PAGES as PAGES_FOR_BROWSERS
from observatory.api.reconcile import ReconcileParams
from observatory.api.secrets import SecretParams
from observatory.api.webhook_schemas import DeliveryParams
from observatory.app import create_app
from observatory.settings import read_settings
from observatory.store.scopes import WHOLE
from tests.transcripts_for_tests import Transcript

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path.relative_to(ROOT): path.read_text() for path in [
    *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"),
]}  # fmt: skip
ROW = re.compile(r"^\| `([A-Z_]+)` \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)
# Where the code has no default of its own: what the page says instead.
MADE = {
    "ALLOWED_HOSTS": "none",
    "COOKIE_ORIGINS": "none",
    "JWT_SECRET": "made once",
    "JWT_SECRET_PREVIOUS": "none",
    "TRUSTED_PROXIES": "none",
    "WEBHOOK_ALLOWED_NETWORKS": "none",
    "TRANSCRIPTS_DIR": "from `CLAUDE_CONFIG_DIR`",
}


def documented() -> dict[str, str]:
    """Return the default of each variable in the table."""
    rows = ROW.findall(PAGES[Path("docs/configuration.md")])
    assert len({row[0] for row in rows}) == len(rows)
    return {name: default for name, default, _takes, _meaning in rows}


def read_by_code() -> dict[str, object]:
    """Return the default of each variable that ``settings.py`` reads."""
    tree = ast.parse(Path(settings.__file__).read_text())
    return {
        node.args[0].value: ast.literal_eval(node.args[1])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "env"
        and len(node.args) == 2
    }


def as_typed(default: object) -> str:
    if isinstance(default, list):
        return ",".join(default)
    return str(default).lower() if isinstance(default, bool) else str(default)


def commands_and_options() -> dict[str, set[str]]:
    """Return the options of each command and action, and under ``""`` those before one."""
    found: dict[str, set[str]] = {}

    def walk(name: str, parser: argparse.ArgumentParser) -> None:
        found[name] = {option for action in parser._actions for option in action.option_strings}
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for inner, command in action.choices.items():
                    walk(f"{name} {inner}".strip(), command)

    walk("", command_line._parser())
    return found


# Settings


def test_every_variable_has_a_row_with_its_default():
    table, code = documented(), read_by_code()
    assert set(table) == set(code)
    for name, default in code.items():
        assert table[name] == (MADE.get(name) or f"`{as_typed(default)}`"), name


def test_the_documented_defaults_change_nothing():
    defaults = {name: text.strip("`") for name, text in documented().items() if name not in MADE}
    with patch.dict(os.environ, {"HOME": "/home/ada"}, clear=True):
        plain = read_settings(env_file=None)
        os.environ.update(defaults)
        assert read_settings(env_file=None) == plain


def test_the_command_lines_own_text_names_a_page_that_is_there():
    for page in re.findall(r"docs/[\w\-]+\.md", command_line._parser().format_help()):
        assert Path(page) in PAGES


# Commands and targets


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z\-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (page, target)
        for page, text in PAGES.items()
        for target in re.findall(r"(?:`|^ {4}|&& )make ([a-z\-]+)", text, re.MULTILINE)
    }
    assert named
    assert {target for _, target in named} <= targets


def test_every_command_that_is_named_exists():
    commands = commands_and_options()
    named = {
        name
        for text in PAGES.values()
        for name in re.findall(r"(?:`|^ {4}|\$ |\$\()observatory ([a-z\-]+)", text, re.MULTILINE)
    }
    assert named
    assert named <= set(commands)


def test_every_option_that_is_named_belongs_to_its_command():
    commands = commands_and_options()
    for page, text in PAGES.items():
        for line in text.splitlines():
            named = re.findall(r"`observatory ([a-z\-]+)( [a-z]+)?", line)
            if len(named) == 1 and line.startswith("|"):
                options = set(re.findall(r"`(--[a-z\-]+)", line))
                action = "".join(named[0])
                assert options <= commands.get(action, commands[named[0][0]]), page


def test_every_command_and_option_is_documented():
    text = PAGES[Path("docs/operations.md")]
    for name, options in commands_and_options().items():
        if name:
            assert f"`observatory {name}" in text
            for option in options - {"-h", "--help"}:
                assert f"`{option}" in text, f"{name} {option}"


# Addresses and metrics


def routes() -> list[str]:
    app = create_app(cors_origins=(), folders=())
    return [route.path for route in falcon.inspect.inspect_routes(app)]


def documented_paths() -> list[str]:
    text = PAGES[Path("docs/api.md")]
    return re.findall(r"'http://127\.0\.0\.1:3001([^'?]*)", text)


PAGES_FOR_PEOPLE = [page for page in PAGES_FOR_BROWSERS if page != "/docs"]


@pytest.mark.parametrize("route", [r for r in routes() if r not in (*PAGES_FOR_PEOPLE, "/ws")])
def test_every_route_is_in_the_page_of_the_api(route):
    template = re.compile(re.sub(r"{\w+}", "[A-Z_0-9]+", route))
    assert any(template.fullmatch(path) for path in documented_paths())


@pytest.mark.parametrize("path", documented_paths())
def test_every_address_in_the_page_of_the_api_is_a_route(path):
    assert any(re.fullmatch(re.sub(r"{\w+}", "[A-Z_0-9]+", route), path) for route in routes())


@pytest.mark.parametrize(
    "schema",
    [
        ConversationParams,
        MessageParams,
        ToolUseParams,
        FileParams,
        ExportParams,
        SecretParams,
        UserParams,
        ApiKeyParams,
        AuditParams,
        DeliveryParams,
        ReconcileParams,
        BudgetParams,
    ],
)
def test_every_parameter_is_in_the_page_of_the_api(schema: type[Schema]):
    for name, field in schema().fields.items():
        assert f"`{field.data_key or name}`" in PAGES[Path("docs/api.md")]


METRIC = re.compile(r"^\| `(observatory_\w+)` \| (\w+) \|(.*?)\| .+ \|$", re.MULTILINE)


def documented_metrics() -> dict[str, tuple[str, set[str]]]:
    """Return type and labels of each metric in the table."""
    rows = METRIC.findall(PAGES[Path("docs/operations.md")])
    assert len({row[0] for row in rows}) == len(rows)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_every_metric_is_in_the_page_of_operations_as_it_is(client, write, ingest):
    transcript = Transcript()
    transcript.tool_use("Bash", {"command": "ls"}, model="without-a-price")
    write(transcript)
    ingest()
    for path in ("/api/search?q=x", "/api/analytics/costs", "/api/events/stream"):
        client.get(path)
    client.post_json("/api/budgets", {"name": "b", "period": "month", "limit_tokens": 9})
    table, found = documented_metrics(), {}
    for family in Metrics(is_multiprocess=False).collect(WHOLE):
        if family.name.startswith("observatory_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            found[name] = (family.type, labels)
    assert set(found) == set(table)
    for name, (kind, labels) in found.items():
        assert kind == table[name][0], name
        assert not labels or labels == table[name][1], name


def test_metrics_that_are_named_anywhere_exist():
    named = {
        name for text in PAGES.values() for name in re.findall(r"\bobservatory_[a-z_]+\b", text)
    }
    # The last is a kind of secret.
    known = {*documented_metrics(), "observatory_key"}
    assert {name.removesuffix("_bucket") for name in named} <= known


# Links


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_between_pages_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[page]):
        assert (ROOT / page.parent / target).exists(), target


def test_the_code_names_sections_that_are_there():
    """Docstrings say where a rule comes from: ``docs/transcript-format.md, "Tool uses"``."""
    named = {
        (match[1], match[2])
        for path in (ROOT / "observatory").rglob("*.py")
        for match in re.finditer(r'(docs/[\w/-]+\.md), "([^"]+)"', path.read_text())
    }
    assert len(named) > 3
    for document, section in named:
        assert f"## {section}\n" in (ROOT / document).read_text(), (document, section)


# The proxy


def test_nginx_passes_the_port_of_the_host_on():
    """Origin has the port; with $host the pages' own forms would come from another site."""
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    assert re.search(r"proxy_set_header Host +\$http_host;", text)
    assert not re.search(r"proxy_set_header Host +\$host;", text)
