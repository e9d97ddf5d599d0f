"""What the files of ``deploy/`` name is there, and they agree with the code and with each other.

Docker and Kubernetes are not at hand where tests run: what reads a file without them is asked where
it is installed.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from observatory.settings import read_settings
from tests.deploy.proxies import DEPLOY
from tests.processes import ROOT, Home
from tests.programs import find_program
from tests.test_docs import commands_and_options, documented, read_by_code

DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
# Lines that are continued are one.
INSTRUCTIONS = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUBERNETES = {
    thing["kind"]: thing for thing in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
}
UNITS = ("systemd/observatory.service", "systemd/user/observatory.service")
NOT_OURS = {"PATH", "HOME", "PYTHONDONTWRITEBYTECODE", "PIP_DISABLE_PIP_VERSION_CHECK",
            "PIP_NO_CACHE_DIR"}  # fmt: skip
# Made by hand before the first start.
MADE_LATER = {"secrets/prometheus_key", "secrets/grafana_password"}
POD = KUBERNETES["Deployment"]["spec"]["template"]["spec"]
PORT = documented()["PORT"].strip("`")
TIMEOUT_SECONDS = int(documented()["REQUEST_TIMEOUT_MS"].strip("`")) // 1000
# What the watcher is given to end after that; see observatory/gunicorn_config.py.
WATCHER_SECONDS = 15


def image_settings() -> dict[str, str]:
    """Return what the image sets."""
    [last] = re.findall(r"^ENV (PATH=.*)$", INSTRUCTIONS, re.MULTILINE)
    pairs = dict(pair.split("=", 1) for pair in shlex.split(last))
    return {name: value for name, value in pairs.items() if name not in NOT_OURS}


def unit_lines(unit: str, key: str) -> list[str]:
    """Return the values of a key in a unit."""
    return re.findall(rf"^{key}=(.*)$", (DEPLOY / unit).read_text(), re.MULTILINE)


def compose_settings(service: str) -> dict[str, str]:
    """Return what a service sets while nothing comes from outside."""
    found = COMPOSE["services"][service]["environment"]
    return {name: re.sub(r"\$\{\w+:[^}]*\}", "", value) for name, value in found.items()}


def all_settings() -> dict[str, dict[str, str]]:
    """Return the settings that each file makes."""
    found = {
        "Dockerfile": image_settings(),
        "web": compose_settings("web"),
        "daemon": compose_settings("daemon"),
        "Secret": KUBERNETES["Secret"]["stringData"],
        "observatory.env": dict(
            line.split("=", 1)
            for line in (DEPLOY / "systemd/observatory.env").read_text().splitlines()
            if line and not line.startswith("#")
        ),
    }
    found["unit"] = dict(line.split("=", 1) for line in unit_lines(UNITS[0], "Environment"))
    for proxy in ("nginx.conf", "Caddyfile"):
        lines = re.findall(r"^#   ([A-Z_]+)=(\S+)$", (DEPLOY / proxy).read_text(), re.MULTILINE)
        found[proxy] = dict(lines)
    return found


def all_commands() -> dict[str, list[str]]:
    """Return the command lines of ``observatory`` in each file."""
    [image] = re.findall(r"^CMD (\[.*\])$", INSTRUCTIONS, re.MULTILINE)
    found = {"Dockerfile": json.loads(image)}
    for service in ("web", "daemon"):
        found[service] = COMPOSE["services"][service]["command"]
    for container in [*POD["initContainers"], *POD["containers"]]:
        command = container["command"]
        if command[0] == "observatory":
            found[container["name"]] = command
    for number, line in enumerate(re.findall(r"observatory (user [^|\n]+)", first_account())):
        words = shlex.split(line.partition("<")[0].partition(";")[0])
        found[f"first-account {number}"] = ["observatory", *words]
    for unit in UNITS:
        [start] = unit_lines(unit, "ExecStart")
        found[unit] = [Path(start.split()[0]).name, *start.split()[1:]]
    return found


def first_account() -> str:
    """Return the script that makes the first account in Kubernetes."""
    [script] = [c["command"][2] for c in POD["initContainers"] if c["name"] == "first-account"]
    return str(script)


def ask(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; skip the test where it is not installed."""
    return subprocess.run(
        [find_program(program), *arguments], capture_output=True, text=True, cwd=ROOT
    )


# Settings and commands


@pytest.mark.parametrize("where", all_settings())
def test_settings_exist_and_have_good_values(where):
    found = all_settings()[where]
    assert found
    assert set(found) <= set(read_by_code())
    with patch.dict(os.environ, {"HOME": "/home/ada", **found}, clear=True):
        read_settings(env_file=None)


@pytest.mark.parametrize("where", all_commands())
def test_commands_and_their_options_exist(where):
    program, *words = all_commands()[where]
    assert program == "observatory"
    commands = commands_and_options()
    name = " ".join(word for word in words[:2] if not word.startswith("-"))
    assert name in commands
    assert {word for word in words if word.startswith("-")} <= commands[name]


