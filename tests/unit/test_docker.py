"""The container files say what they should, and name nothing that is not there. They are not built here: that takes an engine."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from cli.errors import UserError
from flink_jobs.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
POM = "{http://maven.apache.org/POM/4.0.0}"


def dockerfile() -> list[list[str]]:
    """The instructions of the Dockerfile, each as its words, comments and line continuations removed."""
    lines = [line for line in (DOCKER / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    return [line.split() for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def instructions(word: str) -> list[list[str]]:
    return [line[1:] for line in dockerfile() if line[0] == word]


def base_images() -> dict[str, str]:
    return dict(line[0].split("=", 1) for line in instructions("ARG"))


class _ComposeLoader(yaml.SafeLoader):
    """YAML with Compose's own tags."""


_ComposeLoader.add_constructor("!reset", lambda _loader, _node: "RESET")


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((DOCKER / name).read_text(), Loader=_ComposeLoader)
    return loaded


SERVICES = compose()["services"]
ONE_SHOT = {"topics", "rules", "submit"}


def locked(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert found is not None
    return found.group(1)


def maven_version(pom: Path, artifact: str) -> str:
    tree = ET.parse(pom)
    for dependency in tree.iter(f"{POM}dependency"):
        if dependency.findtext(f"{POM}artifactId") == artifact:
            version = dependency.findtext(f"{POM}version") or ""
            if version.startswith("${"):
                version = tree.findtext(f".//{POM}properties/{POM}{version[2:-1]}") or ""
            return version
    raise AssertionError(f"{pom} does not name {artifact}")


# --- versions: each has one source -------------------------------------------------------------------------------------


def test_flink_has_one_version() -> None:
    """A jar built against one Flink and run on another fails at run time, in places that no compiler sees."""
    operator = ET.parse(ROOT / "flink_jobs" / "operator" / "pom.xml")
    assert operator.findtext(f".//{POM}properties/{POM}flink.version") == locked("apache-flink")
    assert locked("apache-flink") == locked("apache-flink-libraries")


def test_the_connector_has_one_version() -> None:
    fetched = maven_version(ROOT / "cli/maven/connector/pom.xml", "flink-sql-connector-kafka")
    compiled = maven_version(ROOT / "flink_jobs/operator/pom.xml", "flink-sql-connector-kafka")
    assert fetched == compiled


def test_the_broker_in_the_container_is_the_one_that_runs_without_docker() -> None:
    image, _, tag = SERVICES["kafka"]["image"].partition(":")
    assert image == "apache/kafka"
    assert tag == maven_version(ROOT / "cli/maven/broker/pom.xml", "kafka_2.13")


def test_the_dockerfile_names_no_version_of_its_own() -> None:
    """Flink comes from requirements.txt, jars from the poms: a second place would be the one that is forgotten."""
    text = (DOCKER / "Dockerfile").read_text()
    for version in (
        locked("apache-flink"),
        maven_version(ROOT / "cli/maven/connector/pom.xml", "flink-sql-connector-kafka"),
    ):
        assert version not in text
    assert "--require-hashes" in text


def test_java_and_python_fit_what_was_compiled_and_locked() -> None:
    images = base_images()
    release = ET.parse(ROOT / "flink_jobs/operator/pom.xml").findtext(f".//{POM}maven.compiler.release")
    assert images["JAVA_IMAGE"].startswith(f"eclipse-temurin:{release}.")
    assert images["MAVEN_IMAGE"].endswith(f"-eclipse-temurin-{release}")
    python = re.match(r"python:(3\.\d+)\.", images["PYTHON_IMAGE"])
    assert python is not None
    # The virtual environment's path has the version in it.
    paths = re.findall(r"/opt/venv/lib/python(3\.\d+)/", (DOCKER / "Dockerfile").read_text())
    assert set(paths) == {python.group(1)}
    assert python.group(1) in (ROOT / "segue").read_text()


# --- the image ---------------------------------------------------------------------------------------------------------


def test_base_images_are_pinned() -> None:
    for image in [*base_images().values(), SERVICES["kafka"]["image"]]:
        name, _, tag = image.partition(":")
        assert name
        assert re.match(r"\d+\.\d+\.\d+", tag), f"{image} is not pinned to a version"
    stages = {line[2] for line in instructions("FROM") if len(line) > 2}
    for line in instructions("FROM"):
        assert line[0].startswith("${") or line[0] in stages, f"{line[0]} is not among the pinned images"


def test_what_is_copied_exists_and_reaches_the_builder() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [line for line in instructions("COPY") if not line[0].startswith("--from")]
    assert copied
    for *sources, _ in copied:
        for source in sources:
            found = list(ROOT.glob(source))
            assert found, f"{source} is not there"
            assert Path(source).parts[0] in allowed, f".dockerignore keeps {source} from the builder"


def test_the_image_holds_every_package_of_the_project() -> None:
    copied = {Path(source).parts[0] for line in instructions("COPY") for source in line[:-1]}
    assert {"profiles", "rules", "online_models", "flink_jobs", "shop", "cli"} <= copied


def test_only_what_is_needed_reaches_the_builder() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignore
    assert "**/*.env" in ignore, "files with passwords stay out"
    assert not any(line.startswith(("!.", "!/.")) for line in ignore)


def test_it_does_not_run_as_root_and_signals_reach_it() -> None:
    last = max(index for index, line in enumerate(dockerfile()) if line[0] == "FROM")
    final = dockerfile()[last:]
    users = [line[1] for line in final if line[0] == "USER"]
    assert users[-1] == "segue"
    assert not any(line[0] in ("RUN", "COPY") for line in final[final.index(["USER", "segue"]) :])
    for word in ("ENTRYPOINT", "CMD"):
        (command,) = [" ".join(line[1:]) for line in final if line[0] == word]
        assert isinstance(json.loads(command), list), f"{word} runs through a shell"
    (entrypoint,) = [json.loads(" ".join(line[1:])) for line in final if line[0] == "ENTRYPOINT"]
    assert entrypoint[0] == "tini"


def test_no_secret_is_baked_in() -> None:
    for file in (DOCKER / "Dockerfile", DOCKER / "compose.yaml", DOCKER / "segue.yaml", DOCKER / "flink-config.yaml"):
        assert not re.search(r"(password|secret|token|jaas)\w*\s*[=:]", file.read_text(), re.IGNORECASE), file


# --- the entry point ---------------------------------------------------------------------------------------------------


def entrypoint(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "SEGUE_HOME": str(ROOT), **variables}
    return subprocess.run(
        [DOCKER / "entrypoint.sh", *words], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_the_shell_script_is_sound() -> None:
    assert os.access(DOCKER / "entrypoint.sh", os.X_OK)
    subprocess.run(["bash", "-n", DOCKER / "entrypoint.sh"], check=True)


def test_an_unknown_role_is_refused_with_the_list_of_roles() -> None:
    done = entrypoint("jobmanger")
    assert done.returncode == 2
    assert "unknown role: jobmanger" in done.stderr
    assert "taskmanager" in done.stderr


def test_it_says_what_it_can_do() -> None:
    done = entrypoint()
    assert done.returncode == 0
    for role in ("jobmanager", "taskmanager", "topics", "submit", "shop", "segue", "flink"):
        assert re.search(rf"^  {role} ", done.stdout, re.MULTILINE), role


@pytest.mark.parametrize("role", ["jobmanager", "taskmanager"])
def test_health_tells_a_role_that_does_not_answer(role: str, tmp_path: Path) -> None:
    note = tmp_path / "role"
    assert entrypoint("health", SEGUE_ROLE_FILE=str(note)).returncode == 0, "a one-shot is well while it lives"
    note.write_text(role)
    script = (DOCKER / "entrypoint.sh").read_text()
    port = {"jobmanager": "8081", "taskmanager": "6122"}[role]
    assert f"127.0.0.1 {port}" in script
    quiet = tmp_path / "entrypoint.sh"
    # A port that nobody listens on, whatever else runs on this machine.
    quiet.write_text(script.replace(f"127.0.0.1 {port}", "127.0.0.1 1"))
    done = subprocess.run(
        ["bash", quiet, "health"], env={**os.environ, "SEGUE_ROLE_FILE": str(note)}, timeout=30, check=False
    )
    assert done.returncode == 1


def test_flink_roles_start_flinks_own_scripts(tmp_path: Path) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name in ("jobmanager.sh", "taskmanager.sh", "flink"):
        (bin_folder / name).write_text('#!/bin/sh\necho "$(basename "$0") $*"\n')
        (bin_folder / name).chmod(0o755)
    variables = {"FLINK_HOME": str(tmp_path), "SEGUE_ROLE_FILE": str(tmp_path / "role")}
    assert entrypoint("jobmanager", "-D", "a=b", **variables).stdout == "jobmanager.sh start-foreground -D a=b\n"
    assert entrypoint("taskmanager", **variables).stdout == "taskmanager.sh start-foreground\n"
    assert (tmp_path / "role").read_text() == "taskmanager\n"
    assert entrypoint("flink", "list", **variables).stdout == "flink list\n"


# --- compose -----------------------------------------------------------------------------------------------------------


def test_all_services_are_there() -> None:
    assert set(SERVICES) == {"kafka", "jobmanager", "taskmanager", "topics", "rules", "submit", "shop", "tail"}
    assert SERVICES["shop"]["profiles"] == ["shop"]
    assert SERVICES["tail"]["profiles"] == ["tail"]
    assert not any("profiles" in SERVICES[name] for name in set(SERVICES) - {"shop", "tail"})


def test_ports_are_published_on_the_loopback_interface_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert not any(service.get("network_mode") for service in SERVICES.values())


def test_task_managers_can_be_many() -> None:
    """A name or a port of the host can only be had once."""
    assert "container_name" not in SERVICES["taskmanager"]
    assert "ports" not in SERVICES["taskmanager"]
    assert flink_config()["taskmanager"]["numberOfTaskSlots"] == 1


def test_each_waits_for_what_it_needs() -> None:
    needs = {
        name: {on: how["condition"] for on, how in service.get("depends_on", {}).items()}
        for name, service in SERVICES.items()
    }
    assert needs["topics"] == {"kafka": "service_healthy"}
    assert needs["rules"] == {"topics": "service_completed_successfully"}
    assert needs["submit"] == {"rules": "service_completed_successfully", "jobmanager": "service_healthy"}
    assert needs["taskmanager"] == {"jobmanager": "service_healthy"}
    for how in needs.values():
        for on, condition in how.items():
            if condition == "service_completed_successfully":
                assert on in ONE_SHOT
            else:
                # The health check of Segue's own image tells its roles apart.
                assert "healthcheck" in SERVICES[on] or SERVICES[on]["image"] == "segue:local"
    assert [line[0] for line in dockerfile()].count("HEALTHCHECK") == 1


def test_one_shots_are_not_started_again_and_all_are_limited() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == ("no" if name in ONE_SHOT | {"tail"} else "unless-stopped"), name
        assert "mem_limit" in service, name
        assert "cpus" in service, name
        assert service["cap_drop"] == ["ALL"], name


def test_state_lies_in_a_volume_that_all_who_need_it_share() -> None:
    loaded = load_settings(DOCKER / "segue.yaml", {})
    where = loaded.checkpoints.directory.removeprefix("file://")
    for name in ("jobmanager", "taskmanager", "submit"):
        assert any(volume.split(":")[:2] == ["state", where] for volume in SERVICES[name]["volumes"]), name
    created = next(" ".join(line) for line in dockerfile() if line[0] == "RUN" and "useradd" in line)
    assert where in created, "a volume on a folder that the image lacks belongs to root"
    log_dirs = SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"]
    assert SERVICES["kafka"]["volumes"] == [f"kafka-data:{log_dirs}"]
    assert set(compose()["volumes"]) == {"kafka-data", "state"}


def test_commands_are_roles_of_the_entry_point() -> None:
    roles = set(re.findall(r"^  (\w+) ", entrypoint("help").stdout, re.MULTILINE))
    for name, service in SERVICES.items():
        if name != "kafka":
            assert service["command"][0] in roles, name


def test_segue_commands_are_understood_by_the_command() -> None:
    from cli.main import COMMANDS

    known = {command.name for command in COMMANDS}
    for service in SERVICES.values():
        words = service.get("command", [])
        if words[:1] == ["segue"]:
            assert words[1] in known


def test_another_kafka_takes_the_place_of_the_one_in_the_file() -> None:
    external = compose("compose.external.yaml")["services"]
    assert external["kafka"] == "RESET"
    for name, service in SERVICES.items():
        if "kafka" in service.get("depends_on", {}):
            assert external[name]["depends_on"] == "RESET", name
    clients = {"topics", "rules", "submit", "shop", "tail"}
    assert set(external) == clients | {"kafka"}
    assert all(external[name]["env_file"] == ["kafka.env"] for name in clients)
    assert "*.env" in (DOCKER / ".gitignore").read_text().splitlines()


# --- settings ----------------------------------------------------------------------------------------------------------


def flink_config() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "flink-config.yaml").read_text())
    return loaded


