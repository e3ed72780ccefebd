"""What deploy/ promises, checked without a cluster: python3 -m pytest tests/e2e/test_manifests.py

Renders every overlay with kubectl (KUBECTL, else the one in PATH) as a user would, and reads the result.
"""
import copy
import functools
import os
import pathlib
import re
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
OVERLAYS = sorted(path.name for path in (ROOT / "deploy/overlays").iterdir() if path.is_dir())
PRIVILEGED = {"agent", "all", "enforce", "superedge"}  # their agents only
VERSION = (ROOT / "VERSION").read_text().strip()


@functools.cache
def render(overlay: str) -> list[dict]:
    command = [os.environ.get("KUBECTL", "kubectl"), "kustomize", str(ROOT / "deploy/overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def objects(overlay: str, kind: str) -> list[dict]:
    return [found for found in render(overlay) if found["kind"] == kind]


def one(overlay: str, kind: str, name: str) -> dict:
    matching = [found for found in objects(overlay, kind) if found["metadata"]["name"] == name]
    assert len(matching) == 1, f"{overlay}: {len(matching)} of {kind}/{name}"
    return matching[0]


def workloads(overlay: str) -> list[dict]:
    return objects(overlay, "Deployment") + objects(overlay, "DaemonSet")


def pod_spec(workload: dict) -> dict:
    return workload["spec"]["template"]["spec"]


def container(workload: dict) -> dict:
    containers = pod_spec(workload)["containers"]
    assert len(containers) == 1 and not pod_spec(workload).get("initContainers")
    return containers[0]


def mounts(workload: dict) -> dict[str, tuple[str, bool]]:
    """host path -> (path in the container, writable)"""
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in pod_spec(workload)["volumes"]}
    return {paths[mount["name"]]: (mount["mountPath"], not mount.get("readOnly", False)) for mount in container(workload)["volumeMounts"]}


def grants(overlay: str) -> dict[str, set[tuple[str, str, str]]]:
    """role -> (group, resource, verb)"""
    return {
        f"{role['kind']}/{role['metadata']['name']}": {
            (group, resource, verb)
            for rule in role["rules"] for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]
        }
        for role in objects(overlay, "ClusterRole") + objects(overlay, "Role")
    }


def node_terms(workload: dict) -> list[list[dict]]:
    required = pod_spec(workload)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return [term["matchExpressions"] for term in required["nodeSelectorTerms"]]


NOT_AS_UNIT = {"key": "edge-gpu.io/agent", "operator": "NotIn", "values": ["systemd"]}
SCHEDULER_GRANTS = {
    *[("", resource, verb) for resource in ("pods", "nodes") for verb in ("get", "list", "watch")],
    ("", "pods/binding", "create"), ("", "events", "create"), ("", "events", "patch"),
}
LEASE_GRANTS = {("coordination.k8s.io", "leases", verb) for verb in ("get", "create", "update")}
AGENT_GRANTS = {
    *[("", "pods", verb) for verb in ("get", "list", "watch", "patch")],
    *[("", "nodes", verb) for verb in ("get", "patch")],
    ("", "events", "create"), ("", "events", "patch"),
}


