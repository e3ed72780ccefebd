"""A second node that is only an object: kube-scheduler and the extender see its cards, and nothing ever runs there."""

import contextlib
import json

from . import layout as at
from .waiting import wait_until

NAME = "edge-gpu-e2e-phantom"
CARDS = 2


def _cards():
    cards = [{"uuid": f"GPU-00000000-0000-4000-8000-00000000000{i}", "index": i, "model": "NVIDIA H100 80GB HBM3", "memoryMiB": 81559, "healthy": True}
             for i in range(CARDS)]
    return json.dumps({"version": 1, "cards": cards})


def _make_ready(cluster):
    """Its status: Ready, with as much of everything as the real node, and its own cards."""
    offers = {**cluster.get("node", at.NODE)["status"]["allocatable"], "nvidia.com/gpu": str(CARDS), "nano-gpu/gpu-percent": str(100 * CARDS)}
    ready = {"type": "Ready", "status": "True", "reason": "Test", "message": "no kubelet is behind it"}
    node = cluster.get("node", NAME)
    del node["metadata"]["resourceVersion"]  # the node controller may write at the same time
    node["status"] = {"capacity": offers, "allocatable": offers, "conditions": [ready]}
    cluster.kubectl("replace", "--raw", f"/api/v1/nodes/{NAME}/status", "-f", "-", text=json.dumps(node))


@contextlib.contextmanager
def node(cluster):
    """The node is there and takes pods. It stays Ready for less than a minute: nobody sends its heartbeats. Pods bound to it go with it."""
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME, "annotations": {"edge-gpu.io/cards": _cards()},
                                                                    "labels": {"kubernetes.io/hostname": NAME}}})
    try:
        _make_ready(cluster)
        wait_until(lambda: not cluster.get("node", NAME)["spec"].get("taints"), f"node {NAME} has no taints", 30)
        yield NAME
    finally:
        cluster.kubectl("delete", "pods", "-A", f"--field-selector=spec.nodeName={NAME}", "--force", "--grace-period=0")
        cluster.kubectl("delete", "node", NAME)
