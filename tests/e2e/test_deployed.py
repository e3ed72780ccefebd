"""edge-gpu deployed in pods from its image and manifests, as a user does it."""

import json

import pytest

from real import containerd, deployment, inside, pods
from real import layout as at
from real.deployment import SYSTEM, Overlay, use_service
from real.edge_cache import EdgeCache
from real.product import capacity
from real.waiting import wait_until

SCHEDULERS = "app.kubernetes.io/name=edge-gpu-scheduler"
AGENTS = "app.kubernetes.io/name=edge-gpu-agent"


def ready_pods(cluster, labels):
    return [pod["metadata"]["name"] for pod in cluster.get("pods", "-n", SYSTEM, "-l", labels)["items"] if "deletionTimestamp" not in pod["metadata"]
            and any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))]


def wait_serving(cluster, schedulers, agents):
    leader = wait_until(lambda: ready_pods(cluster, schedulers), "a scheduler is ready", 60)
    agent = wait_until(lambda: ready_pods(cluster, agents), "the agent is ready", 60)
    cluster.wait_node(capacity())
    return leader, agent


def check_guide_pods(cluster, namespace, suffix=""):
    for name, ask in (("whole", {"whole": 1}), ("share", {"share": 20})):
        cluster.apply(pods.pod(f"{name}{suffix}", pods.container("main", **ask)), namespace=namespace)
    for name in ("whole", "share"):
        pod = cluster.wait_phase(namespace, f"{name}{suffix}")
        card = int(pod["metadata"]["annotations"]["nano-gpu/container-main"])
        assert inside.cards_with_a_node(cluster, namespace, f"{name}{suffix}") == [card]
        assert inside.cards_allowed(cluster, namespace, f"{name}{suffix}") == [card]


@pytest.mark.parametrize("overlay", sorted(path.name for path in deployment.OVERLAYS.iterdir()))
def test_api_server_accepts_overlay(cluster, overlay):
    cluster.kubectl("apply", "--dry-run=server", "-k", deployment.OVERLAYS / overlay)


@pytest.mark.parametrize("overlay", ["all", "agent-unprivileged"])
def test_ordinary_cluster(in_pods, tmp_path, namespace, overlay):
    cluster = in_pods
    overlays = [Overlay(cluster, tmp_path / name, deployment.OVERLAYS / name) for name in (["all"] if overlay == "all" else ["scheduler", overlay])]
    try:
        for one in overlays:
            one.apply()
        leaders, agents = wait_serving(cluster, SCHEDULERS, AGENTS)
        assert len(leaders) == 1  # of two
        assert len(cluster.get("pods", "-n", SYSTEM, "-l", SCHEDULERS)["items"]) == 2
        check_guide_pods(cluster, namespace)
        print_sizes(cluster, leaders[0], agents[0])

        if overlay == "all":
            cluster.kubectl("delete", "pod", "-n", SYSTEM, leaders[0], "--wait=false")
            wait_until(lambda: set(ready_pods(cluster, SCHEDULERS)) - set(leaders), "another scheduler leads", 20)
            check_guide_pods(cluster, namespace, "-after-failover")
    finally:
        for one in overlays:
            one.delete()
    # Uninstalled: nothing of ours is left, and what runs runs on.
    wait_until(lambda: not cluster.get("pods", "-n", SYSTEM)["items"], "its pods are gone", 60)
    for kind in ("deployments", "daemonsets", "services", "serviceaccounts", "poddisruptionbudgets", "roles", "clusterroles", "clusterrolebindings"):
        left = [one["metadata"]["name"] for one in cluster.get(kind, "-A")["items"]]
        assert not [name for name in left if "gpu" in name and not name.startswith("e2e-")], kind
    assert all(pod["status"]["phase"] == "Running" for pod in cluster.get("pods", "-n", namespace)["items"])


def print_sizes(cluster, scheduler, agent):
    print(f"\nimage archive {deployment.archive().stat().st_size / 2**20:.1f} MiB, binary {deployment.binary_bytes() / 2**20:.1f} MiB")
    for pod, container in ((scheduler, "scheduler"), (agent, "agent")):
        pid = containerd.running(cluster.folders, SYSTEM, pod, container).process.pid
        print("%s in a pod: resident %.1f MiB, of it anonymous %.1f MiB" % (container, *deployment.resident_mib(pid)))


def old_objects():
    """What nano-gpu's and NVIDIA's manifests leave in a cluster, with programs that do nothing."""
    def workload(kind, name, labels, container, **spec):
        return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": SYSTEM}, "spec": {
            "selector": {"matchLabels": labels}, **spec,
            "template": {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [pods.container(container)]}}}}
    return [workload("Deployment", "nano-gpu-scheduler", {"app": "nano-gpu-scheduler"}, "nano-gpu-scheduler", replicas=1),
            workload("DaemonSet", "nano-gpu-agent", {"app": "nano-gpu-agent"}, "nano-gpu-agent"),
            workload("DaemonSet", "nvidia-device-plugin-daemonset", {"name": "nvidia-device-plugin-ds"}, "nvidia-device-plugin-ctr")]


def test_in_the_place_of_nano_gpu(in_pods, tmp_path, namespace):
    cluster = in_pods
    cluster.kubectl("create", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": old_objects()}))
    wait_until(lambda: len([pod for pod in cluster.get("pods", "-n", SYSTEM)["items"] if pod["status"]["phase"] == "Running"]) == 3, "the old ones run", 60)
    overlay = Overlay(cluster, tmp_path / "own", deployment.OVERLAYS / "drop-in")
    try:
        overlay.apply()

        def replaced():
            names = [(pod["metadata"]["name"], pod["spec"]["containers"][0]["image"]) for pod in cluster.get("pods", "-n", SYSTEM)["items"]]
            assert len(names) == 2 and all("edge-gpu" in image for _, image in names), names
            return True
        wait_until(replaced, "the old pods are replaced", 90)
        wait_serving(cluster, "app=nano-gpu-scheduler", "name=nvidia-device-plugin-ds")
        check_guide_pods(cluster, namespace)
    finally:
        overlay.delete()
        wait_until(lambda: not cluster.get("pods", "-n", SYSTEM)["items"], "its pods are gone", 60)


def test_superedge(in_pods, tmp_path, namespace):
    """The scheduler stays in the cloud (here: a process of the host), the agent talks to its node's cache of the API server."""
    cluster = in_pods
    cluster.kubectl("label", "node", at.NODE, "superedge.io/node-edge=enable")
    cluster.start("edge-gpu-scheduler")
    cluster.use_extender()
    overlay = Overlay(cluster, tmp_path / "own", deployment.OVERLAYS / "superedge")
    try:
        with EdgeCache(cluster.folders) as cache:
            overlay.apply()
            wait_until(lambda: ready_pods(cluster, AGENTS), "the agent is ready", 60)
            cluster.wait_node(capacity())
            check_guide_pods(cluster, namespace)
            assert cache.online_answers > 0
            assert all("nodeName" not in pod["spec"] for pod in cluster.get("pods", "-n", SYSTEM, "-l", SCHEDULERS)["items"])
            overlay.delete()
    finally:
        overlay.delete()
        cluster.stop("edge-gpu-scheduler")
        use_service(cluster)
        cluster.kubectl("label", "node", at.NODE, "superedge.io/node-edge-")
