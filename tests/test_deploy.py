"""The manifests are what Kubernetes takes and speak of this service as it is; the network lets its fetches through."""

import ipaddress
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from service import errors
from service.api.access import callers
from service.images.fetch.addresses import FetchPolicy
from service.settings import PREFIX, Settings, read_settings
from service.zero_shot.model_files import demo_folder
from tests.conftest import CACHE, REPOSITORY
from tests.support.deploy_kustomize import Object, built, containers, identity, pod_of
from tests.support.deploy_manifests import BUILT, DEPLOY, OVERLAYS, one, routes, server
from tests.support.gaze_command import environment_of, run
from tests.support.running_service import SERVE, served
from tests.support.stand_in_hub import Repository, stand_in_hub

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
GUIDE = (REPOSITORY / "docs" / "deploy.md").read_text(encoding="utf-8")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
KUBERNETES = ("1.27", "1.37")
"""The oldest that has all fields, and the newest of which kubernetes-validate knows."""


SECRETS = {"gaze-keys": {"api-keys": "a-key"}}


class PodDoesNotStart(Exception):
    """What a pod waits for is not there."""


def environment(overlay: str, container: Object, secrets: Mapping[str, Mapping[str, str]] = SECRETS) -> dict[str, str]:
    """Return the variables that a container gets, as Kubernetes puts them together. Raises PodDoesNotStart."""
    variables: dict[str, str] = dict(one(overlay, "ConfigMap")["data"])
    for each in container.get("env", ()):
        if "value" in each:
            text = each["value"]
            variables[each["name"]] = re.sub(r"\$\((\w+)\)", lambda found: variables.get(found[1], found[0]), text)
            continue
        reference = each["valueFrom"]["secretKeyRef"]
        value = secrets.get(reference["name"], {}).get(reference["key"])
        if value is not None:
            variables[each["name"]] = value
        elif not reference.get("optional"):
            raise PodDoesNotStart(reference["name"])
    return variables


def guide_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


# --- Kubernetes ---


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_come_out_as_kubectl_makes_them(overlay: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl on this machine")
    made = subprocess.run(
        ["kubectl", "kustomize", DEPLOY / "kubernetes" / "overlays" / overlay], capture_output=True, check=True
    )
    by_kubectl = {identity(each): each for each in yaml.safe_load_all(made.stdout)}
    assert {identity(each): each for each in BUILT[overlay]} == by_kubectl


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_objects_fit_kubernetes_schemas(overlay: str, version: str) -> None:
    for each in BUILT[overlay]:
        kubernetes_validate.validate(each, version, strict=True)


def test_field_that_kubernetes_does_not_know_is_noticed() -> None:
    service = one("cpu", "Service")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**service, "spec": {**service["spec"], "port": 80}}, KUBERNETES[-1], strict=True)


