"""Shares that are enforced: two pods on one simulated card, limited by the guard that the agent mounts into them, and measured by the agent."""

import os
import pathlib
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
    # The agent's own NVML looks for it here.
    cards = pathlib.Path(f"{cluster.folders.cards}.cards")
    cards.symlink_to(shared / "cards")
    root = driver.make_root(cluster.folders.work / "guard-driver-root", f"cards {CARDS}/cards", "cuda context_mib 0")
    usual = cluster.product.agent_arguments
    cluster.stop("edge-gpu-agent")
    cluster.product.agent_arguments = ["--injection", "direct", "--driver-root", root, "--dev-root", "/", "--isolation", "guard"]
    cluster.start("edge-gpu-agent")
    cluster.wait_node(product.capacity())
    yield shared
    cluster.stop("edge-gpu-agent")
    cards.unlink()
    cluster.product.agent_arguments = usual
    cluster.start("edge-gpu-agent")


@pytest.fixture
def killing(cluster, guarded):
    """The agent ends what gets past the guard."""
    usual = cluster.product.agent_arguments
    cluster.stop("edge-gpu-agent")
    cluster.product.agent_arguments = [*usual, "--on-bypass", "kill"]
    cluster.start("edge-gpu-agent")
    cluster.wait_node(product.capacity())
    yield guarded
    cluster.stop("edge-gpu-agent")
    cluster.product.agent_arguments = usual
    cluster.start("edge-gpu-agent")


def cuda_pod(name, share, shared, env=None, **rest):
    container = pods.container("main", share=share)
    container["image"] = driver.IMAGE
    container["env"] = [{"name": key, "value": value} for key, value in (env or {}).items()]
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


class Running:
    """A program in a container, until it ends by itself; `status` and `text` are there after end()."""

    def __init__(self, cluster, namespace, pod, *command, timeout_s=90):
        self.status, self.text = None, ""

        def go():
            self.status, self.text = cluster.exec(namespace, pod, *command, timeout_s=timeout_s)
        self._thread = threading.Thread(target=go)
        self._thread.start()

    def running(self):
        return self._thread.is_alive()

    def end(self):
        self._thread.join()
        return self.text


def events(cluster, namespace, pod, reason):
    """The messages of the pod's events of that reason."""
    items = cluster.get("events", "-n", namespace)["items"]
    return [item["message"] for item in items if item["reason"] == reason and item["involvedObject"]["name"] == pod]


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

    def counted():  # by the agent's next looks at the accounts
        assert metric("edge_gpu_guard_memory_refusals_total", "half") >= 5
        return True
    wait_until(counted, "refusals are counted", 10)

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


def test_contexts_are_measured_and_come_off_the_quota(cluster, namespace, guarded):
    cluster.apply(cuda_pod("heavy", 20, guarded, env={"EDGE_GPU_SIM_CUDA": "context_mib 400"}), cuda_pod("plain", 20, guarded), namespace=namespace)
    for name in ("heavy", "plain"):
        cluster.wait_phase(namespace, name)
    quota = wait_until(lambda: metric("edge_gpu_guard_memory_limit_bytes", "heavy"), "a metric", 10) / MIB
    spins = Running(cluster, namespace, "heavy", "/bin/cuda_spin", "--clock", "time", "--kernel-us", "1000", "--seconds", "25")
    # And what the driver's blocks of 2 MiB leave unused.
    wait_until(lambda: 400 <= metric("edge_gpu_guard_memory_overhead_bytes", "heavy") / MIB <= 404, "the context is overhead", 12)
    assert metric("edge_gpu_guard_memory_measured_bytes", "heavy") >= 400 * MIB
    got, total = filled(cluster, namespace, "heavy")
    assert total == int(quota)
    assert quota - 808 - 128 <= got <= quota - 400, (got, quota)  # its own context counts when it is there for long
    assert metric("edge_gpu_guard_memory_overhead_bytes", "plain") == 0
    # What NVML measures is the share that the guard promised: seen over some five seconds at least, not by the first sample.
    wait_until(lambda: metric("edge_gpu_guard_measured_busy_seconds_total", "heavy") > 1, "time is measured", 18)
    wait_until(lambda: metric("edge_gpu_guard_compute_achieved_ratio", "heavy") == pytest.approx(0.2, abs=0.04), "the share is achieved", 10)
    assert spins.running()
    spins.end()
    assert spins.status == 0, spins.text
    wait_until(lambda: metric("edge_gpu_guard_memory_overhead_bytes", "heavy") == 0, "the context's memory is free again", 15)
    got, _ = filled(cluster, namespace, "plain")
    assert quota - 128 <= got <= quota
    assert not events(cluster, namespace, "heavy", "GPUGuardBypassed")


