"""Do all who know whose card it is say the same? The pod's annotations, the kubelet, both ledgers, and what is inside each container.

`hold(cluster, namespace, pods)` waits until they agree; its error names each pod and container that they disagree about, and what either side says.
It is for pods that report.pod made.
"""

import collections
import json

from . import layout as at
from . import pod_resources, report, status
from .pods import SHARE, WHOLE
from .waiting import wait_until

SETTLE_S = 20  # the ledgers follow watches, and the agent confirms names a moment after a start
ENDED = ("Succeeded", "Failed")
LONGEST_NAME = 63  # of an annotation's name part


def _cards(indexes):
    return f"cards {sorted(indexes)}" if indexes else "no card"


class _Looks:
    """One look at everything."""

    def __init__(self, cluster, namespace):
        self.pods = [pod for pod in cluster.get("pods", "-n", namespace, "-l", report.LABEL)["items"]
                     if pod["spec"].get("nodeName") == at.NODE and pod["status"].get("phase") not in ENDED]
        self.kubelet = pod_resources.device_ids()
        self.lists_sidecars = cluster.dialect.lists_sidecars
        self.agent = status.agent()
        self.scheduler = status.scheduler()[at.NODE]
        self.index = {card["uuid"]: card["index"] for card in self.agent["cards"]}


def _units(container):
    """(resource, device IDs it asks for), or None."""
    limits = container.get("resources", {}).get("limits", {})
    return next(((name, int(limits[name])) for name in (SHARE, WHOLE) if int(limits.get(name, 0)) > 0), None)


def _containers(pod):
    """(name, kind, resource, units) of those that ask for cards."""
    for one in pod["spec"].get("initContainers", []):
        if _units(one):
            yield one["name"], "sidecar" if one.get("restartPolicy") == "Always" else "init", *_units(one)
    for one in pod["spec"]["containers"]:
        if _units(one):
            yield one["name"], "app", *_units(one)


def _by_annotations(pod, name):
    """({index: percent}, indexes by nano-gpu's key) that the annotations give a container."""
    annotations = pod["metadata"].get("annotations", {})
    placement = json.loads(annotations.get("edge-gpu.io/placement", '{"containers": []}'))
    cards = {card["index"]: card["percent"] for one in placement["containers"] if one["name"] == name for card in one["cards"]}
    nano = annotations.get(f"nano-gpu/container-{name}")
    return cards, None if nano is None else {int(index) for index in nano.split(",")}


