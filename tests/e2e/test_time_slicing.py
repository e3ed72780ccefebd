"""NVIDIA's configuration file with time-slicing, unchanged: a device of nvidia.com/gpu is a share of a card there."""

import pytest

from real import agreement, cards, product
from real.report import container, pod

EXAMPLE = product.ROOT / "tests" / "data" / "nvidia-config" / "example.yaml"
REPLICAS = 4  # as the file says


@pytest.fixture
def time_slicing(cluster):
    """The agent runs with the file; the way it ran before comes back afterwards."""
    usual = cluster.product.agent_arguments
    cluster.stop("edge-gpu-agent")
    cluster.product.agent_arguments = [*usual, "--config-file", EXAMPLE]
    cluster.start("edge-gpu-agent")
    cluster.wait_node({**product.capacity(), "nvidia.com/gpu": str(REPLICAS * cards.COUNT)})
    yield
    cluster.stop("edge-gpu-agent")
    cluster.product.agent_arguments = usual
    cluster.start("edge-gpu-agent")


def test_more_pods_than_cards_share_them(cluster, namespace, time_slicing):
    names = [f"replica-{i}" for i in range(cards.COUNT + 4)]
    cluster.apply(*[pod(name, container("main", whole=1)) for name in names], pod("two", container("main", whole=2)),
                  pod("share", container("main", share=60)), namespace=namespace)
    agreement.hold(cluster, namespace, pods=len(names) + 2, replicas=REPLICAS)
    cluster.restart("edge-gpu-agent")
    agreement.hold(cluster, namespace, pods=len(names) + 2, replicas=REPLICAS)
