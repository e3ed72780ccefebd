"""What a container saw when it started, written by itself to its log: its cards by environment, by device nodes and by device cgroup.

One look at the logs tells it for all containers of a namespace, init containers that have ended included; `inside` asks one running container.
"""

import dataclasses
import re

from . import cards, pods
from .inside import OPENED_WITHOUT_DRIVER, REFUSED

_LOOK = (
    'echo "report visible ${NVIDIA_VISIBLE_DEVICES-unset}"; '
    'for node in /dev/nvidia*; do [ -e "$node" ] && echo "report node ${node#/dev/}"; done; '
    f"for n in {' '.join(str(n) for n in range(cards.COUNT))}; do "
    f'mknod /tmp/card$n c {cards.NVIDIA_MAJOR} $n; echo "report open $n $(cat /tmp/card$n 2>&1)"; done; echo "report end"')
STAY = ("sh", "-c", f"{_LOOK}; exec sleep 100000")  # of a container that runs on
END = ("sh", "-c", _LOOK)  # of an init container
LABEL = "edge-gpu.test/reports"


def container(name, **ask):
    """As pods.container, of one that reports and stays."""
    return pods.container(name, command=STAY, **ask)


def sidecar(name, **ask):
    return {**container(name, **ask), "restartPolicy": "Always"}


def init(name, **ask):
    """An init container that reports and ends."""
    return pods.container(name, command=END, **ask)


def pod(name, *containers, labels=None, **rest):
    """As pods.pod, of containers that report; without a network of its own, which starts sooner."""
    return pods.pod(name, *containers, labels={LABEL: "true", **(labels or {})}, **{"hostNetwork": True, **rest})


@dataclasses.dataclass
class Seen:
    visible: str = ""  # NVIDIA_VISIBLE_DEVICES, or "unset"
    nodes: set = dataclasses.field(default_factory=set)  # minors of the cards that have a node in /dev
    allowed: set = dataclasses.field(default_factory=set)  # minors of the cards whose node the container may open
    control: bool = False  # has /dev/nvidiactl
    complete: bool = False


def _take(seen, line):
    kind, _, rest = line.partition(" ")
    if kind == "visible":
        seen.visible = rest
    elif kind == "node":
        card = re.fullmatch(r"nvidia(\d+)", rest)
        if card:
            seen.nodes.add(int(card.group(1)))
        seen.control |= rest == "nvidiactl"
    elif kind == "open":
        number, _, answer = rest.partition(" ")
        if answer.endswith(OPENED_WITHOUT_DRIVER):
            seen.allowed.add(int(number))
        elif not answer.endswith(REFUSED):
            raise RuntimeError(f"opening a card's node says {line!r}")
    elif kind == "end":
        seen.complete = True


def read(client, namespace):
    """{(pod, container): Seen} of the containers of all reporting pods of a namespace that have started."""
    text = client.kubectl("logs", "-n", namespace, "-l", LABEL, "--all-containers", "--prefix", "--tail=-1", "--max-log-requests=1000",
                          "--ignore-errors")
    out = {}
    for line in text.splitlines():
        found = re.match(r"\[pod/([^/]+)/([^\]]+)\] report (.*)", line)
        if found:
            _take(out.setdefault((found.group(1), found.group(2)), Seen()), found.group(3))
    return out
