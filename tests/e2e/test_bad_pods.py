"""Pods that cannot run as they were written: an event says what to change, and the pod can still be changed."""

import pytest

from real import agreement, pods
from real import layout as at
from real.client import KubectlError
from real.pods import SHARE
from real.report import container, pod
from real.waiting import wait_until

LONG = "c" * 63
MEMORY, POLICY = "edge-gpu.io/memory", "edge-gpu.io/policy"


def asking(share=10, **rest):
    return [container("main", share=share, **rest)]


# name: (containers, annotations, what its events must say)
BAD = {
    "share-150": (asking(share=150), {}, "container main: nano-gpu/gpu-percent 150 is neither 1..100 nor a multiple of 100"),
    "both-resources": (asking(whole=1), {}, "container main asks for both nano-gpu/gpu-percent and nvidia.com/gpu; use one of them"),
    "unknown-policy": (asking(), {POLICY: "fastest"}, 'edge-gpu.io/policy "fastest" is none of binpack, '),
    "memory-above-card": (asking(), {MEMORY: "100Gi"}, "no card with 102400 MiB of memory"),
    "memory-no-amount": (asking(), {MEMORY: "lots"}, "annotation edge-gpu.io/memory: "),
    "memory-no-container": (asking(), {MEMORY: "side=1Gi"}, 'annotation edge-gpu.io/memory names container "side", which the pod does not have'),
    "no-model": (asking(), {"edge-gpu.io/gpu-model": "Tesla T4"}, "no healthy card of model Tesla T4"),
    "unknown-compute": (asking(), {"edge-gpu.io/compute": "fast"}, 'edge-gpu.io/compute "fast" is none of hard, soft, burst, off'),
    "unknown-priority": (asking(), {"edge-gpu.io/priority": "high"}, 'edge-gpu.io/priority "high" is none of guaranteed, best-effort'),
    "share-900": (asking(share=900), {}, "Insufficient nano-gpu/gpu-percent"),
}
# What repairs a pod whose annotations were wrong.
REPAIRS = {"unknown-policy": f"{POLICY}=spread", "memory-above-card": f"{MEMORY}=4Gi", "memory-no-amount": f"{MEMORY}=1Gi",
           "memory-no-container": f"{MEMORY}=main=1Gi", "no-model": "edge-gpu.io/gpu-model=Tesla T4|H100", "unknown-compute": "edge-gpu.io/compute=soft",
           "unknown-priority": "edge-gpu.io/priority=best-effort"}


# What Kubernetes itself refuses, and a word of its answer.
REFUSED = {"1500m": SHARE, "-1": SHARE, "a third": "quantities"}


def change(cluster, namespace, *which):
    """What users and controllers do to pods later."""
    cluster.kubectl("label", "pods", *which, "-n", namespace, "team=edge")
    cluster.kubectl("annotate", "pods", *which, "-n", namespace, "note=seen")


def test_bad_pod_is_told_what_to_change_and_can_be_changed(cluster, namespace):
    for amount, word in REFUSED.items():
        with pytest.raises(KubectlError, match=word):
            cluster.apply(pod("refused", *asking(share=amount)), namespace=namespace)
    cluster.apply(*[pod(name, *containers, annotations=annotations) for name, (containers, annotations, _) in BAD.items()], namespace=namespace)

    def told():
        for name, (_, _, text) in BAD.items():
            events = cluster.events(namespace, name)
            assert any(event.startswith("FailedScheduling: ") and text in event for event in events), f"{name}: {events}"
        return True
    wait_until(told, "each bad pod has an event that says why", 30)

    assert {one["status"]["phase"] for one in cluster.get("pods", "-n", namespace)["items"]} == {"Pending"}
    change(cluster, namespace, "--all")

    for name, repair in REPAIRS.items():
        cluster.kubectl("annotate", "pod", name, "-n", namespace, "--overwrite", repair)
    agreement.hold(cluster, namespace, pods=len(REPAIRS))


def test_odd_pods_that_reach_the_kubelet(cluster, namespace):
    """The longest container name must not become an annotation; a share that is none, on a pod that passed the scheduler by, fails with the reason."""
    cluster.apply(pod("long-name", container(LONG, share=10), container("main", share=10)),
                  pods.pod("direct", *asking(share=150), nodeName=at.NODE), namespace=namespace)

    failed = cluster.wait_phase(namespace, "direct", "Failed", timeout_s=30)
    assert failed["status"]["reason"] == "UnexpectedAdmissionError"
    assert "nano-gpu/gpu-percent 150 is neither 1..100 nor a multiple of 100" in failed["status"]["message"], failed["status"]["message"]
    assert any("150 is neither 1..100" in event for event in cluster.events(namespace, "direct"))
    agreement.hold(cluster, namespace, pods=1)  # and the kubelet could write its status after the binding
    annotations = cluster.get("pod", "-n", namespace, "long-name")["metadata"]["annotations"]
    assert [key for key in annotations if key.startswith("nano-gpu/container-")] == ["nano-gpu/container-main"]
    change(cluster, namespace, "long-name", "direct")
