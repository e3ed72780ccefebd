"""The whole node loses power: its pods get the same cards again, when the agent starts before the kubelet as its systemd unit does."""

import pytest

from real import containerd, inside
from real.edge_cache import EdgeCache
from real.waiting import wait_until
from real.workload import Workload

# What the kubelet (1.25 and newer) says of a GPU pod that it admits before the plugin has registered.
TOO_EARLY = "UnexpectedAdmissionError: Pod was rejected: Allocate failed due to no healthy devices present"


def test_agent_before_kubelet(cluster, namespace):
    load = Workload(cluster, namespace).run().begin()
    cluster.power_off()
    cluster.power_on()
    load.check_restarted()
    load.check_all_run()
    assert load.failed() == {}


def test_agent_after_kubelet(cluster, namespace):
    """As a DaemonSet's pod, which is admitted with all the others: the kubelet fails them, and only what a controller owns comes back."""
    if not cluster.dialect.fails_early_pods:
        pytest.skip(f"the kubelet of {cluster.dialect.version} starts such pods from its checkpoint")
    load = Workload(cluster, namespace).run().begin()
    load.check_all_run()
    before = {pod["metadata"]["name"] for pod in load.all()}
    cluster.power_off()
    for name in ("containerd", "kubelet"):
        cluster.start(name)
    wait_until(lambda: set(load.failed()) == before, "the kubelet has failed every pod that has a card", 60)
    assert all(reason.startswith(TOO_EARLY) for reason in load.failed().values()), load.failed()
    cluster.start("edge-gpu-agent")
    # The failed ones hold nothing any more. Who comes in the first milliseconds finds the devices of their cards still withdrawn, and has other IDs.
    load.check_all_run(overrides=True)


def test_agent_after_kubelet_that_asks_nobody(cluster, namespace):
    """Kubernetes before 1.25: pods start from the kubelet's checkpoint without the agent, on the cards that are written there."""
    if cluster.dialect.fails_early_pods:
        pytest.skip(f"the kubelet of {cluster.dialect.version} fails such pods")
    load = Workload(cluster, namespace).run()
    cluster.power_off()
    for name in ("containerd", "kubelet"):
        cluster.start(name)
    load.check_restarted()
    for pod, name, cards in load.containers():
        assert inside.cards_allowed(cluster, namespace, pod, name) == cards
    cluster.start("edge-gpu-agent")
    load.check_agreement()
    assert load.failed() == {}


def test_without_the_api_server(cluster, namespace):
    """Pods come from the cache that an edge node has; the agent is told nothing but what it kept and what the cache says."""
    with EdgeCache(cluster.folders, "kubelet") as cache, EdgeCache(cluster.folders, "edge-gpu-agent"):
        try:
            for name in ("edge-gpu-agent", "kubelet"):
                cluster.restart(name)
            load = Workload(cluster, namespace).run()
            cluster.kill("kube-apiserver")
            cluster.power_off()
            cluster.power_on()
            for pod, name, _ in load.containers():
                wait_until(lambda pod=pod, name=name: containerd.running(cluster.folders, namespace, pod, name), f"{pod}/{name} runs again", 60)
            for pod, name, cards in load.containers():
                process = containerd.running(cluster.folders, namespace, pod, name).process
                assert inside.cards_of_process(process.pid) == cards, (pod, name)
            assert cache.offline_answers > 0
        finally:
            if not cluster.services["kube-apiserver"].running():
                cluster.start("kube-apiserver")
        load.check_restarted()
        load.check_agreement()
        assert load.failed() == {}
        # A kubelet of 1.21 that starts anew finishes no deletion of pods whose namespace goes at the same time.
        cluster.kubectl("delete", "pods", "--all", "-n", namespace)
    for name in ("edge-gpu-agent", "kubelet"):
        cluster.restart(name)