def test_the_overlays_are_all_known_here():
    assert OVERLAYS == ["agent", "agent-unprivileged", "all", "drop-in", "enforce", "scheduler", "superedge"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_object_is_there_twice_and_all_are_in_kube_system(overlay):
    names = [(found["kind"], found["metadata"]["name"]) for found in render(overlay)]
    assert len(names) == len(set(names))
    for found in render(overlay):
        cluster_wide = found["kind"] in ("ClusterRole", "ClusterRoleBinding")
        assert found["metadata"].get("namespace") == (None if cluster_wide else "kube-system"), found["metadata"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_image_is_of_this_version_and_needs_no_registry_on_the_node(overlay):
    for workload in workloads(overlay):
        assert container(workload)["image"] == f"edge-gpu:{VERSION}"
        assert container(workload)["imagePullPolicy"] == "IfNotPresent"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_roles_grant_what_the_programs_ask_for_and_nothing_else(overlay):
    expected = {
        "ClusterRole/edge-gpu-scheduler": SCHEDULER_GRANTS, "Role/edge-gpu-scheduler": LEASE_GRANTS, "ClusterRole/edge-gpu-agent": AGENT_GRANTS,
        "ClusterRole/nano-gpu-scheduler": SCHEDULER_GRANTS, "Role/nano-gpu-scheduler": LEASE_GRANTS, "ClusterRole/nano-gpu-agent": AGENT_GRANTS,
    }
    for role, granted in grants(overlay).items():
        assert granted == expected[role], role
        assert not any("*" in part or "secrets" in part for grant in granted for part in grant)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_our_lease_may_be_read_and_changed(overlay):
    for role in objects(overlay, "Role"):
        for rule in role["rules"]:
            assert rule["verbs"] == ["create"] or rule["resourceNames"] == ["edge-gpu-scheduler"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_workload_has_an_account_that_its_roles_are_bound_to(overlay):
    accounts = {found["metadata"]["name"] for found in objects(overlay, "ServiceAccount")}
    roles = {f"{role['kind']}/{role['metadata']['name']}" for role in objects(overlay, "ClusterRole") + objects(overlay, "Role")}
    bound = set()
    for binding in objects(overlay, "ClusterRoleBinding") + objects(overlay, "RoleBinding"):
        assert f"{binding['roleRef']['kind']}/{binding['roleRef']['name']}" in roles
        roles.discard(f"{binding['roleRef']['kind']}/{binding['roleRef']['name']}")
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["namespace"]) == ("ServiceAccount", "kube-system")
            bound.add(subject["name"])
    assert not roles, "a role that nobody has"
    assert {pod_spec(workload)["serviceAccountName"] for workload in workloads(overlay)} <= accounts & bound


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_privileged_but_agents_without_a_runtime_of_nvidias(overlay):
    for workload in workloads(overlay):
        security = container(workload)["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert not pod_spec(workload).get("hostIPC")
        if overlay in PRIVILEGED and workload["kind"] == "DaemonSet":
            assert security["privileged"] is True
            assert pod_spec(workload)["hostPID"] is True  # whose processes are on the cards
            continue
        assert not pod_spec(workload).get("hostPID")
        assert not security.get("privileged")
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_superedge_agents_are_in_the_network_of_the_host(overlay):
    hosts = [workload["metadata"]["name"] for workload in workloads(overlay) if pod_spec(workload).get("hostNetwork")]
    assert hosts == (["edge-gpu-agent"] if overlay == "superedge" else [])


@pytest.mark.parametrize("overlay, name", [
    ("scheduler", "edge-gpu-scheduler"), ("all", "edge-gpu-scheduler"), ("enforce", "edge-gpu-scheduler"), ("superedge", "edge-gpu-scheduler"), ("drop-in", "nano-gpu-scheduler")])
def test_scheduler(overlay, name):
    deployment = one(overlay, "Deployment", name)
    spec = pod_spec(deployment)
    assert spec["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["priorityClassName"] == "system-cluster-critical"
    assert "volumes" not in spec
    assert {toleration["key"] for toleration in spec["tolerations"]} >= {"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}
    probes = container(deployment)
    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz" and probes["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert "--leader-elect" in probes["args"]

    service = one(overlay, "Service", "nano-gpu-scheduler")
    assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [(39999, 39999)]
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert not service["spec"].get("publishNotReadyAddresses"), "the standby must not be behind the Service"


@pytest.mark.parametrize("overlay", ["scheduler", "all", "enforce", "superedge"])
def test_neither_updates_nor_drains_wait_for_the_standby_to_be_ready(overlay):
    deployment = one(overlay, "Deployment", "edge-gpu-scheduler")
    replicas = deployment["spec"]["replicas"]
    assert replicas == 2
    # One of the two is ready. Whatever demands more than none for an update or an eviction is never met.
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == replicas
    budget = one(overlay, "PodDisruptionBudget", "edge-gpu-scheduler")
    assert budget["apiVersion"] == "policy/v1"
    assert budget["spec"]["maxUnavailable"] == replicas
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]


@pytest.mark.parametrize("overlay, name", [
    ("agent", "edge-gpu-agent"), ("agent-unprivileged", "edge-gpu-agent"), ("all", "edge-gpu-agent"), ("enforce", "edge-gpu-agent"),
    ("superedge", "edge-gpu-agent"),
    ("drop-in", "nvidia-device-plugin-daemonset")])
def test_agent(overlay, name):
    daemon_set = one(overlay, "DaemonSet", name)
    spec = pod_spec(daemon_set)
    assert spec["priorityClassName"] == "system-node-critical"
    assert daemon_set["spec"]["updateStrategy"]["rollingUpdate"].get("maxSurge", 0) == 0, "two agents on a node"
    expected = {
        "/var/lib/kubelet/device-plugins": ("/var/lib/kubelet/device-plugins", True),
        "/var/lib/kubelet/pod-resources": ("/var/lib/kubelet/pod-resources", False),
        "/var/lib/edge-gpu": ("/var/lib/edge-gpu", True),
    }
    if overlay in PRIVILEGED:
        # What answers name is written under the path that it has on the host.
        expected.update({"/": ("/host", False), "/dev": ("/dev", True), "/var/run/cdi": ("/var/run/cdi", True)})
        arguments = {"--host-root=/host"}
    else:
        expected["/usr"] = ("/driver-root/usr", False)
        arguments = {"--injection=nvidia", "--driver-root=/driver-root", "--dev-root=/"}
    assert mounts(daemon_set) == expected
    assert arguments <= set(container(daemon_set)["args"])
    environment = {variable["name"]: variable.get("value") for variable in container(daemon_set)["env"]}
    assert environment["NVIDIA_VISIBLE_DEVICES"] == ("void" if overlay in PRIVILEGED else "all")
    assert "NODE_NAME" in environment
    assert container(daemon_set)["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_enforce_is_all_with_the_guard_and_nothing_else():
    enforcing = copy.deepcopy(render("enforce"))
    (agent,) = [found for found in enforcing if found["kind"] == "DaemonSet"]
    container(agent)["args"].remove("--isolation=guard")
    assert enforcing == render("all")


def test_agent_runs_on_labelled_nodes_that_have_none_as_a_unit():
    terms = node_terms(one("agent", "DaemonSet", "edge-gpu-agent"))
    labels = {term[0]["key"]: term[0]["values"] for term in terms}
    assert labels == {key: ["true"] for key in ("edge-gpu.io/gpu", "nvidia.com/gpu.present", "feature.node.kubernetes.io/pci-10de.present")}
    assert all(term[1:] == [NOT_AS_UNIT] for term in terms)


def test_superedge_keeps_the_scheduler_in_the_cloud_and_the_agents_at_the_edge():
    scheduler = pod_spec(one("superedge", "Deployment", "edge-gpu-scheduler"))
    assert node_terms(one("superedge", "Deployment", "edge-gpu-scheduler")) == [[{"key": "superedge.io/node-edge", "operator": "DoesNotExist"}]]
    assert "podAntiAffinity" in scheduler["affinity"]
    daemon_set = one("superedge", "DaemonSet", "edge-gpu-agent")
    agent = pod_spec(daemon_set)
    assert agent["nodeSelector"] == {"superedge.io/node-edge": "enable"}
    assert node_terms(daemon_set) == node_terms(one("agent", "DaemonSet", "edge-gpu-agent"))
    environment = {variable["name"]: variable.get("value") for variable in container(daemon_set)["env"]}
    assert (environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]) == ("127.0.0.1", "51003")
    # In the host's network the status page must not be for everybody, and is probed where it is.
    assert "--listen=127.0.0.1:39998" in container(daemon_set)["args"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container(daemon_set)[probe]["httpGet"]["host"] == "127.0.0.1"


def test_drop_in_has_the_names_selectors_and_command_lines_of_what_it_replaces():
    scheduler = one("drop-in", "Deployment", "nano-gpu-scheduler")
    assert scheduler["spec"]["selector"] == {"matchLabels": {"app": "nano-gpu-scheduler"}}
    assert scheduler["spec"]["strategy"] == {"type": "Recreate"}, "nano-gpu-scheduler knows no lease"
    main = container(scheduler)
    assert (main["name"], main["command"]) == ("nano-gpu-scheduler", ["/usr/bin/nano-gpu-scheduler"])
    assert main["args"][:4] == ["--priority", "binpack", "--v", "2"]
    assert main["env"] == [{"name": "PORT", "value": "39999"}]
    one("drop-in", "ServiceAccount", "nano-gpu-scheduler")

    plugin = one("drop-in", "DaemonSet", "nvidia-device-plugin-daemonset")
    assert plugin["spec"]["selector"] == {"matchLabels": {"name": "nvidia-device-plugin-ds"}}
    assert container(plugin)["name"] == "nvidia-device-plugin-ctr"
    assert node_terms(plugin) == [[NOT_AS_UNIT]], "it runs where NVIDIA's ran"

    agent = one("drop-in", "DaemonSet", "nano-gpu-agent")
    assert agent["spec"]["selector"] == {"matchLabels": {"app": "nano-gpu-agent"}}
    assert container(agent)["name"] == "nano-gpu-agent"
    assert pod_spec(agent)["nodeSelector"] == {"edge-gpu.io/replaced-by": "nvidia-device-plugin-daemonset"}, "one agent a node"


def test_drop_in_differs_from_the_base_in_names_only():
    for kind, ours, theirs in (
            ("Deployment", "edge-gpu-scheduler", "nano-gpu-scheduler"), ("DaemonSet", "edge-gpu-agent", "nvidia-device-plugin-daemonset")):
        base, drop_in = one("scheduler" if kind == "Deployment" else "agent-unprivileged", kind, ours), one("drop-in", kind, theirs)
        assert pod_spec(base)["securityContext"] == pod_spec(drop_in)["securityContext"]
        for key in ("resources", "livenessProbe", "image"):
            assert container(base)[key] == container(drop_in)[key], key
    assert container(one("agent-unprivileged", "DaemonSet", "edge-gpu-agent"))["args"] == container(
        one("drop-in", "DaemonSet", "nvidia-device-plugin-daemonset"))["args"]


@pytest.mark.parametrize("sample", sorted(path.name for path in (ROOT / "deploy/samples").iterdir()))
def test_samples_ask_for_cards_as_the_contract_says(sample):
    pod = yaml.safe_load((ROOT / "deploy/samples" / sample).read_text())
    assert (pod["apiVersion"], pod["kind"], pod["metadata"]["name"]) == ("v1", "Pod", sample.removesuffix(".yaml"))
    for found in pod["spec"]["containers"]:
        ((resource, quantity),) = found["resources"]["limits"].items()
        assert resource in ("nvidia.com/gpu", "nano-gpu/gpu-percent")
        assert 1 <= int(quantity) <= 100


def test_commands_of_the_install_page_are_shell_and_name_what_is_there():
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs/install.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 5
    script = "".join(blocks)
    parsed = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, timeout=10, check=False)
    assert parsed.returncode == 0, parsed.stderr
    for path in re.findall(r"\bdeploy/[\w./-]+", script):
        assert (ROOT / path).exists(), path