def test_the_settings_fit_the_network() -> None:
    loaded = load_settings(DOCKER / "segue.yaml", {})
    host, _, port = loaded.kafka.bootstrap_servers.partition(":")
    assert host in SERVICES
    assert f"INSIDE://:{port}" in SERVICES["kafka"]["environment"]["KAFKA_LISTENERS"]
    config = flink_config()
    assert loaded.flink.rest == f"{config['rest']['address']}:{config['rest']['port']}"
    assert config["rest"]["address"] == config["jobmanager"]["rpc"]["address"] == "jobmanager"
    assert loaded.flink.python == "/opt/venv/bin/python"
    # A savepoint that is asked for without a place goes where the cluster says, and `submit` has to find it.
    kept = config["execution"]["checkpointing"]
    assert kept["dir"] == f"{loaded.checkpoints.directory}/checkpoints"
    assert kept["savepoint-dir"] == f"{loaded.checkpoints.directory}/savepoints"
    variables = SERVICES["submit"]["environment"]
    defaults = {name: re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", str(value)) for name, value in variables.items()}
    assert load_settings(DOCKER / "segue.yaml", defaults) == loaded, "the variables say what the file says"


def test_flinks_memory_leaves_room_for_the_worker() -> None:
    def mebibytes(text: str) -> int:
        return int(text[:-1]) * (1024 if text.endswith("g") else 1)

    config = flink_config()
    for name, spare in (("jobmanager", 128), ("taskmanager", 768)):
        limit = mebibytes(SERVICES[name]["mem_limit"])
        assert limit - mebibytes(config[name]["memory"]["process"]["size"]) >= spare, name


def test_the_options_that_java_needs_are_those_of_flinks_own_configuration() -> None:
    spec = importlib.util.find_spec("pyflink")
    assert spec is not None
    assert spec.origin is not None
    own = yaml.safe_load((Path(spec.origin).parent / "conf" / "config.yaml").read_text())
    assert flink_config()["env"]["java"]["opts"]["all"].split() == own["env"]["java"]["opts"]["all"].split()


# --- roles.py ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def roles() -> ModuleType:
    # Not imported by name: `docker` is what the client library of Docker is called.
    spec = importlib.util.spec_from_file_location("container_roles", DOCKER / "roles.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings_in(folder: Path) -> Settings:
    return load_settings(None, {"SEGUE_CHECKPOINTS__DIRECTORY": folder.as_uri()})


def test_a_job_starts_from_its_newest_snapshot(roles: ModuleType, tmp_path: Path) -> None:
    """Without it a cluster that was taken down and up again would go on in Kafka with nothing known of any customer."""
    loaded = settings_in(tmp_path)
    assert roles.starting_point(loaded, "newest") == ""
    for age, name in ((30, "checkpoints/one/chk-9"), (10, "savepoints/savepoint-1"), (20, "checkpoints/two/chk-1")):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "_metadata").write_bytes(b"x")
        os.utime(folder / "_metadata", (1_000_000 - age, 1_000_000 - age))
    (tmp_path / "checkpoints" / "two" / "chk-2").mkdir()  # cut short: it has no metadata
    assert roles.starting_point(loaded, "newest") == str(tmp_path / "savepoints/savepoint-1")
    assert roles.starting_point(loaded, "none") == ""
    assert roles.starting_point(loaded, "/some/where") == "/some/where"


def test_where_it_cannot_look_it_does_not_begin_anew_by_itself(roles: ModuleType) -> None:
    loaded = load_settings(None, {"SEGUE_CHECKPOINTS__DIRECTORY": "s3://bucket/state"})
    with pytest.raises(UserError, match="cannot be looked into"):
        roles.starting_point(loaded, "newest")
    assert roles.starting_point(loaded, "none") == ""


def test_it_waits_for_the_cluster_but_not_for_ever(roles: ModuleType) -> None:
    class Cluster:
        url = "http://nowhere"
        answers = iter([False, False, True])

        def reachable(self) -> bool:
            return next(self.answers)

    naps: list[float] = []
    roles.wait_for_cluster(Cluster(), 60.0, naps.append)
    assert len(naps) == 2
    Cluster.answers = iter([False] * 5)
    with pytest.raises(UserError, match="no Flink cluster answers"):
        roles.wait_for_cluster(Cluster(), 0.0, naps.append)


def test_a_second_up_submits_no_second_job(roles: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from cli.flink_rest import Job

    monkeypatch.setattr(roles.FlinkRest, "reachable", lambda self: True)
    monkeypatch.setattr(roles.FlinkRest, "live_jobs", lambda self, name: [Job("abc", name, "RUNNING", 0)])
    monkeypatch.setattr(roles, "hand_over", lambda *_, **__: pytest.fail("it was submitted again"))
    for name in list(os.environ):
        if name.startswith("SEGUE_"):
            monkeypatch.delenv(name)
    assert roles.submit(DOCKER / "segue.yaml", "newest") == 0
