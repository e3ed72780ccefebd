"""Shares that are enforced: two pods on one simulated card, limited by the guard that the agent mounts into them."""

import os
import re
import signal
import threading

import pytest

from real import containerd, driver, pods, product, status
from real.waiting import wait_until

CARDS = "/sim"  # where containers find what the processes of the node share about its cards
MIB = 1 << 20


@pytest.fixture(scope="module")
def guarded(cluster, cuda_image):
    """The agent runs with --isolation guard and direct injection; the way it ran before comes back afterwards."""
    shared = cluster.folders.work / "sim-cards"
    shared.mkdir()
    root = driver.make_root(cluster.folders.work / "guard-driver-root", f"cards {CARDS}/cards", "cuda context_mib 0")
    usual = cluster.product.agent_arguments
    cluster.stop("edge-gpu-agent")
    cluster.product.agent_arguments = ["--injection", "direct", "--driver-root", root, "--dev-root", "/", "--isolation", "guard"]
    cluster.start("edge-gpu-agent")
    cluster.wait_node(product.capacity())
    yield shared
    cluster.stop("edge-gpu-agent")
    cluster.product.agent_arguments = usual
    cluster.start("edge-gpu-agent")


def cuda_pod(name, share, shared, **rest):
    container = pods.container("main", share=share)
    container["image"] = driver.IMAGE
    container["volumeMounts"] = [{"name": "sim", "mountPath": CARDS}]
    return pods.pod(name, container, volumes=[{"name": "sim", "hostPath": {"path": str(shared)}}], **rest)


def run(cluster, namespace, pod, *command, timeout_s=60):
    status, text = cluster.exec(namespace, pod, *command, timeout_s=timeout_s)
    assert status == 0, f"{pod}: {command} ended with {status}: {text}"
    return text


def filled(cluster, namespace, pod, family="alloc"):
    """(MiB that the program got before it was refused, MiB that the driver said are there in all)"""
    text = run(cluster, namespace, pod, "/bin/cuda_fill", "--chunk-mib", "64", "--family", family)
    total = int(re.search(r"before: free \d+ MiB of (\d+) MiB", text).group(1))
    return int(re.search(r"(\d+) MiB", text[text.index("\n"):]).group(1)), total


def metric(name, pod):
    """The value of a metric of the agent about a pod."""
    for line in status.metrics().splitlines():
        if line.startswith(name + "{") and f'pod="{pod}"' in line:
            return float(line.split()[-1])
    raise AssertionError(f"no {name} of {pod}")


def check_memory(cluster, namespace, quotas, families):
    for name, quota in quotas.items():
        for family in families:
            got, total = filled(cluster, namespace, name, family)
            assert total == int(quota), (name, family)
            assert quota - 128 <= got <= quota, (name, family)


def test_each_pod_sees_and_gets_its_memory(cluster, namespace, guarded):
    cluster.apply(cuda_pod("fifth", 20, guarded), cuda_pod("half", 50, guarded), namespace=namespace)
    cards = {cluster.wait_phase(namespace, name)["metadata"]["annotations"]["nano-gpu/container-main"] for name in ("fifth", "half")}
    assert len(cards) == 1
    quotas = {name: wait_until(lambda name=name: metric("edge_gpu_guard_memory_limit_bytes", name), f"a metric of {name}", 10) / MIB
              for name in ("fifth", "half")}
    assert quotas["half"] == pytest.approx(2.5 * quotas["fifth"], rel=0.01)
    check_memory(cluster, namespace, quotas, ("alloc", "managed", "async", "vmm", "array"))
    assert wait_until(lambda: metric("edge_gpu_guard_memory_refusals_total", "half"), "refusals are counted", 10) >= 5

    cluster.restart("edge-gpu-agent")
    check_memory(cluster, namespace, quotas, ("alloc",))
    os.kill(containerd.running(cluster.folders, namespace, "fifth", "main").process.pid, signal.SIGKILL)

    def again():
        state = cluster.get("pod", "-n", namespace, "fifth")["status"]["containerStatuses"][0]
        assert state["restartCount"] == 1 and "running" in state["state"], state
        return True
    wait_until(again, "the container runs again", 60)
    check_memory(cluster, namespace, quotas, ("alloc",))

    cluster.kubectl("annotate", "pod", "fifth", "-n", namespace, "edge-gpu.io/memory=1024Mi")

    def follows():
        assert filled(cluster, namespace, "fifth") == (1024, 1024)
        return True
    wait_until(follows, "the pod has the memory that its annotation says", 20)
    check_memory(cluster, namespace, {"half": quotas["half"]}, ("alloc",))


def test_each_pod_gets_its_compute(cluster, namespace, guarded):
    cluster.apply(cuda_pod("fifth", 20, guarded), cuda_pod("half", 50, guarded), namespace=namespace)
    for name in ("fifth", "half"):
        cluster.wait_phase(namespace, name)
    achieved = {}

    def spin(name):
        text = run(cluster, namespace, name, "/bin/cuda_spin", "--clock", "time", "--kernel-us", "1000", "--seconds", "10")
        achieved[name] = float(text.splitlines()[-1].split()[-2])
    threads = [threading.Thread(target=spin, args=(name,)) for name in ("fifth", "half")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert achieved["fifth"] == pytest.approx(20, abs=5), achieved
    assert achieved["half"] == pytest.approx(50, abs=5), achieved
    assert metric("edge_gpu_guard_throttled_seconds_total", "fifth") > 1