def test_who_gets_past_the_guard_is_reported(cluster, namespace, guarded):
    cluster.apply(cuda_pod("sly", 20, guarded), cuda_pod("good", 20, guarded), namespace=namespace)
    for name in ("sly", "good"):
        cluster.wait_phase(namespace, name)
    past = Running(cluster, namespace, "sly", "/bin/unguarded", "2000", "20")
    good = Running(cluster, namespace, "good", "/bin/cuda_fill", "--chunk-mib", "64", "--hold-s", "15")
    (message,) = wait_until(lambda: events(cluster, namespace, "sly", "GPUGuardBypassed"), "an event", 15)
    assert re.search(r"container main: process \d+ \(unguarded\) uses 2000 MiB of card \d without the guard", message), message
    assert metric("edge_gpu_guard_bypass_total", "sly") == 1
    wait_until(lambda: metric("edge_gpu_guard_bypassing", "sly") == 1, "it is counted", 5)
    assert metric("edge_gpu_guard_bypassing", "good") == 0
    assert past.end().splitlines()[-1] == "done", "it was only reported"
    good.end()
    assert good.status == 0, good.text
    assert not events(cluster, namespace, "good", "GPUGuardBypassed")
    wait_until(lambda: metric("edge_gpu_guard_bypassing", "sly") == 0, "it is over", 20)


def test_who_gets_past_the_guard_is_killed_and_nobody_else(cluster, namespace, killing):
    cluster.apply(cuda_pod("sly", 20, killing), cuda_pod("good", 20, killing), namespace=namespace)
    for name in ("sly", "good"):
        cluster.wait_phase(namespace, name)
    started = containerd.running(cluster.folders, namespace, "sly", "main").process.pid
    beside = Running(cluster, namespace, "sly", "/bin/cuda_spin", "--clock", "time", "--kernel-us", "1000", "--seconds", "30")
    good = Running(cluster, namespace, "good", "/bin/cuda_spin", "--clock", "time", "--kernel-us", "1000", "--seconds", "30")
    past = Running(cluster, namespace, "sly", "/bin/unguarded", "6000", "60")
    (message,) = wait_until(lambda: events(cluster, namespace, "sly", "GPUProcessKilled"), "an event", 40)
    assert re.search(r"process \d+ was killed: process \d+ \(unguarded\) uses 6000 MiB", message), message
    assert "done" not in past.end()
    assert past.status != 0
    assert metric("edge_gpu_guard_processes_ended_total", "sly") == 1
    for one in (beside, good):
        one.end()
        assert one.status == 0, one.text
    assert containerd.running(cluster.folders, namespace, "sly", "main").process.pid == started
    assert not events(cluster, namespace, "good", "GPUGuardBypassed")


def test_best_effort_waits_for_guaranteed(cluster, namespace, guarded):
    first = {"edge-gpu.io/priority": "guaranteed"}
    last = {"edge-gpu.io/priority": "best-effort", "edge-gpu.io/compute": "soft"}
    cluster.apply(cuda_pod("first", 50, guarded, annotations=first), cuda_pod("last", 50, guarded, annotations=last), namespace=namespace)
    for name in ("first", "last"):
        cluster.wait_phase(namespace, name)

    def spin(name, seconds):
        return Running(cluster, namespace, name, "/bin/cuda_spin", "--clock", "time", "--kernel-us", "1000", "--seconds", str(seconds))

    def part(run):
        text = run.end()
        assert run.status == 0, text
        return float(text.splitlines()[-1].split()[-2])
    low, high = spin("last", 8), spin("first", 10)
    wait_until(lambda: metric("edge_gpu_guard_gated", "last") == 1, "it is held back", 8)
    assert metric("edge_gpu_guard_gated", "first") == 0
    gated = part(low)
    assert part(high) == pytest.approx(50, abs=6)
    assert gated < 15
    assert part(spin("last", 6)) > 60, "alone it is lent what is idle"
    cluster.kubectl("annotate", "pod", "first", "-n", namespace, "edge-gpu.io/priority-")
    low, high = spin("last", 8), spin("first", 8)
    assert part(high) == pytest.approx(50, abs=6)
    assert part(low) == pytest.approx(50, abs=8), "it no longer waits"
