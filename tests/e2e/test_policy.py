"""A policy that looks ahead, on a real kube-scheduler: the node and the card are the policy's choice, whatever the default plugins prefer."""

from real import agreement, phantom, status
from real import layout as at
from real.report import container, pod
from real.waiting import wait_until


def refreshes():
    text = status.fetch(at.EXTENDER, "/metrics")
    found = [line.split()[1] for line in text.splitlines() if line.startswith("edge_gpu_scheduler_policy_refreshes ")]
    return float(found[0]) if found else 0.0


def wait_learned():
    """The policy has made its picture of the demand, and makes no new one for a second."""
    seen = [0.0]

    def steady():
        seen.append(refreshes())
        return seen[-1] >= 1 and seen[-1] == seen[-2]
    wait_until(steady, "the policy has learned", 15, interval_s=1)


def test_fill_gradient_keeps_the_half_card_whole(cluster, namespace):
    """Half of the pods ask for 50 percent and half for 30. One node has a card with 60 left, the other one with 50.

    Thirty more belong where 60 are left: another 30 will fit. Best-fit would take the 50 that the next 50 could have; and so would the default
    plugins, for the other node is empty otherwise.
    """
    policy = {"edge-gpu.io/policy": "fill-gradient"}
    nowhere = {"nodeSelector": {"no-node": "has-this"}}
    names = [f"seen-{i}" for i in range(40)]
    cluster.apply(*[pod(name, container("main", share=50 if i % 2 else 30), annotations=policy, **nowhere) for i, name in enumerate(names)],
                  namespace=namespace)
    with phantom.node(cluster):
        cluster.apply(pod("forty", container("main", share=40), nodeSelector={"kubernetes.io/hostname": at.NODE}),
                      pod("half", container("main", share=50), nodeSelector={"kubernetes.io/hostname": phantom.NAME}), namespace=namespace)
        wait_until(lambda: any(card["Holders"] for card in status.scheduler()[phantom.NAME]["GPUs"]), "the half card is taken", 15)
        cluster.restart("edge-gpu-scheduler")  # which knows the demand of earlier tests, too; now these pods are all there is
        wait_learned()
        cluster.wait_phase(namespace, "forty")

        cluster.apply(pod("p", container("main", share=30), annotations=policy), namespace=namespace)

        placed = cluster.wait_phase(namespace, "p")
        assert placed["spec"]["nodeName"] == at.NODE
        forty = cluster.get("pod", "forty", "-n", namespace)
        assert placed["metadata"]["annotations"]["nano-gpu/container-main"] == forty["metadata"]["annotations"]["nano-gpu/container-main"]
    cluster.kubectl("delete", "pod", "-n", namespace, "--wait=false", *names)
    agreement.hold(cluster, namespace, pods=2)
