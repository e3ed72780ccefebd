"""What a container really has, seen with kubectl exec."""

import os
import re

from . import cards

OPENED_WITHOUT_DRIVER = "No such device or address"  # ENXIO: the device cgroup let it through
REFUSED = "Operation not permitted"  # EPERM: it did not


def environment(client, namespace, pod, container=None):
    """Environment of the container's first process."""
    status, text = client.exec(namespace, pod, "cat", "/proc/1/environ", container=container)
    assert status == 0, text
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def device_nodes(client, namespace, pod, container=None):
    """Names in the container's /dev that begin with nvidia."""
    status, text = client.exec(namespace, pod, "ls", "/dev", container=container)
    assert status == 0, text
    return sorted(name for name in text.split() if name.startswith("nvidia"))


def cards_with_a_node(client, namespace, pod, container=None):
    """Minor numbers of the cards that have a node in the container's /dev."""
    return [int(name[len("nvidia"):]) for name in device_nodes(client, namespace, pod, container) if re.fullmatch(r"nvidia\d+", name)]


def cards_of_process(pid):
    """The same of a container's process on this machine; works without an API server."""
    return sorted(int(name[len("nvidia"):]) for name in os.listdir(f"/proc/{pid}/root/dev") if re.fullmatch(r"nvidia\d+", name))


def cards_allowed(client, namespace, pod, container=None):
    """Minor numbers of the cards whose node the container may open, whether there is a node for it or the container makes its own."""
    script = "; ".join(f"mknod /tmp/look{n} c {cards.NVIDIA_MAJOR} {n}; cat /tmp/look{n} 2>&1; rm /tmp/look{n}" for n in range(cards.COUNT))
    _, text = client.exec(namespace, pod, "sh", "-c", script, container=container)
    answers = text.splitlines()
    assert len(answers) == cards.COUNT, text
    allowed = []
    for number, answer in enumerate(answers):
        assert answer.endswith((OPENED_WITHOUT_DRIVER, REFUSED)), text
        if answer.endswith(OPENED_WITHOUT_DRIVER):
            allowed.append(number)
    return allowed
