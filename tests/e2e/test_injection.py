"""Cards in containers with nothing but the driver on the node: no NVIDIA runtime, toolkit or hook is on this machine."""

import json
import os
import signal

import pytest

from real import containerd, driver, inside, pods
from real.product import capacity
from real.waiting import wait_until


@pytest.fixture(scope="module")
def driver_root(cluster, cuda_image):
    return driver.make_root(cluster.folders.work / "driver-root")


@pytest.fixture(params=["direct", "cdi"])
def injection(cluster, driver_root, request):
    """The agent runs with this strategy; the way it ran before comes back afterwards."""
    usual = cluster.product.agent_arguments
    cluster.stop("edge-gpu-agent")
    cluster.product.agent_arguments = ["--injection", request.param, "--driver-root", driver_root, "--dev-root", "/"]
    cluster.start("edge-gpu-agent")
    cluster.wait_node(capacity())
    yield request.param
    cluster.stop("edge-gpu-agent")
    cluster.product.agent_arguments = usual
    cluster.start("edge-gpu-agent")


def cuda_pod(name, environment=None, **ask):
    container = pods.container("main", environment=environment, **ask)
    container["image"] = driver.IMAGE
    return pods.pod(name, container)


def placed(pod):
    """(UUIDs, minor numbers) of the cards that the scheduler chose."""
    placement = json.loads(pod["metadata"]["annotations"]["edge-gpu.io/placement"])
    chosen = [card for one in placement["containers"] for card in one["cards"]]
    return sorted(card["uuid"] for card in chosen), sorted(card["index"] for card in chosen)


def wait_restarted(cluster, namespace, names):
    for name in names:
        def again(name=name):
            status = cluster.get("pod", "-n", namespace, name)["status"]["containerStatuses"][0]
            assert status["restartCount"] >= 1 and "running" in status["state"], status
            return True
        wait_until(again, f"{name} runs again", 90)


def check(cluster, namespace, names):
    for name in names:
        pod = cluster.wait_phase(namespace, name)
        uuids, numbers = placed(pod)
        assert driver.seen(cluster, namespace, name) == (uuids, uuids), name
        assert inside.cards_with_a_node(cluster, namespace, name) == numbers, name
        assert inside.cards_allowed(cluster, namespace, name) == numbers, name


def test_containers_find_their_cards_and_no_other(cluster, namespace, injection):
    # What a pod's author may set gets a pod no other card, and does not keep it from finding its own.
    greedy = {"NVIDIA_VISIBLE_DEVICES": "all", "LD_LIBRARY_PATH": "/nowhere"}
    cluster.apply(cuda_pod("two", whole=2), cuda_pod("share", share=30), cuda_pod("percents", share=200), cuda_pod("greedy", share=10, environment=greedy),
                  pods.pod("none", pods.container("main")), namespace=namespace)
    names = ["two", "share", "percents", "greedy"]
    check(cluster, namespace, names)

    cluster.wait_phase(namespace, "none")
    assert inside.device_nodes(cluster, namespace, "none") == []
    assert inside.cards_allowed(cluster, namespace, "none") == []

    cluster.restart("edge-gpu-agent")
    check(cluster, namespace, names)

    # A container that ends is started again with what it had.
    os.kill(containerd.running(cluster.folders, namespace, "share", "main").process.pid, signal.SIGKILL)
    wait_restarted(cluster, namespace, ["share"])
    check(cluster, namespace, names)

    # A reboot empties /run, CDI's specifications with it.
    cluster.power_off()
    cluster.power_on()
    wait_restarted(cluster, namespace, names)
    check(cluster, namespace, names)
