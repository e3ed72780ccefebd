"""The API server cannot be reached: what runs goes on, what crashes starts again with its own cards. An agent that is away holds back what would start without limits."""

import time

import pytest

from real import containerd, inside
from real import layout as at
from real.control_plane import answers
from real.waiting import wait_until
from real.workload import Workload

HELD_BACK_S = 6


def registered():
    return answers(f"http://{at.AGENT_STATUS}/readyz")


@pytest.fixture
def no_api_server(cluster):
    """Ends the API server when called; it is back at the end of the test."""
    yield lambda: cluster.kill("kube-apiserver")
    if not cluster.services["kube-apiserver"].running():
        cluster.start("kube-apiserver")


def test_agent_and_kubelet_start_offline(cluster, namespace, no_api_server):
    load = Workload(cluster, namespace).run().begin()
    no_api_server()
    for name in ("edge-gpu-agent", "kubelet"):
        cluster.kill(name)
    for name in ("edge-gpu-agent", "kubelet"):
        cluster.start(name)
    wait_until(registered, "both resources are registered", 10)
    time.sleep(3)
    cluster.start("kube-apiserver")
    load.check_all_run()
    load.check_untouched()
    assert load.failed() == {}


def test_container_crashes_offline(cluster, namespace, no_api_server):
    load = Workload(cluster, namespace).run()
    before = {name: containerd.running(cluster.folders, namespace, "shares", name) for name in ("main", "side")}
    cards = inside.cards_allowed(cluster, namespace, "shares", "main")
    no_api_server()
    before["main"].process.signal(9)
    after = wait_until(lambda: containerd.running(cluster.folders, namespace, "shares", "main"), "the container runs again", 60)
    assert after.id != before["main"].id
    assert containerd.running(cluster.folders, namespace, "shares", "side").id == before["side"].id
    assert inside.cards_of_process(after.process.pid) == cards
    cluster.start("kube-apiserver")
    wait_until(lambda: cluster.wait_phase(namespace, "shares")["status"]["containerStatuses"][0]["restartCount"] == 1, "the API server knows", 30)
    assert inside.cards_allowed(cluster, namespace, "shares", "main") == cards
    load.check_agreement()


def test_container_crashes_while_the_agent_is_down(cluster, namespace):
    load = Workload(cluster, namespace).run()
    before = containerd.running(cluster.folders, namespace, "shares", "main")
    cards = inside.cards_allowed(cluster, namespace, "shares", "main")
    cluster.kill("edge-gpu-agent")
    before.process.signal(9)

    def held_back():
        state = next(one for one in cluster.get("pod", "-n", namespace, "shares")["status"]["containerStatuses"] if one["name"] == "main")
        return state["state"].get("waiting", {}).get("message")
    message = wait_until(held_back, "the kubelet says why the container does not start", 30)
    print(message)
    until = time.monotonic() + HELD_BACK_S
    while time.monotonic() < until:
        assert containerd.running(cluster.folders, namespace, "shares", "main") is None
        time.sleep(0.3)
    cluster.start("edge-gpu-agent")
    pod = cluster.wait_phase(namespace, "shares", timeout_s=60)
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
    assert inside.cards_allowed(cluster, namespace, "shares", "main") == cards
    load.check_agreement()
