"""What of a cluster can be seen on the machine: compared before and after, it tells what a tear-down forgot."""

import os

from . import cards, host, processes
from . import layout as at
from .journal import PATH as JOURNAL


def _links():
    return {line.split(": ")[1].split("@")[0] for line in host.run("ip", "-o", "link").splitlines()}


def _rules():
    out = set()
    for command in host.iptables_commands():
        for table in ("filter", "nat", "mangle"):
            out.update(f"{command} {table} {rule}" for rule in host.run(command, "-w", "-t", table, "-S", check=False).splitlines())
    return out


def _cgroups():
    return {str(one.path) for root in host.cgroup_roots() for one in os.scandir(root) if one.is_dir()}


def _processes():
    """Those of a cluster: other programs of this machine may come and go meanwhile."""
    out = set()
    for pid in processes.all_pids():
        line = " ".join(processes.command_line(pid))
        if "edge-gpu-e2e." in line or "containerd-shim" in line:
            out.add(f"{pid} {line[:200]}")
    return out | {f"{pid} in a pod" for pid in host.pod_processes()}


def seen():
    """Sets of text by kind."""
    return {
        "processes": _processes(),
        "mounts": {f"{point} {optional.split(':')[0]}" for point, optional in host.mounts()},
        "links": _links(),
        "iptables": _rules(),
        "cgroups": _cgroups(),
        "sysctls": {f"{name}={value}" for name, value in host.save()["sysctls"].items()},
        "folders": {str(path) for path in at.BORROWED if path.exists()} | {
            f"/var/tmp/{name}" for name in os.listdir("/var/tmp") if name.startswith("edge-gpu-e2e.")},
        "files": {str(path) for path in [JOURNAL, *(f"/dev/{name}" for name in cards.device_names())] if os.path.exists(path)},
    }


def differences(before, after):
    """Lines that say what came and what went."""
    return [f"{kind}: {sign} {one}" for kind in before for sign, some in (("+", after[kind] - before[kind]), ("-", before[kind] - after[kind]))
            for one in sorted(some)]