def test_objects_of_the_guide_fit_kubernetes_schemas() -> None:
    objects = [each for block in guide_blocks("yaml") for each in yaml.safe_load_all(block) if "apiVersion" in each]
    kinds = {each["kind"] for each in objects}
    assert {"NetworkPolicy", "Ingress"} <= kinds
    for each in objects:
        if each["kind"] != "Kustomization":
            kubernetes_validate.validate(each, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_ask_what_the_app_answers_without_a_key(overlay: str) -> None:
    paths = {name: server(overlay)[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    assert set(paths.values()) <= routes() & callers.OPEN_PATHS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everyone_means_the_same_port(overlay: str) -> None:
    [port] = server(overlay)["ports"]
    settings = read_settings(environment(overlay, server(overlay)))
    assert port == {"name": "http", "containerPort": settings.port}
    assert f"EXPOSE {settings.port}\n" in DOCKERFILE
    [service_port] = one(overlay, "Service")["spec"]["ports"]
    [callers] = one(overlay, "NetworkPolicy", "gaze-callers")["spec"]["ingress"]
    probes = [server(overlay)[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "readiness", "liveness")]
    assert {service_port["targetPort"], *(each["port"] for each in callers["ports"]), *probes} == {port["name"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_settings_that_the_service_takes(overlay: str) -> None:
    given = environment(overlay, server(overlay))
    settings = read_settings(given)  # refuses an unknown name
    assert settings.host == "0.0.0.0"
    assert settings.workers == 1
    assert settings.device == ("cuda" if overlay == "cuda" else "auto")
    assert settings.url_fetch == "public"
    assert given["HF_HUB_OFFLINE"] == "1"
    assert settings.api_keys == ("a-key",)


@pytest.mark.parametrize(
    ("secrets", "error"),
    [
        ({}, PodDoesNotStart),
        ({"gaze-key": {"api-keys": "a-key"}}, PodDoesNotStart),
        ({"gaze-keys": {"api_keys": "a-key"}}, PodDoesNotStart),
        ({"gaze-keys": {"api-keys": ""}}, errors.InvalidSettings),
        ({"gaze-keys": {"api-keys": " "}}, errors.InvalidSettings),
    ],
)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_mistyped_secret_is_no_open_service(
    overlay: str, secrets: dict[str, dict[str, str]], error: type[Exception]
) -> None:
    with pytest.raises(error):
        read_settings(environment(overlay, server(overlay), secrets))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_being_open_is_said_by_a_component(overlay: str, tmp_path: Path) -> None:
    copied = shutil.copytree(DEPLOY, tmp_path / "deploy")
    (tmp_path / "museum").mkdir()
    (tmp_path / "museum" / "kustomization.yaml").write_text(
        f"resources: [../deploy/kubernetes/overlays/{overlay}]\ncomponents: [../deploy/kubernetes/open]\n"
    )
    assert (copied / "kubernetes" / "open").is_dir()
    assert "`components: [../deploy/kubernetes/open]`" in GUIDE
    made = built(tmp_path / "museum")
    [deployment] = [each for each in made if each["kind"] == "Deployment"]
    kubernetes_validate.validate(deployment, KUBERNETES[-1], strict=True)
    [container] = pod_of(deployment)["containers"]
    assert read_settings(environment(overlay, container, {})).api_keys == ()
    names = [each["name"] for each in server(overlay)["env"]]
    assert [each["name"] for each in container["env"]] == [name for name in names if "API_KEYS" not in name]
    if shutil.which("kubectl"):
        by_kubectl = subprocess.run(["kubectl", "kustomize", tmp_path / "museum"], capture_output=True, check=True)
        assert deployment in list(yaml.safe_load_all(by_kubectl.stdout))


# --- compose ---

OF_COMPOSE = {
    "GAZE_HOST": "in the container it is all addresses; PUBLISH says where it is reached",
    "GAZE_PORT": "in the container it is 8000, which is what is published and asked for health",
    "GAZE_CACHE_DIR": "a volume is mounted there",
}
"""The settings that are not handed on, and why."""


@pytest.mark.parametrize("service", ["gaze", "gaze-cuda"])
def test_compose_hands_on_every_setting(service: str) -> None:
    given = COMPOSE["services"][service]["environment"]
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert {name for name in given if name.startswith(PREFIX)} == known - set(OF_COMPOSE)
    assert not any("=" in name for name in given)  # else what is not set would be set to something
    assert len(given) == len(set(given))


@pytest.mark.parametrize("service", ["gaze", "gaze-cuda"])
def test_compose_closes_the_container(service: str) -> None:
    given = COMPOSE["services"][service]
    assert given["build"]["target"] == service.partition("-")[2] or given["build"]["target"] == "cpu"
    assert f"FROM runtime AS {given['build']['target']}\n" in DOCKERFILE
    assert 1_000 <= given["pids_limit"] <= 10_000
    assert given["read_only"] is True
    assert given["cap_drop"] == ["ALL"]
    assert given["security_opt"] == ["no-new-privileges:true"]
    assert given["mem_limit"]
    [port] = given["ports"]
    assert port == "${PUBLISH:-127.0.0.1:8000}:8000"


@pytest.mark.parametrize("link", [{"GAZE_PORT": "tcp://10.96.7.7:80"}, {"GAZE_SERVICE_HOST": "10.96.7.7"}])
def test_service_links_would_stop_the_start(link: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidSettings):
        read_settings({**environment("cpu", server("cpu")), **link})


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_get_nothing_that_they_do_not_need(overlay: str) -> None:
    [uid] = set(re.findall(r"--uid (\d+)", DOCKERFILE))
    making_pods = [each for each in BUILT[overlay] if pod_of(each)]
    assert [each["kind"] for each in making_pods] == ["Job", "Deployment"]
    for each in making_pods:
        pod = pod_of(each)
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert {pod["securityContext"][name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {int(uid)}
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(each):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])
            [models] = [mount for mount in container["volumeMounts"] if mount["name"] == "models"]
            assert models.get("readOnly", False) is (each["kind"] == "Deployment")
            assert any(mount["mountPath"] == "/tmp" for mount in container["volumeMounts"])
    assert not any(each["kind"] == "Secret" for each in BUILT[overlay])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_are_the_dockerfiles_targets_and_look_where_the_volume_is(overlay: str) -> None:
    images = {container["image"] for each in BUILT[overlay] for container in containers(each)}
    assert images == {f"gaze:{overlay}"}
    assert f"FROM runtime AS {overlay}\n" in DOCKERFILE
    data = one(overlay, "ConfigMap")["data"]
    for name in ("HF_HOME", "GAZE_CACHE_DIR"):
        [folder] = re.findall(rf"{name}=(/[\w/]+)\$\{{BAKE|{name}=(/[\w/]+) \\", DOCKERFILE)
        assert data[name] == "".join(folder)
        assert data[name].startswith("/var/lib/gaze/")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pod_that_ends_has_time_for_what_is_under_way(overlay: str) -> None:
    configuration = (REPOSITORY / "service" / "server" / "gunicorn_conf.py").read_text(encoding="utf-8")
    [graceful] = re.findall(r"^graceful_timeout = (\d+)$", configuration, re.MULTILINE)
    command, seconds = server(overlay)["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert pod_of(one(overlay, "Deployment"))["terminationGracePeriodSeconds"] >= int(seconds) + int(graceful) + 5
    # Those who send callers hear of it by then.
    readiness = server(overlay)["readinessProbe"]
    assert int(seconds) >= readiness["periodSeconds"] * readiness["failureThreshold"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_mean_the_servers_and_no_one_else(overlay: str) -> None:
    template, job = (one(overlay, *of)["spec"]["template"] for of in (("Deployment",), ("Job", "gaze-prepare")))
    labels = template["metadata"]["labels"]
    meant = [
        one(overlay, "Deployment")["spec"]["selector"]["matchLabels"],
        one(overlay, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(overlay, "Service")["spec"]["selector"],
        one(overlay, "NetworkPolicy", "gaze-callers")["spec"]["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in template["spec"]["topologySpreadConstraints"]),
    ]
    assert meant == [labels] * len(meant)
    assert job["metadata"]["labels"] != labels
    fetching = one(overlay, "NetworkPolicy", "gaze-fetches")["spec"]["podSelector"]["matchLabels"]
    assert fetching.items() <= labels.items() & job["metadata"]["labels"].items()
    assert one(overlay, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "gaze"
    assert "replicas" not in one(overlay, "Deployment")["spec"]


# --- the network ---


def allowed(policies: list[Object], address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> bool:
    """Say whether one of the policies lets a pod connect to an address outside of the cluster."""
    for policy in policies:
        for rule in policy["spec"].get("egress", ()):
            blocks = [peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer]
            inside = any(
                address in ipaddress.ip_network(block["cidr"])
                and not any(address in ipaddress.ip_network(network) for network in block.get("except", ()))
                for block in blocks
            )
            if inside and {"protocol": "TCP", "port": port} in rule["ports"]:
                return True
    return False


def edges() -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Yield the ends of every network that the service or the policy names, and their neighbours."""
    texts = re.findall(
        r"[0-9a-f.:]+/\d+", (REPOSITORY / "service" / "images" / "fetch" / "addresses.py").read_text("utf-8")
    )
    texts += re.findall(r"[0-9a-f.:]+/\d+", (DEPLOY / "kubernetes" / "base" / "network.yaml").read_text("utf-8"))
    for text in texts:
        network = ipaddress.ip_network(text)
        last = int(network.broadcast_address)
        for number in (int(network[0]) - 1, int(network[0]), last, last + 1):
            if 0 <= number < 1 << network.max_prefixlen:
                yield ipaddress.ip_address(number) if network.version == 4 else ipaddress.IPv6Address(number)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_network_lets_through_what_the_service_fetches_and_no_more(overlay: str) -> None:
    policies = [each for each in BUILT[overlay] if each["kind"] == "NetworkPolicy"]
    public = FetchPolicy.parse(one(overlay, "ConfigMap")["data"]["GAZE_URL_FETCH"])
    addresses = set(edges())
    by_service = {(each, port) for each in addresses for port in (80, 443) if public.allows("", port, each)}
    by_network = {(each, port) for each in addresses for port in (80, 443) if allowed(policies, each, port)}
    assert len(addresses) > 100
    assert len(by_service) > 40
    assert by_network == by_service
    assert not any(allowed(policies, each, port) for each in addresses for port in (22, 53, 6443, 8080))


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", "10.0.0.1"),
        *("fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "fe80::a9fe:a9fe", "::ffff:a9fe:a9fe"),
    ],
)
def test_network_leads_to_no_metadata(address: str) -> None:
    policies = [each for each in BUILT["cpu"] if each["kind"] == "NetworkPolicy"]
    assert not any(allowed(policies, ipaddress.ip_address(address), port) for port in (80, 443))
    assert allowed(policies, ipaddress.ip_address("93.184.216.34"), 443)


def test_every_pod_is_under_a_policy_both_ways() -> None:
    policy = one("cpu", "NetworkPolicy", "nothing-else")["spec"]
    assert policy == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


# --- the volume ---


def script_of(container: Object) -> str:
    """Return the shell script that a container runs."""
    *shell, script = container["command"][:5]
    assert shell == ["tini", "--", "sh", "-ec"]
    return str(script)


def run_script(script: str, variables: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
    """Run a container's script as it stands, with `gaze` on the path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.Popen(
        ["sh", "-ec", script, "prepare", *arguments],
        env={**environment_of(**variables), "PATH": path},
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_only(folder: Path, *command: str) -> list[str]:
    """Return a command that finds a folder mounted read-only; skip the test where that needs more rights."""
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && ! touch "$0/x" 2>/dev/null && exec "$@"'
    unshared = ["unshare", "--mount", "sh", "-c", script, str(folder)]
    if not shutil.which("unshare") or subprocess.run([*unshared, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount")
    return [*unshared, *command]


def on_volume(volume: Path, overlay: str, **variables: str) -> dict[str, str]:
    """Return the settings of an overlay where its volume lies elsewhere."""
    data = one(overlay, "ConfigMap")["data"]
    return {name: text.replace("/var/lib/gaze", str(volume)) for name, text in data.items()} | variables


def contents(folder: Path) -> dict[Path, int]:
    return {file: file.lstat().st_mtime_ns for file in folder.rglob("*")}


def test_pods_wait_for_the_job_and_serve_from_a_volume_that_they_cannot_write_to(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    shutil.copytree(CACHE, volume / "cache")  # what another test has encoded need not be encoded again
    given = on_volume(volume, "cpu", GAZE_MODEL="demo")
    [preparing] = pod_of(one("cpu", "Job", "gaze-prepare"))["containers"]
    [waiting] = pod_of(one("cpu", "Deployment"))["initContainers"]
    wait = script_of(waiting)
    waits = run_script(wait.replace("/tmp/wanted", str(tmp_path / "wanted")), given)
    another = {**given, "GAZE_MODEL": "museum/another"}
    waits_for_another = run_script(wait.replace("/tmp/wanted", str(tmp_path / "another")), another)
    try:
        job = run_script(script_of(preparing), given, *preparing["args"])
        said, _ = job.communicate(timeout=120)
        assert job.returncode == 0, said
        assert waits.wait(30) == 0
        assert waits_for_another.poll() is None
    finally:
        for process in (waits, waits_for_another):
            process.kill()
            process.communicate()

    before = contents(volume)
    of_the_test = ("GAZE_PORT", "GAZE_CACHE_DIR")
    variables = {**environment("cpu", server("cpu")), **given}
    variables = {name: value for name, value in variables.items() if name not in of_the_test}
    command = read_only(volume, *SERVE)
    with served(volume / "cache", tmp_path / "log", command=command, environment=variables) as service:
        service.wait()
        assert service.lines("text features read")
        assert service.lines("text features encoded", "model converted") == []
        assert service.warnings() == set()
    assert contents(volume) == before


def test_pods_find_the_model_that_the_job_has_fetched(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    given = on_volume(volume, "cuda", GAZE_MODEL="museum/shapes", GAZE_REVISION=COMMIT, GAZE_DEVICE="cpu")
    [preparing] = pod_of(one("cuda", "Job", "gaze-prepare"))["containers"]
    with stand_in_hub({"museum/shapes": Repository({COMMIT: demo_folder()})}) as hub:
        job = run_script(script_of(preparing), {**given, "HF_ENDPOINT": hub.address}, *preparing["args"])
        said, _ = job.communicate(timeout=120)
    assert job.returncode == 0, said
    assert f"museum/shapes {COMMIT} is on this machine." in said
    before = contents(volume)
    gaze = (sys.executable, "-m", "service.cli", "prepare", "--model-only")
    found = run(read_only(volume, *gaze), **given, HF_HUB_OFFLINE=server("cuda")["env"][0]["value"])
    assert (found.returncode, found.stderr) == (0, "")
    assert contents(volume) == before


# --- words ---


@pytest.mark.parametrize(
    "path",
    [*sorted(DEPLOY.rglob("*.y*ml")), REPOSITORY / "docs" / "deploy.md"],
    ids=lambda path: str(path.relative_to(REPOSITORY)),
)
def test_settings_that_are_named_are_settings(path: Path) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    named = set(re.findall(r"GAZE_[A-Z_]+", path.read_text(encoding="utf-8")))
    assert named - known <= {"GAZE_SERVICE_HOST"}


def test_files_that_the_guide_names_are_there() -> None:
    named = re.findall(r"\(\.\./([^)#]+)\)", GUIDE) + re.findall(r"`(deploy/[\w/.-]+)`", GUIDE)
    assert len(named) > 5
    for each in named:
        assert (REPOSITORY / each).exists(), each
