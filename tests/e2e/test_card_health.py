"""A card goes unhealthy and recovers: the node offers less meanwhile, new pods avoid it, and no running pod notices."""

import pytest

from real import agreement, cards, product, status
from real import layout as at
from real.pods import SHARE, WHOLE
from real.report import container, pod
from real.waiting import wait_until

QUIET_S = 30  # for so long a card that was lost must answer before it is trusted again


@pytest.fixture
def healed(cluster):
    yield
    cards.write_state(cluster.folders)
    wait_until(lambda: all(card["healthy"] for card in status.agent()["cards"]), "all cards are healthy", QUIET_S + 30)


def same_life(cluster, namespace, name):
    """What changes when something happens to a running pod."""
    now = cluster.get("pod", "-n", namespace, name)
    state = now["status"]["containerStatuses"][0]
    return now["metadata"]["uid"], now["status"]["phase"], state["restartCount"], state["containerID"], state["ready"]


def card_of(cluster, namespace, name):
    return int(cluster.get("pod", "-n", namespace, name)["metadata"]["annotations"]["nano-gpu/container-main"])


def test_sick_card_is_withdrawn_and_comes_back(cluster, namespace, healed):  # pylint: disable=unused-argument
    cluster.apply(pod("resident", container("main", share=30)), namespace=namespace)
    agreement.hold(cluster, namespace, pods=1)
    sick = card_of(cluster, namespace, "resident")
    before = same_life(cluster, namespace, "resident")
    cluster.wait_node({SHARE: str(100 * cards.COUNT), WHOLE: str(cards.COUNT - 1)})

    cards.write_state(cluster.folders, [f"gpu {sick} lost 1"])

    cluster.wait_node({SHARE: str(100 * (cards.COUNT - 1)), WHOLE: str(cards.COUNT - 1)})
    assert cluster.get("node", at.NODE)["status"]["capacity"][SHARE] == product.capacity()[SHARE]
    # The sick card is the only one with exactly so much room: binpack would have taken it.
    cluster.apply(pod("avoids", container("main", share=70)), namespace=namespace)
    agreement.hold(cluster, namespace, pods=2)
    assert card_of(cluster, namespace, "avoids") != sick
    assert same_life(cluster, namespace, "resident") == before

    cards.write_state(cluster.folders)

    cluster.wait_node({SHARE: str(100 * cards.COUNT), WHOLE: str(cards.COUNT - 2)}, timeout_s=QUIET_S + 60)
    cluster.apply(pod("comes-back", container("main", share=70)), namespace=namespace)
    agreement.hold(cluster, namespace, pods=3)
    assert card_of(cluster, namespace, "comes-back") == sick
    assert same_life(cluster, namespace, "resident") == before