def _of_books(looks, pod, replicas, overrides):
    """Lines that say where the kubelet's and both ledgers' books differ from this pod's annotations."""
    where = f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"
    uid, identity = pod["metadata"]["uid"], (pod["metadata"]["namespace"], pod["metadata"]["name"])
    scheduler = collections.defaultdict(dict)  # container -> {index: percent}
    for card in looks.scheduler["GPUs"]:
        for holder in card["Holders"]:
            if holder["UID"] == uid:
                scheduler[holder["Container"]][card["Index"]] = holder["Percent"]
                if holder["Guessed"] or holder["Reserved"]:
                    yield f"{where} container {holder['Container']}: the scheduler still guesses its card, or only reserved it"
    agent = collections.defaultdict(list)
    for holder in looks.agent["holders"]:
        if holder["podUID"] == uid:
            agent[holder["container"]].append(holder)

    asking = set()
    for name, kind, resource, units in _containers(pod):
        asking.add(name)
        here = f"{where} container {name} ({resource} {units})"
        cards, nano = _by_annotations(pod, name)
        says = f"edge-gpu.io/placement says {_cards(cards)}"
        percent = 100 // replicas if resource == WHOLE else min(units, 100)
        wanted = units if resource == WHOLE else max(1, units // 100)
        if len(cards) != wanted or set(cards.values()) != {percent}:
            yield f"{here}: it asks for {wanted} card(s) with {percent} percent, edge-gpu.io/placement says {cards or 'nothing'}"
        if len(f"container-{name}") <= LONGEST_NAME and nano != set(cards):
            yield f"{here}: {says}, nano-gpu/container-{name} says {_cards(nano)}"
        if scheduler[name] != cards:
            yield f"{here}: {says} {cards}, the scheduler's ledger says {scheduler[name] or 'nothing'}"
        overridden = overrides and any(one["override"] for one in agent[name])
        if kind == "app" or kind == "sidecar" and looks.lists_sidecars:
            ids = looks.kubelet.get((*identity, name), {}).get(resource, set())
            of_ids = {looks.index.get(one.split("::")[0], one) for one in ids}
            if len(ids) != units or of_ids != set(cards) and not overridden:
                yield f"{here}: {says}, pod-resources has {len(ids)} device IDs on {_cards(of_ids)}"
        if [one["resource"] for one in agent[name]] != [resource]:
            yield f"{here}: the agent's ledger has {[(one['resource'], one['units']) for one in agent[name]] or 'no record'} of it"
            continue
        held = agent[name][0]
        by_agent = {card["index"]: card["percent"] for card in held["cards"]}
        if by_agent != cards:
            yield f"{here}: {says} {cards}, the agent's ledger says {by_agent}"
        if held["units"] != units or not held["confirmed"] or held["override"] and not overridden:
            yield f"{here}: the agent's ledger has units {held['units']}, confirmed {held['confirmed']}, override {held['override']}"
    for name in {name for book in (scheduler, agent) for name, held in book.items() if held} - asking:
        yield f"{where} container {name}: asks for no card, a ledger has one for it"
    for namespace, owner, name in looks.kubelet:
        if (namespace, owner) == identity and looks.kubelet[namespace, owner, name] and name not in asking:
            yield f"{where} container {name}: asks for no card, pod-resources has devices of it"


def _of_inside(looks, pod, seen):
    """Lines that say where what the containers of a pod have differs from its annotations."""
    for name, _, resource, units in _containers(pod):
        here = f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']} container {name} ({resource} {units})"
        cards = set(_by_annotations(pod, name)[0])
        says = f"edge-gpu.io/placement says {_cards(cards)}"
        inside = seen.get((pod["metadata"]["name"], name))
        if inside is None or not inside.complete:
            yield f"{here}: its log has no report of what it saw inside"
            continue
        visible = {looks.index.get(uuid, uuid) for uuid in inside.visible.split(",")}
        if visible != cards:
            yield f"{here}: {says}, inside it NVIDIA_VISIBLE_DEVICES names {_cards(visible)}"
        if inside.nodes != cards or not inside.control:
            yield f"{here}: {says}, inside it there are device nodes of {_cards(inside.nodes)}, nvidiactl: {inside.control}"
        if inside.allowed != cards:
            yield f"{here}: {says}, its device cgroup allows {_cards(inside.allowed)}"
    asking = {name for name, *_ in _containers(pod)}
    for (owner, name), inside in seen.items():
        if owner == pod["metadata"]["name"] and name not in asking and (inside.nodes or inside.allowed):
            yield f"pod {owner} container {name}: asks for no card, has {_cards(inside.nodes | inside.allowed)}"


def _of_cards(looks):
    """Lines about whole cards: the ledgers' sums, and holders nobody knows."""
    agent = {card["index"]: card for card in looks.agent["cards"]}
    for card in looks.scheduler["GPUs"]:
        used, whole = 100 - card["Percent"], card["Whole"]
        other = agent[card["Index"]]
        if used != other["usedPercent"]:
            yield f"card {card['Index']}: {used} percent are used by the scheduler's ledger, {other['usedPercent']} by the agent's"
        if used > 100 or other["usedPercent"] > 100:
            yield f"card {card['Index']} is given out {max(used, other['usedPercent'])} percent"
        if whole and len({holder["UID"] for holder in card["Holders"]}) > 1:
            yield f"card {card['Index']} is taken whole and held by {[holder['Pod'] for holder in card['Holders']]}"
    if looks.scheduler["Unplaced"]:
        yield f"the scheduler's ledger has pods without a card: {looks.scheduler['Unplaced']}"


def differences(cluster, namespace, replicas=1, overrides=False):
    """Lines that say who disagrees about what, of the reporting pods of a namespace on the node; empty when all agree.
    `replicas`: devices of nvidia.com/gpu that the agent offers for each card. `overrides`: a container may have another card than its device IDs
    name, as long as all others agree about it and the agent says so."""
    looks = _Looks(cluster, namespace)
    lines = [line for pod in looks.pods for line in _of_books(looks, pod, replicas, overrides)] + list(_of_cards(looks))
    known = {pod["metadata"]["uid"] for pod in looks.pods}
    lines += [f"the agent's ledger has a card for {one['namespace']}/{one['pod']} container {one['container']}, and there is no such pod"
              for one in looks.agent["holders"] if one["podUID"] not in known]
    if not lines:  # the logs are the dear part
        seen = report.read(cluster, namespace)
        lines = [line for pod in looks.pods for line in _of_inside(looks, pod, seen)]
    return lines


def hold(cluster, namespace, pods, start_s=120, replicas=1):
    """Waits until `pods` reporting pods run, then until all sides agree about them; an AssertionError lists what is wrong."""
    def ready():
        states = [_state(pod) for pod in cluster.get("pods", "-n", namespace, "-l", report.LABEL)["items"]]
        failed = [text for phase, text in states if phase == "Failed"]
        if failed:
            raise RuntimeError("pods failed: " + "; ".join(failed))
        waiting = [text for phase, text in states if phase != "Ready"]
        assert len(states) - len(waiting) == pods, f"{len(states) - len(waiting)} of {pods} pods are ready, not yet: {'; '.join(waiting[:5])}"
        return True

    def agree():
        lines = differences(cluster, namespace, replicas)
        assert not lines, "\n".join(lines)
        return True
    wait_until(ready, f"{pods} pods of {namespace} run", start_s, interval_s=0.5)
    wait_until(agree, "all sides agree", SETTLE_S, interval_s=0.5)


def _state(pod):
    """("Ready" or the phase, text for a message)"""
    state, name = pod["status"], pod["metadata"]["name"]
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating", f"{name} terminates"
    if state.get("phase") == "Running" and all(one["ready"] for one in state.get("containerStatuses", [{"ready": False}])):
        return "Ready", name
    why = [f"{one.get('reason', '')} {one.get('message', '')}" for one in state.get("conditions", []) if one["status"] != "True" and "message" in one]
    return state.get("phase"), f"{name} {state.get('phase')} {state.get('reason', '')} {state.get('message', '')} {'; '.join(why)}"
