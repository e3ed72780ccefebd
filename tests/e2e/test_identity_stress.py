"""Whose container is it? Fifty pods at once, of equal and of different demand, while others go."""

import os
import random

import pytest

from real import agreement, cards
from real.report import container, pod

PODS = 50
SEED = "EDGE_GPU_SEED"


@pytest.fixture
def chance():
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(1 << 32))
    print(f"{SEED}={seed}")
    return random.Random(seed)


def equal(name, _):
    return pod(name, container("main", share=10))


def different(name, chance):
    """One or two containers; the two of a pod often ask for the same."""
    first = chance.randint(1, 16)
    if chance.random() < 0.3:
        return pod(name, container("a", share=(first + 1) // 2), container("b", share=(first + 1) // 2))
    return pod(name, container("main", share=first))


def test_fifty_pods_at_once_keep_their_cards(cluster, namespace, chance):
    alive = []
    rounds = [("equal", equal, PODS, 0), ("different", different, PODS, PODS), ("mixed", lambda *of: chance.choice([equal, different])(*of), 20, 20)]
    for name, make, count, leave in rounds:
        leaving = chance.sample(alive, leave)
        alive = [one for one in alive if one not in leaving]
        coming = [make(f"{name}-{i}", chance) for i in range(count)]
        assert sum(int(one["resources"]["limits"]["nano-gpu/gpu-percent"]) for each in coming for one in each["spec"]["containers"]) < 100 * cards.COUNT
        if leaving:
            cluster.kubectl("delete", "pod", "-n", namespace, "--wait=false", *leaving)
        cluster.apply(*coming, namespace=namespace)
        alive += [one["metadata"]["name"] for one in coming]
        agreement.hold(cluster, namespace, pods=len(alive))
