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


def _status(like):
    """Ready, with as much of everything as the real node, and its own cards."""
    offers = {**like, "nvidia.com/gpu": str(CARDS), "nano-gpu/gpu-percent": str(100 * CARDS)}
    return {"status": {"capacity": offers, "allocatable": offers,
                       "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": "no kubelet behind it"}]}}


@contextlib.contextmanager
def node(cluster):
    """The node is there and takes pods. It stays Ready for less than a minute: nobody sends its heartbeats. Pods bound to it go with it."""
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME, "annotations": {"edge-gpu.io/cards": _cards()},
                                                                    "labels": {"kubernetes.io/hostname": NAME}}})
    try:
        like = cluster.get("node", at.NODE)["status"]["allocatable"]
        cluster.kubectl("patch", "node", NAME, "--subresource=status", "--type=merge", "-p", json.dumps(_status(like)))
        wait_until(lambda: not cluster.get("node", NAME)["spec"].get("taints"), f"node {NAME} has no taints", 30)
        yield NAME
    finally:
        cluster.kubectl("delete", "pods", "-A", f"--field-selector=spec.nodeName={NAME}", "--force", "--grace-period=0")
        cluster.kubectl("delete", "node", NAME)
