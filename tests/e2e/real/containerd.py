"""containerd with runc and a bridge network, all under the work folder."""

import json
import subprocess

from . import binaries, host, processes
from . import layout as at
from .dialect import may_lower_oom_score

PAUSE = f"{at.DOMAIN}/pause:e2e"


def environment(folders):
    """containerd looks for its shim in PATH."""
    return {"PATH": f"{folders.bin}:{processes.environment()['PATH']}"}


def knows_cdi(folders):
    """CDI came with containerd 1.7."""
    return binaries.knows_cdi(folders.bin)


def write_config(folders):
    quoted = json.dumps
    cdi = f"""    enable_cdi = true
    cdi_spec_dirs = [{quoted(str(at.CDI))}]
""" if knows_cdi(folders) else ""
    (folders.conf / "containerd.toml").write_text(f"""version = 2
root = {quoted(str(folders.containerd_root))}
state = {quoted(str(folders.containerd_state))}
oom_score = 0

[grpc]
  address = {quoted(str(folders.containerd_socket))}

[plugins]
  [plugins."io.containerd.internal.v1.opt"]
    path = {quoted(str(folders.work / "opt-containerd"))}
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = {quoted(PAUSE)}
    restrict_oom_score_adj = {str(not may_lower_oom_score()).lower()}
    disable_tcp_service = true
    stream_server_address = "127.0.0.1"
    stream_server_port = "0"
{cdi}    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = {quoted(str(at.CNI_PLUGINS))}
      conf_dir = {quoted(str(folders.conf / "cni"))}
    [plugins."io.containerd.grpc.v1.cri".containerd]
      default_runtime_name = "runc"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"
""")
    (folders.conf / "cni").mkdir(exist_ok=True)
    (folders.conf / "cni" / "10-bridge.conflist").write_text(json.dumps({
        "cniVersion": "0.4.0", "name": "edge-gpu-e2e",
        "plugins": [{"type": "bridge", "bridge": at.BRIDGE, "isGateway": True, "ipMasq": False, "hairpinMode": True,
                     "ipam": {"type": "host-local", "ranges": [[{"subnet": at.POD_SUBNET, "rangeStart": "10.231.0.10", "gateway": at.NODE_IP}]],
                              "routes": [{"dst": "0.0.0.0/0"}], "dataDir": str(folders.cni)}}],
    }, indent=1))


def ctr(folders, *arguments, timeout_s=120, check=True):
    done = subprocess.run([str(folders.bin / "ctr"), "--address", str(folders.containerd_socket), "--namespace", "k8s.io", *map(str, arguments)],
                          capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL)
    if check and done.returncode != 0:
        raise RuntimeError(f"ctr {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout if done.returncode == 0 else None


def ready(folders):
    return ctr(folders, "version", timeout_s=10, check=False) is not None


def shims(folders):
    """The shims of this cluster's containers, which outlive containerd: told by the socket in their command line."""
    found = []
    for pid in processes.all_pids():
        words = processes.command_line(pid)
        if words and "containerd-shim" in words[0] and str(folders.containerd_socket) in words:
            found.append(processes.Identity.of(pid))
    return [one for one in found if one]


def kill_containers(folders):
    """SIGKILL to every shim and container; the kubelet and containerd have ended, so nothing starts new ones."""
    for _ in range(10):
        left = shims(folders) + [one for one in map(processes.Identity.of, host.pod_processes()) if one]
        if not left:
            return
        processes.end(left)
    raise RuntimeError("containers keep coming back")


class Container:
    """A container that runs: its ID and its first process."""

    def __init__(self, identifier, process):
        self.id = identifier
        self.process = process


def running(folders, namespace, pod, name):
    """The container of that name while it runs, else None. Works without an API server and without a kubelet."""
    labels = {"io.kubernetes.pod.namespace": namespace, "io.kubernetes.pod.name": pod, "io.kubernetes.container.name": name}
    found = ctr(folders, "containers", "list", "--quiet", ",".join(f'labels."{key}"=={value}' for key, value in labels.items())).split()
    for line in ctr(folders, "tasks", "list").splitlines()[1:]:
        identifier, pid, state = line.split()[:3]
        process = processes.Identity.of(int(pid)) if identifier in found and state == "RUNNING" else None
        if process:
            return Container(identifier, process)
    return None
