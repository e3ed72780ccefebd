"""Every `sh` block of docs/install.md runs as it stands. A block after `<!-- not run: REASON -->` does not, and is listed with the reason."""

import re
import shutil
import subprocess

import pytest

from real import deployment, product
from real import layout as at
from real.deployment import Overlay
from real.processes import environment
from real.waiting import wait_until

GUIDE = product.ROOT / "docs" / "install.md"
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->")
# Ways through the guide, by headings: what a user reads one after the other. Together they have every block.
WAYS = {
    "ordinary": ["Install", "Image", "Ordinary cluster", "Tell kube-scheduler", "Try it", "Uninstall"],
    "superedge": ["Install", "SuperEdge"],
    "nano-gpu": ["Install", "In the place of nano-gpu"],
}
OVERLAYS = {"ordinary": ["all"], "superedge": ["superedge"], "nano-gpu": ["drop-in"]}
AGENTS = [("edge-gpu-agent", "agent"), ("nvidia-device-plugin-daemonset", "nvidia-device-plugin-ctr")]
DEADLINE_S = 300


def blocks():
    """[(heading, text, why it is not run or None)] of the guide's sh blocks."""
    out, heading, why, lines = [], None, None, None
    for line in GUIDE.read_text(encoding="utf-8").splitlines():
        if lines is not None:
            if line.startswith("```"):
                out.append((heading, "\n".join(lines), why))
                lines = why = None
            else:
                lines.append(line)
        elif line == "```sh":
            lines = []
        elif line.startswith("#"):
            heading = line.lstrip("# ")
        elif NOT_RUN.fullmatch(line):
            why = NOT_RUN.fullmatch(line).group(1)
        elif line.strip():
            why = None
    return out


def test_ways_have_every_block():
    assert len(blocks()) >= 8
    assert {heading for heading, _, _ in blocks()} <= {heading for way in WAYS.values() for heading in way}
    for heading, text, why in blocks():
        if why:
            print(f"\nnot run, {why} ({heading}):\n{text}")


@pytest.fixture
def checkout(cluster, tmp_path):
    """A copy of what the guide's commands need of this repository, its overlays changed for simulated cards."""
    for name in ("VERSION", "deploy"):
        source = product.ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    (tmp_path / "build").symlink_to(product.ROOT / "build")
    overlays = tmp_path / "deploy" / "overlays"
    for name in ("all", "superedge", "drop-in"):
        (overlays / name).rename(overlays / f"{name}-as-it-is")
        Overlay(cluster, overlays / name, overlays / f"{name}-as-it-is", AGENTS)
    return tmp_path


@pytest.mark.parametrize("way", WAYS)
def test_guide(in_pods, checkout, way):
    cluster = in_pods
    script = "\n".join(text for wanted in WAYS[way] for heading, text, why in blocks() if heading == wanted and not why)
    variables = environment({"KUBECONFIG": cluster.kubeconfig, "GPU_NODES": at.NODE, "CONTAINERD_ADDRESS": cluster.folders.containerd_socket})
    variables["PATH"] = f"{cluster.binary.parent}:{variables['PATH']}"
    try:
        done = subprocess.run(["bash", "-euxo", "pipefail", "-c", script], cwd=checkout, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=DEADLINE_S, check=False)
        print(done.stdout)
        assert done.returncode == 0
    finally:
        for name in OVERLAYS[way]:
            cluster.kubectl("delete", "--ignore-not-found", "-k", checkout / "deploy" / "overlays" / name, timeout_s=120)
        wait_until(lambda: not cluster.get("pods", "-n", deployment.SYSTEM)["items"], "its pods are gone", 60)
        cluster.kubectl("label", "--overwrite", "nodes", at.NODE, "edge-gpu.io/gpu=true")
