"""Whole cards and shares of one node, asked for at the same time and more than there is: no card is given out twice."""

import threading

from real import agreement, cards
from real.pods import SHARE, WHOLE
from real.report import LABEL, container, pod
from real.waiting import wait_until


def running(cluster, namespace):
    """Names of the pods that run; a pod that failed is an error (one that was deleted has to end)."""
    items = cluster.get("pods", "-n", namespace, "-l", LABEL)["items"]
    failed = {one["metadata"]["name"]: one["status"].get("message") for one in items if one["status"].get("phase") == "Failed" and "deletionTimestamp" not in one["metadata"]}
    if failed:
        raise RuntimeError(f"pods failed: {failed}")
    return {one["metadata"]["name"]: one for one in items if one["status"].get("phase") == "Running" and "deletionTimestamp" not in one["metadata"]}


def taken(pods):
    """Percent that these pods ask for."""
    limits = [one["spec"]["containers"][0]["resources"]["limits"] for one in pods.values()]
    return sum(100 * int(one.get(WHOLE, 0)) + int(one.get(SHARE, 0)) for one in limits)


def test_no_card_is_whole_and_shared(cluster, namespace):
    wholes = [pod(f"whole-{i}", container("main", whole=1)) for i in range(cards.COUNT)]
    shares = [pod(f"share-{i}", container("main", share=50)) for i in range(2 * cards.COUNT)]
    errors = []

    def create(objects):
        try:
            cluster.apply(*objects, namespace=namespace)
        except Exception as error:  # pylint: disable=broad-exception-caught
            errors.append(error)
    threads = [threading.Thread(target=create, args=(objects,)) for objects in (wholes[:4], shares[:8], wholes[4:], shares[8:])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors

    full = 100 * cards.COUNT
    for _ in range(2):
        wait_until(lambda: taken(running(cluster, namespace)) == full, f"pods with {full} percent together run", 90, interval_s=0.5)
        now = running(cluster, namespace)
        agreement.hold(cluster, namespace, pods=len(now))
        for kind in ("whole", "share"):
            gone = [name for name in now if name.startswith(kind)][:2]
            if gone:
                cluster.kubectl("delete", "pod", "-n", namespace, "--wait=false", *gone)
