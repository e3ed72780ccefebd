"""The agent as `edge-gpu install` puts it on a node: the unit's command and settings, started before the kubelet as the unit demands, through a reboot."""

import re

import pytest

from real import layout as at
from real import product
from real.workload import Workload


@pytest.fixture
def installed(cluster, tmp_path):
    """A root that the agent was installed into, and the words of the unit's command."""
    flags = " ".join(map(str, cluster.product.agent_flags()))
    product.run("install", "--root", tmp_path, "--node-name", at.NODE, "--kubeconfig", cluster.folders.kubeconfig("edge-gpu-agent"), "--agent-flags", flags)
    yield tmp_path
    product.run("uninstall", "--root", tmp_path, "--purge")
    assert not [path for path in tmp_path.rglob("*") if "edge-gpu" in path.name]


def unit_command(root):
    """What systemd would run: `env` with agent.conf's settings, then ExecStart's words."""
    unit = (root / "etc/systemd/system/edge-gpu-agent.service").read_text()
    assert "kubelet.service" in re.search(r"^Before=(.*)$", unit, re.MULTILINE).group(1).split()
    assert "EnvironmentFile=-/etc/edge-gpu/agent.conf" in unit
    settings = dict(re.findall(r'^(\w+)="(.*)"$', (root / "etc/edge-gpu/agent.conf").read_text(), re.MULTILINE))
    program, *words = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE).group(1).split()
    expanded = [one for word in words for one in (settings[word[1:]].split() if word.startswith("$") else [word])]
    return ["env", *(f"{key}={value}" for key, value in settings.items()), f"{root}{program}", *expanded]


def test_installed_agent_survives_a_reboot(cluster, namespace, installed):
    cluster.stop("edge-gpu-agent")
    cluster.product.agent_command = unit_command(installed)
    try:
        cluster.start("edge-gpu-agent")
        load = Workload(cluster, namespace).run().begin()
        cluster.power_off()
        cluster.power_on()
        load.check_restarted()
        load.check_all_run()
        assert load.failed() == {}
    finally:
        cluster.product.agent_command = None
        cluster.restart("edge-gpu-agent")
