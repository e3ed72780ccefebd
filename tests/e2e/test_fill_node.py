"""Forty pods of every shape fill eight cards, and everybody who knows whose card it is agrees."""

from real import agreement, cards, report, status
from real.report import container, init, pod, sidecar


def with_sidecar(name, dialect, proxy, main, more=()):
    """A pod with a sidecar of `proxy` percent; where Kubernetes has none, with one more container."""
    if dialect.has_sidecars:
        return pod(name, container("main", share=main), init=[sidecar("proxy", share=proxy), *more])
    return pod(name, container("main", share=main), container("proxy", share=proxy), init=more)


def pods_that_fill_the_node(dialect):
    """Five cards whole and 300 percent in shares, the largest first, so that they fit in whatever order cards are chosen."""
    made = [
        pod("two-whole", container("main", share=200)),
        pod("whole-and-whole", container("main", whole=1), container("second", whole=1)),
        pod("whole-after-init", container("main", whole=1), init=[init("prepare", whole=1)]),
        pod("three-containers", container("a", share=20), container("none"), container("b", share=20), container("c", share=10)),
        with_sidecar("sidecar-and-init", dialect, proxy=30, main=20, more=[init("prepare", share=20)]),
        pod("init-as-large", container("main", share=20), init=[init("prepare", share=20)]),
        pod("init-smaller", container("main", share=20), init=[init("prepare", share=10)]),
        pod("init-larger", container("main", share=5), init=[init("prepare", share=20)]),
        pod("two-after-init", container("a", share=10), container("b", share=10), init=[init("prepare", share=20)]),
        *[with_sidecar(f"with-sidecar-{i}", dialect, proxy=5, main=10) for i in range(4)],
    ]
    for share, count in ((4, 6), (2, 15), (1, 6)):
        made += [pod(f"share-{share}-{i}", container("main", share=share)) for i in range(count)]
    return made


def test_forty_pods_fill_eight_cards_and_all_sides_agree(cluster, namespace):
    made = pods_that_fill_the_node(cluster.dialect)
    assert len(made) == 40

    cluster.apply(*made, namespace=namespace)
    agreement.hold(cluster, namespace, pods=40)

    assert [card["usedPercent"] for card in status.agent()["cards"]] == [100] * cards.COUNT
    assert len([card for card in status.agent()["cards"] if card["whole"]]) == 5
    looked_at = report.read(cluster, namespace)
    assert len(looked_at) == sum(len(one["spec"]["containers"]) + len(one["spec"]["initContainers"]) for one in made)
