"""edge-gpu itself as processes of the host, as systemd units run it."""

import json
import pathlib
import subprocess

from . import cards
from . import layout as at
from .control_plane import answers
from .processes import Service

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = ROOT / "build" / "release" / "bin" / "edge-gpu"
SIM_NVML = ROOT / "build" / "release" / "lib" / "sim" / "libnvidia-ml.so.1"
SIM_CUDA = SIM_NVML.with_name("libcuda.so.1")

INJECTION = ["--injection", "nvidia", "--pass-device-specs"]  # this cluster's containerd has no NVIDIA runtime

# docs/operations.md says what each needs.
RULES = {
    "edge-gpu-scheduler": [
        {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods/binding"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
    ],
    "edge-gpu-agent": [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    ],
}


def check_built():
    missing = [str(path) for path in (BINARY, SIM_NVML, SIM_CUDA) if not path.exists()]
    if missing:
        raise RuntimeError(f"not built: {', '.join(missing)}; run ./dev build")


def run(*arguments):
    """Standard output of an edge-gpu command; raises with its standard error when it fails."""
    done = subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"edge-gpu {' '.join(map(str, arguments))} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def roles():
    """The rights of the two users, as objects to apply."""
    items = []
    for user, rules in RULES.items():
        items.append({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": f"e2e-{user}"}, "rules": rules})
        items.append({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": f"e2e-{user}"},
                      "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"e2e-{user}"},
                      "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]})
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


class HostProduct:
    """Agent and scheduler as host processes; their extra arguments, and the agent's whole command, may be changed between a stop and a start."""

    def __init__(self, folders, journal):
        self.scheduler_arguments = ["--policy", "binpack"]  # its choices do not depend on what other tests asked for before
        self.agent_arguments = INJECTION
        self.agent_command = None  # instead of the usual one
        self._folders = folders
        self.scheduler = Service(
            "edge-gpu-scheduler",
            lambda: [BINARY, "scheduler", "--kubeconfig", folders.kubeconfig("edge-gpu-scheduler"), "--listen", at.EXTENDER, *self.scheduler_arguments],
            journal, folders.log, ready=lambda: answers(f"http://{at.EXTENDER}/readyz"))
        self.agent = Service(
            "edge-gpu-agent",
            lambda: self.agent_command or [BINARY, "agent", "--node-name", at.NODE, "--kubeconfig", folders.kubeconfig("edge-gpu-agent"), *self.agent_flags()],
            journal, folders.log, ready=lambda: answers(f"http://{at.AGENT_STATUS}/healthz"),
            extra_environment={"EDGE_GPU_SIM_NVML": folders.cards})

    def agent_flags(self):
        """Those that this cluster needs whoever runs the agent."""
        return ["--state-dir", self._folders.agent_state, "--nvml-library", SIM_NVML, "--listen", at.AGENT_STATUS, *self.agent_arguments]

    def services(self):
        return [self.scheduler, self.agent]


def capacity():
    """What a node with all cards free offers."""
    return {"nvidia.com/gpu": str(cards.COUNT), "nano-gpu/gpu-percent": str(100 * cards.COUNT)}