def test_the_file_of_settings_is_one_that_is_read():
    with patch.dict(os.environ, {"HOME": "/home/ada"}, clear=True):
        settings = read_settings(env_file=DEPLOY / "systemd/observatory.env")
    assert settings.trusted_proxies == ("127.0.0.1",)


def test_ports_agree():
    proxied = f"127.0.0.1:{PORT}"
    [exposed] = re.findall(r"^EXPOSE (\d+)$", INSTRUCTIONS, re.MULTILINE)
    [container] = POD["containers"]
    [service] = KUBERNETES["Service"]["spec"]["ports"]
    [let_in] = KUBERNETES["NetworkPolicy"]["spec"]["ingress"]
    assert exposed == PORT == image_settings()["PORT"] == compose_settings("web")["PORT"]
    assert COMPOSE["services"]["web"]["ports"] == [f"{proxied}:{PORT}"]
    assert f"web:{PORT}" in (DEPLOY / "compose.yaml").read_text()
    assert f"server {proxied};" in (DEPLOY / "nginx.conf").read_text()
    assert f"reverse_proxy {proxied} " in (DEPLOY / "Caddyfile").read_text()
    assert f'or "{PORT}"' in (DEPLOY / "healthcheck.py").read_text()
    ports = {container["ports"][0]["containerPort"], service["port"], let_in["ports"][0]["port"]}
    assert ports == {int(PORT)}


def test_sizes_and_times_agree():
    nginx = (DEPLOY / "nginx.conf").read_text()
    size = documented()["MAX_REQUEST_SIZE_MB"].strip("`")
    assert re.search(rf"client_max_body_size +{size}m;", nginx)
    [read] = re.findall(r"^    proxy_read_timeout +(\d+)s;", nginx, re.MULTILINE)
    assert int(read) > TIMEOUT_SECONDS
    ends = TIMEOUT_SECONDS + WATCHER_SECONDS
    assert int(COMPOSE["services"]["web"]["stop_grace_period"].removesuffix("s")) > ends
    assert POD["terminationGracePeriodSeconds"] > ends
    for unit in UNITS:
        [stop] = unit_lines(unit, "TimeoutStopSec")
        assert int(stop.removesuffix("s")) > ends


# The image


