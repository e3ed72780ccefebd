"""Forty pods of every shape fill eight cards, and everybody who knows whose card it is agrees."""

from real import agreement, cards, report, status
from real.report import container, init, pod, sidecar


def pods_that_fill_the_node():
    """Five cards whole and 300 percent in shares, the largest first, so that they fit in whatever order cards are chosen."""
    made = [
        pod("two-whole", container("main", share=200)),
        pod("whole-and-whole", container("main", whole=1), container("second", whole=1)),
        pod("whole-after-init", container("main", whole=1), init=[init("prepare", whole=1)]),
        pod("three-containers", container("a", share=20), container("none"), container("b", share=20), container("c", share=10)),
        pod("sidecar-and-init", container("main", share=20), init=[sidecar("proxy", share=30), init("prepare", share=20)]),
        pod("init-as-large", container("main", share=20), init=[init("prepare", share=20)]),
        pod("init-smaller", container("main", share=20), init=[init("prepare", share=10)]),
        pod("init-larger", container("main", share=5), init=[init("prepare", share=20)]),
        pod("two-after-init", container("a", share=10), container("b", share=10), init=[init("prepare", share=20)]),
        *[pod(f"with-sidecar-{i}", container("main", share=10), init=[sidecar("proxy", share=5)]) for i in range(4)],
    ]
    for share, count in ((4, 6), (2, 15), (1, 6)):
        made += [pod(f"share-{share}-{i}", container("main", share=share)) for i in range(count)]
    return made


def test_forty_pods_fill_eight_cards_and_all_sides_agree(cluster, namespace):
    made = pods_that_fill_the_node()
    assert len(made) == 40

    cluster.apply(*made, namespace=namespace)
    agreement.hold(cluster, namespace, pods=40)

    assert [card["usedPercent"] for card in status.agent()["cards"]] == [100] * cards.COUNT
    assert len([card for card in status.agent()["cards"] if card["whole"]]) == 5
    looked_at = report.read(cluster, namespace)
    assert len(looked_at) == sum(len(one["spec"]["containers"]) + len(one["spec"]["initContainers"]) for one in made)
