"""Pods that ask for cards, as dictionaries to apply."""

from . import images

SHARE = "nano-gpu/gpu-percent"
WHOLE = "nvidia.com/gpu"


def container(name, share=None, whole=None, command=("sleep", "100000"), environment=None):
    """A container of the test image that asks for `share` percent or `whole` cards or nothing."""
    limits = {}
    if share is not None:
        limits[SHARE] = str(share)
    if whole is not None:
        limits[WHOLE] = str(whole)
    return {"name": name, "image": images.TEST, "imagePullPolicy": "Never", "command": list(command), "resources": {"limits": limits},
            "env": [{"name": key, "value": value} for key, value in (environment or {}).items()]}


def pod(name, *containers, init=(), annotations=None, labels=None, **spec):
    """A pod; further keys of its spec by name (restartPolicy="Never", priorityClassName=…)."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations or {}, "labels": labels or {}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": list(containers), "initContainers": list(init), **spec}}