def test_all_that_the_image_installs_has_one_version():
    pinned = {
        canonicalize_name(line.partition("==")[0])
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    needed: set[str] = set()

    def add(name: str) -> None:
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            other = canonicalize_name(requirement.name)
            is_needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if is_needed and other not in needed:
                needed.add(other)
                add(other)

    add("claude-code-observatory")
    assert len(needed) > 20
    assert needed <= pinned


def test_the_image_runs_as_nobody_special_and_has_no_secrets():
    [user] = re.findall(r"^USER (.*)$", INSTRUCTIONS, re.MULTILINE)
    assert user == "${OBSERVATORY_UID}:${OBSERVATORY_UID}"
    [uid] = re.findall(r"^ARG OBSERVATORY_UID=(\d+)$", INSTRUCTIONS, re.MULTILINE)
    assert POD["securityContext"]["runAsUser"] == POD["securityContext"]["fsGroup"] == int(uid)
    assert not [name for name in image_settings() if "SECRET" in name]
    assert "JWT" not in DOCKERFILE


def test_what_is_copied_is_let_through_and_there():
    """``.dockerignore`` shuts out everything but what it names."""
    everything, *named = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if not line.startswith("#")
    ]
    let_through = {line.removeprefix("!") for line in named if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", INSTRUCTIONS, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert everything == "*"
    assert {source.removeprefix("./") for source in copied} == let_through
    assert all((ROOT / source).exists() for source in copied)


def test_hadolint_finds_nothing():
    done = ask("hadolint", "deploy/Dockerfile")
    assert done.returncode == 0, done.stdout


# Compose


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_each_service_may_do_little_and_is_reached_from_here_only(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_one_service_serves_and_one_reads_the_same_archive():
    web, daemon = COMPOSE["services"]["web"], COMPOSE["services"]["daemon"]
    assert "--no-ingest" in web["command"]
    assert daemon["command"] == ["observatory", "watch"]
    assert compose_settings("web")["INGEST_ON_START"] == "false"
    assert web["environment"] == daemon["environment"]
    assert web["volumes"] == daemon["volumes"]
    [data, transcripts] = web["volumes"]
    assert Path(image_settings()["DB_PATH"]).parent == Path(data.partition(":")[2])
    assert transcripts["read_only"] is True
    assert transcripts["target"] == image_settings()["TRANSCRIPTS_DIR"]


def test_the_proxy_that_is_trusted_is_the_gateway_of_the_network():
    [network] = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert compose_settings("web")["TRUSTED_PROXIES"] == network["gateway"]


def test_no_page_of_grafana_may_ask_the_api():
    """The default of CORS_ORIGINS is where Grafana is here."""
    default = documented()["CORS_ORIGINS"].strip("`")
    [port] = COMPOSE["services"]["grafana"]["ports"]
    assert default.rpartition(":")[2] == port.rpartition(":")[2]
    assert compose_settings("web")["CORS_ORIGINS"] == ""


def test_what_is_mounted_is_there_or_made_later():
    mounts = [
        mount["source"].removeprefix("./")
        for service in COMPOSE["services"].values()
        for mount in service["volumes"]
        if isinstance(mount, dict) and mount["source"].startswith("./")
    ]
    files = [secret["file"] for secret in COMPOSE["secrets"].values()]
    missing = {name for name in [*mounts, *files] if not (DEPLOY / name).exists()}
    assert mounts
    assert missing <= MADE_LATER


def test_no_secret_and_no_setting_of_a_machine_is_kept_in_the_repository():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/deploy/.env", "/deploy/observatory.env", "/deploy/secrets/"} <= set(ignored)


@pytest.mark.parametrize("path", sorted((DEPLOY / "grafana").rglob("*.yml")), ids=lambda p: p.stem)
def test_what_grafana_is_provisioned_with_parses(path):
    assert yaml.safe_load(path.read_text())["apiVersion"] == 1


def test_compose_takes_its_file():
    done = ask(
        "docker-compose", "-f", "deploy/compose.yaml", "--profile", "metrics", "config", "-q"
    )
    if "unknown" in done.stderr or "Unsupported" in done.stderr:
        pytest.skip(f"this docker-compose is too old: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr


# Kubernetes


def test_there_is_one_pod_and_never_two():
    deployment = KUBERNETES["Deployment"]["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    assert KUBERNETES["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert "HorizontalPodAutoscaler" not in KUBERNETES


def test_the_pod_may_do_little():
    for container in [*POD["initContainers"], *POD["containers"]]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["automountServiceAccountToken"] is False
    assert POD["enableServiceLinks"] is False


def test_names_within_kubernetes_agree():
    labels = KUBERNETES["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert KUBERNETES["Service"]["spec"]["selector"] == labels
    assert KUBERNETES["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    claim, _, _ = POD["volumes"]
    name = KUBERNETES["PersistentVolumeClaim"]["metadata"]["name"]
    assert claim["persistentVolumeClaim"]["claimName"] == name
    [settings] = POD["containers"][0]["envFrom"]
    assert settings["secretRef"]["name"] == KUBERNETES["Secret"]["metadata"]["name"]
    for thing in KUBERNETES.values():
        if thing["kind"] != "Namespace":
            assert thing["metadata"]["namespace"] == KUBERNETES["Namespace"]["metadata"]["name"]


def test_the_first_account_is_made_once(tmp_path):
    home = Home(tmp_path)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "observatory"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m observatory "$@"\n')
    program.chmod(0o755)
    account = tmp_path / "first-account"
    script = first_account().replace("/first-account", str(account))

    def run() -> subprocess.CompletedProcess[str]:
        path = f"{program.parent}:{os.environ['PATH']}"
        command = ["sh", "-ec", script]
        environment = home.environment(PATH=path)
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    missing = run()
    assert missing.returncode != 0
    assert str(account) in missing.stderr
    account.mkdir()
    (account / "email").write_text("ada@example.org")
    (account / "password").write_text("correct-horse-battery-1x\n")
    made = run()
    assert (made.returncode, made.stdout) == (0, "ada@example.org can sign in as admin.\n")
    shutil.rmtree(account)
    assert (run().returncode, run().stdout) == (0, "")


def test_kubernetes_takes_its_file():
    done = ask("kubernetes-validate", "--strict", "deploy/kubernetes.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


# systemd


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_the_unit(unit, tmp_path):
    """It looks for the program, so another one stands in."""
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", (DEPLOY / unit).read_text(), flags=re.M)
    path = tmp_path / "observatory.service"
    path.write_text(text)
    done = ask("systemd-analyze", "verify", str(path))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_the_archive_is_where_commands_look_for_it(unit):
    """They are run in the folder of the service, as docs/operations.md says, without settings."""
    assert not Path(documented()["DB_PATH"].strip("`")).is_absolute()
    assert unit_lines(unit, "WorkingDirectory")
    assert "DB_PATH" not in (DEPLOY / unit).read_text()


def test_systemd_says_that_the_unit_exposes_little(tmp_path):
    done = ask(
        "systemd-analyze", "security", "--offline=yes", "--threshold=15", "--no-pager",
        str(DEPLOY / UNITS[0]),
    )  # fmt: skip
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze can not look at files")
    assert done.returncode == 0, done.stdout.splitlines()[-1:]
