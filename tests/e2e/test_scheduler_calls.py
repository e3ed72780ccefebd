"""kube-scheduler asks the extender about everything it may be asked, and what waits for a card runs when one is free."""

import pytest

from real import agreement, cards, phantom, status
from real import layout as at
from real.report import LABEL, container, pod
from real.waiting import wait_until

PRIORITY = {"low": 0, "middle": 10, "high": 1000}


@pytest.fixture
def priorities(cluster, namespace):
    """Names of priority classes; they belong to no namespace."""
    names = {level: f"{namespace[:40]}-{level}" for level in PRIORITY}
    cluster.apply(*[{"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": names[level]}, "value": value}
                    for level, value in PRIORITY.items()])
    yield names
    cluster.kubectl("delete", "priorityclass", *names.values())


def alive(cluster, namespace):
    """{name: phase} of the pods that nobody has deleted."""
    return {one["metadata"]["name"]: one["status"].get("phase") for one in cluster.get("pods", "-n", namespace, "-l", LABEL)["items"]
            if "deletionTimestamp" not in one["metadata"]}


def card_of():
    """{pod: index of its card} by the scheduler's ledger."""
    return {holder["Pod"]: card["Index"] for card in status.scheduler()[at.NODE]["GPUs"] for holder in card["Holders"]}


def calls_since(before):
    now = status.calls()
    return {verb: now[verb] - before[verb] for verb in now}


def test_priorities_chooses_between_two_nodes(cluster, namespace):
    cluster.apply(pod("first", container("main", share=50)), namespace=namespace)
    agreement.hold(cluster, namespace, pods=1)
    with phantom.node(cluster):
        before = status.calls()
        # The most packed node is the one where a card is half used; by everything else the empty node is as good or better.
        cluster.apply(*[pod(f"packed-{i}", container("main", share=10)) for i in range(5)], namespace=namespace)
        agreement.hold(cluster, namespace, pods=6)

        calls = calls_since(before)
        assert calls["filter"] >= 5 and calls["priorities"] >= 5 and calls["bind"] == 5 and calls["preempt"] == 0, calls
        used = {card["Index"]: len(card["Holders"]) for card in status.scheduler()[at.NODE]["GPUs"] if card["Holders"]}
        assert list(used.values()) == [6], f"containers by card: {used}"


def test_higher_priority_evicts_exactly_what_frees_one_card(cluster, namespace, priorities):
    """Six cards are held by pods that may not be evicted. On two cards there is 10 percent left each.

    By sums kube-scheduler spares the two of middle priority, a-50 and b-30, and proposes to evict the two of low priority: one from either card.
    """
    low, middle, high = ({"priorityClassName": priorities[level]} for level in PRIORITY)
    keep = [pod(f"keep-{i}", container("main", share=100), **high) for i in range(cards.COUNT - 2)]
    cluster.apply(*keep, namespace=namespace)
    wait_until(lambda: len(card_of()) == len(keep), "the pods that stay are placed", 30)
    for number, (name, share, priority) in enumerate((("a", 50, middle), ("b", 60, low), ("b", 30, middle), ("a", 40, low)), 1):
        cluster.apply(pod(f"{name}-{share}", container("main", share=share), **priority), namespace=namespace)
        wait_until(lambda number=number: len(card_of()) == len(keep) + number, "the small pods are placed", 30)
    agreement.hold(cluster, namespace, pods=len(keep) + 4)
    placed = card_of()
    one_card = [{"a-50", "a-40"}, {"b-60", "b-30"}]
    assert [len({placed[name] for name in group}) for group in one_card] == [1, 1], placed
    before = status.calls()

    cluster.apply(pod("urgent", container("main", share=100), **high), namespace=namespace)
    urgent = cluster.wait_phase(namespace, "urgent")

    left = alive(cluster, namespace)
    evicted = set(placed) - set(left)
    assert evicted in one_card, f"evicted {sorted(evicted)}, of {placed}"
    assert int(urgent["metadata"]["annotations"]["nano-gpu/container-main"]) in {placed[name] for name in evicted}
    calls = calls_since(before)
    # The first attempt ends at the node's sum, before the extender is asked to filter.
    assert calls["preempt"] >= 1 and calls["filter"] >= 1 and calls["bind"] == 1, calls
    agreement.hold(cluster, namespace, pods=len(left))


def test_waiting_pods_run_when_a_card_is_free(cluster, namespace):
    names = [f"holds-{i}" for i in range(cards.COUNT)]
    cluster.apply(*[pod(name, container("main", share=100)) for name in names], namespace=namespace)
    agreement.hold(cluster, namespace, pods=cards.COUNT)
    cluster.apply(pod("waits-share", container("main", share=60)), pod("waits-whole", container("main", share=100)), namespace=namespace)

    def refused():
        for name in ("waits-share", "waits-whole"):
            assert any(event.startswith("FailedScheduling") for event in cluster.events(namespace, name)), name
        return True
    wait_until(refused, "both pods have been refused", 30)
    assert {alive(cluster, namespace)[name] for name in ("waits-share", "waits-whole")} == {"Pending"}

    cluster.kubectl("delete", "pod", "-n", namespace, "--wait=false", *names[:2])

    for name in ("waits-share", "waits-whole"):
        cluster.wait_phase(namespace, name)
    agreement.hold(cluster, namespace, pods=cards.COUNT)
