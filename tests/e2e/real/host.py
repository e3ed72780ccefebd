"""What a cluster changes on the host outside its work folder: remembered before, put back after."""

import os
import pathlib
import re
import shutil
import subprocess
import time

from . import layout as at
from .processes import environment

# Set by the kubelet and by the bridge plugin of CNI.
SYSCTLS = ("net/ipv4/ip_forward", "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
           "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "net/bridge/bridge-nf-call-iptables", "net/ipv4/conf/all/route_localnet")
CHAINS = ("KUBE-", "CNI-", "EDGE-GPU-E2E")
CGROUPS = pathlib.Path("/sys/fs/cgroup")
POD_CGROUP = "kubepods"


def run(*command, check=True):
    """Output of a command that ends soon."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
                          env=environment())
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


# Mounts

def mounts():
    """Mount points with their optional fields (propagation), in the order they were mounted."""
    out = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = line.split(" - ")[0].split()
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), fields[4])
        out.append((point, " ".join(fields[6:])))
    return out


def under(point, folder):
    return point == str(folder) or point.startswith(f"{folder}/")


def unmount_under(*folders):
    """Everything mounted on or below the folders, last mounted first."""
    for _ in range(5):  # a mount point may carry several mounts
        points = [point for point, _ in mounts() if any(under(point, folder) for folder in folders)]
        if not points:
            return
        for point in reversed(points):
            run("umount", "--lazy", "--", point, check=False)
    raise RuntimeError(f"cannot unmount {points}")


def save():
    """What to put back, as JSON."""
    sysctls = {}
    for name in SYSCTLS:
        path = pathlib.Path("/proc/sys", name)
        if path.exists():
            sysctls[name] = path.read_text(encoding="ascii").strip()
    return {
        "sysctls": sysctls,
        "mounts": mounts(),
        "folders": [str(path) for path in at.BORROWED if path.exists()],
        "netns": sorted(os.listdir(at.NETNS)) if at.NETNS.is_dir() else [],
        "cgroups": [str(path) for path in cgroup_roots() if (path / POD_CGROUP).exists()],
    }


def share_mounts():
    """Pods with mount propagation need a shared root."""
    if any(point == "/" and "shared:" not in optional for point, optional in mounts()):
        run("mount", "--make-rshared", "/")


# cgroups

def cgroup_roots():
    """The root of each v1 hierarchy, or the one of v2."""
    roots = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, right = line.split(" - ")
        if right.split()[0] in ("cgroup", "cgroup2"):
            roots.append(pathlib.Path(left.split()[4]))
    return roots


def pod_processes():
    """Pids of every container of the kubelet's pods."""
    pids = set()
    for root in cgroup_roots():
        for folder, _, files in os.walk(root / POD_CGROUP):
            if "cgroup.procs" in files:
                try:
                    pids.update(int(pid) for pid in pathlib.Path(folder, "cgroup.procs").read_text(encoding="ascii").split() if pid != "0")
                except OSError:
                    pass  # removed meanwhile
    return pids


def remove_pod_cgroups(keep=()):
    until = time.monotonic() + 10
    while True:
        left = []
        for root in cgroup_roots():
            if str(root) in keep:
                continue
            for folder, _, _ in os.walk(root / POD_CGROUP, topdown=False):
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    left.append(f"{folder}: {error.strerror}")
        if not left:
            return
        if time.monotonic() >= until:
            raise RuntimeError("cgroups cannot be removed: " + "; ".join(left[:5]))
        time.sleep(0.1)


# Network

def iptables_commands():
    return [name for name in ("iptables", "ip6tables") if shutil.which(name)]


def remove_chains():
    """Rules that jump into the chains of Kubernetes, CNI and ours, and the chains."""
    for command in iptables_commands():
        for table in ("filter", "nat", "mangle"):
            rules = run(command, "-w", "-t", table, "-S", check=False).splitlines()
            ours = [rule.split()[1] for rule in rules if rule.startswith("-N ") and rule.split()[1].startswith(CHAINS)]
            for rule in rules:
                jump = re.search(r" -[jg] (\S+)", rule)
                if rule.startswith("-A ") and rule.split()[1] not in ours and jump and jump.group(1) in ours:
                    run("sh", "-c", f"{command} -w -t {table} -D {rule[3:]}", check=False)
            for chain in ours:
                run(command, "-w", "-t", table, "-F", chain, check=False)
            for chain in ours:
                run(command, "-w", "-t", table, "-X", chain, check=False)


def make_bridge():
    """The pods' bridge; it carries the node's address, since the kubelet and the API server refuse a loopback address."""
    run("ip", "link", "add", at.BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{at.NODE_IP}/24", "dev", at.BRIDGE)
    run("ip", "link", "set", at.BRIDGE, "up")


def make_api_service():
    """What kube-proxy does for the one service that pods of this suite need: the API server's."""
    chain = "EDGE-GPU-E2E"
    run("iptables", "-w", "-t", "nat", "-N", chain)
    run("iptables", "-w", "-t", "nat", "-A", chain, "-p", "tcp", "-d", at.API_SERVICE_IP, "--dport", "443", "-j", "DNAT", "--to-destination", f"{at.NODE_IP}:6443")
    for hook in ("PREROUTING", "OUTPUT"):
        run("iptables", "-w", "-t", "nat", "-A", hook, "-j", chain)


def remove_pod_networks(keep=()):
    """Network namespaces of pods, and with them their links."""
    if at.NETNS.is_dir():
        for name in os.listdir(at.NETNS):
            if name.startswith("cni-") and name not in keep:
                unmount_under(at.NETNS / name)
                (at.NETNS / name).unlink(missing_ok=True)


def remove_bridge():
    run("ip", "link", "delete", at.BRIDGE, check=False)


def put_back(saved):
    """Undoes what `save` remembered; the cluster's processes have ended and its mounts are gone."""
    remove_pod_networks(keep=saved["netns"])
    remove_bridge()
    remove_chains()
    remove_pod_cgroups(keep=saved["cgroups"])
    for name, value in saved["sysctls"].items():
        path = pathlib.Path("/proc/sys", name)
        if path.exists() and path.read_text(encoding="ascii").strip() != value:
            path.write_text(value, encoding="ascii")
    if not any(optional for _, optional in saved["mounts"]):
        run("mount", "--make-rprivate", "/")  # reaches also the mounts hidden under others
    else:
        private = {point for point, optional in saved["mounts"] if "shared:" not in optional}
        for point, optional in mounts():
            if point in private and "shared:" in optional:
                run("mount", "--make-private", point)
    for path in at.BORROWED:
        if str(path) not in saved["folders"]:
            if path.exists():
                unmount_under(path)
            shutil.rmtree(path, ignore_errors=True)
