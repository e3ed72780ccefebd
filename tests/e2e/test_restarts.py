"""A process of the node or of the control plane ends under pods that run and pods that are starting."""

import time

import pytest

from real import pod_resources
from real import layout as at
from real.cards import COUNT
from real.control_plane import answers
from real.pods import SHARE, WHOLE
from real.waiting import wait_until
from real.workload import Workload

CAPACITY_BACK_S = 2.0
ADMISSION_ERROR = "UnexpectedAdmissionError"


def end(cluster, name, how):
    (cluster.kill if how == "SIGKILL" else cluster.stop)(name)


def registered():
    return answers(f"http://{at.AGENT_STATUS}/readyz")


def kubelet_offers_capacity(cluster):
    """One card is whole, at most three carry shares; the Node object follows with the kubelet's next status."""
    if not cluster.dialect.lists_allocatable:
        return True
    offered = pod_resources.allocatable()
    return len(offered.get(SHARE, ())) == 100 * (COUNT - 1) and len(offered.get(WHOLE, ())) >= COUNT - 3


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_agent_ends(cluster, namespace, how):
    load = Workload(cluster, namespace).run().begin()
    end(cluster, "edge-gpu-agent", how)
    load.check_untouched()

    begin = time.monotonic()
    cluster.services["edge-gpu-agent"].launch()
    wait_until(lambda: registered() and kubelet_offers_capacity(cluster), "the kubelet has the capacity again", 10, interval_s=0.02)
    took = time.monotonic() - begin
    print(f"capacity back {took:.2f} s after the agent's start")
    assert took < CAPACITY_BACK_S

    load.check_all_run()
    load.check_untouched()
    # What was admitted while no agent was there, the kubelet has failed; their controller replaced them.
    assert all(reason.startswith(ADMISSION_ERROR) for reason in load.failed().values()), load.failed()


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_kubelet_ends(cluster, namespace, how):
    load = Workload(cluster, namespace).run().begin()
    end(cluster, "kubelet", how)
    cluster.start("kubelet")
    wait_until(registered, "both resources are registered", 10, interval_s=0.02)
    load.check_all_run()
    load.check_untouched()
    assert load.failed() == {}  # the agent was there first


def test_containerd_ends(cluster, namespace):
    load = Workload(cluster, namespace).run().begin()
    cluster.kill("containerd")
    cluster.start("containerd")
    load.check_all_run()
    load.check_untouched()
    assert load.failed() == {}


def test_api_server_ends(cluster, namespace):
    load = Workload(cluster, namespace).run().begin()
    cluster.kill("kube-apiserver")
    time.sleep(3)
    cluster.start("kube-apiserver")
    load.check_all_run()
    load.check_untouched()
    assert load.failed() == {}
