"""Names, addresses and folders of the cluster."""

import pathlib

NODE = "edge-gpu-e2e"
BRIDGE = "egpu-e2e0"
NODE_IP = "10.231.0.1"
POD_SUBNET = "10.231.0.0/24"
SERVICE_RANGE = "10.232.0.0/24"
API_SERVICE_IP = "10.232.0.1"
API = f"https://{NODE_IP}:6443"
EXTENDER = "127.0.0.1:39999"
AGENT_STATUS = "127.0.0.1:39998"
DOMAIN = "edge-gpu.test"  # of images; reserved for tests, so nothing is ever pulled

KUBELET_ROOT = pathlib.Path("/var/lib/kubelet")
CDI = pathlib.Path("/var/run/cdi")
NETNS = pathlib.Path("/run/netns")
CNI_PLUGINS = pathlib.Path("/usr/lib/cni")
# Folders with fixed paths that containerd, CNI and the kubelet fill: removed afterwards where they were not there before.
BORROWED = [KUBELET_ROOT, pathlib.Path("/var/lib/cni"), pathlib.Path("/var/log/pods"), pathlib.Path("/var/log/containers"),
            pathlib.Path("/run/containerd"), pathlib.Path("/var/run/cdi"), pathlib.Path("/run/runc"), pathlib.Path("/run/calico"),
            pathlib.Path("/etc/cni"), pathlib.Path("/opt/cni"), pathlib.Path("/usr/libexec/kubernetes"), pathlib.Path("/run/netns"),
            pathlib.Path("/run/docker"), pathlib.Path("/var/lib/dockershim"), pathlib.Path("/var/lib/containerd"), pathlib.Path("/opt/containerd"),
            pathlib.Path("/var/lib/edge-gpu")]  # of an agent in a pod


class Layout:
    """The folders of one cluster under its work folder."""

    def __init__(self, work):
        self.work = pathlib.Path(work)
        self.bin = self.work / "bin"  # links to the programs of Kubernetes and containerd
        self.pki = self.work / "pki"
        self.conf = self.work / "conf"
        self.log = self.work / "log"
        self.etcd = self.work / "etcd"
        self.containerd_root = self.work / "containerd"
        self.containerd_state = self.work / "run-containerd"  # lost at a reboot, like /run
        self.containerd_socket = self.containerd_state / "containerd.sock"
        self.cni = self.work / "cni"
        self.images = self.work / "images"
        self.cards = self.work / "cards.txt"
        self.agent_state = self.work / "agent-state"
        self.boot_id = self.work / "boot_id"
        self.static_pods = self.work / "static-pods"

    def make(self):
        for folder in (self.bin, self.pki, self.conf, self.log, self.etcd, self.containerd_root, self.containerd_state, self.cni, self.images,
                       self.agent_state, self.static_pods):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def kubeconfig(self, user):
        return self.conf / f"{user}.kubeconfig"
