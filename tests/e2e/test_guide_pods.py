"""The pods of SuperEdge's GPU guide, as a user applies them."""

import pytest

from real import cards, inside, pods

CONTROL_NODES = ["nvidia-uvm", "nvidia-uvm-tools", "nvidiactl"]


@pytest.mark.parametrize("ask", [{"whole": 1}, {"share": 20}], ids=["whole-card", "share"])
def test_guide_pod_runs_with_one_card(cluster, namespace, ask):
    cluster.apply(pods.pod("gpu-pod", pods.container("main", **ask)), namespace=namespace)
    pod = cluster.wait_phase(namespace, "gpu-pod")

    annotations = pod["metadata"]["annotations"]
    assert annotations["nano-gpu/assume"] == "true"
    card = int(annotations["nano-gpu/container-main"])

    assert inside.cards_with_a_node(cluster, namespace, "gpu-pod") == [card]
    assert inside.cards_allowed(cluster, namespace, "gpu-pod") == [card]
    assert inside.device_nodes(cluster, namespace, "gpu-pod") == sorted([f"nvidia{card}", *CONTROL_NODES])
    visible = inside.environment(cluster, namespace, "gpu-pod")["NVIDIA_VISIBLE_DEVICES"]
    assert visible.startswith("GPU-") and "," not in visible


def test_pod_that_asks_for_no_card_has_none(cluster, namespace):
    cluster.apply(pods.pod("plain", pods.container("main")), namespace=namespace)
    pod = cluster.wait_phase(namespace, "plain")

    assert "nano-gpu/assume" not in pod["metadata"].get("annotations", {})
    assert inside.device_nodes(cluster, namespace, "plain") == []
    assert inside.cards_allowed(cluster, namespace, "plain") == []


def test_eight_whole_cards_are_eight_different_ones(cluster, namespace):
    names = [f"whole-{i}" for i in range(cards.COUNT)]
    cluster.apply(*[pods.pod(name, pods.container("main", whole=1)) for name in names], namespace=namespace)
    for name in names:
        cluster.wait_phase(namespace, name)
    taken = sorted(card for name in names for card in inside.cards_allowed(cluster, namespace, name))
    assert taken == list(range(cards.COUNT))
