"""What differs between Kubernetes versions: flags and configuration API versions. Nothing else in this package asks for a version."""

import json
import re
import subprocess

from . import layout as at

CAP_SYS_RESOURCE = 24


def may_lower_oom_score():
    """Without CAP_SYS_RESOURCE no process may ask for a lower OOM score than its parent's."""
    with open("/proc/self/status", encoding="ascii") as file:
        effective = int(re.search(r"^CapEff:\s*([0-9a-f]+)", file.read(), re.MULTILINE).group(1), 16)
    return bool(effective >> CAP_SYS_RESOURCE & 1)


class Dialect:
    """Of the programs of one release, from what the kubelet says its version is."""

    def __init__(self, kubelet):
        said = subprocess.run([kubelet, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
        found = re.search(r"v1\.(\d+)\.\d+", said)
        if not found:
            raise RuntimeError(f"{kubelet} --version says {said!r}")
        self.version = found.group(0)
        self.minor = int(found.group(1))
        self.has_sidecars = self.minor >= 29  # init containers with restartPolicy Always
        self.lists_sidecars = self.minor >= 30  # in pod-resources
        self.lists_allocatable = self.minor >= 23  # in pod-resources
        self.fails_early_pods = self.minor >= 25  # that ask for devices and are admitted before their plugin has registered

    def kubelet_config(self, folders):
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": str(folders.pki / "ca.crt")}},
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(folders.pki / "kubelet-server.crt"), "tlsPrivateKeyFile": str(folders.pki / "kubelet-server.key"),
            "address": at.NODE_IP, "healthzBindAddress": "127.0.0.1", "readOnlyPort": 0,
            "cgroupDriver": "cgroupfs", "failSwapOn": False, "staticPodPath": str(folders.static_pods),
            # What the node offers is in the API within a second, not ten: nearly every test waits for it.
            "nodeStatusUpdateFrequency": "1s", "nodeStatusReportFrequency": "10s",
            "clusterDomain": "cluster.local", "volumePluginDir": str(folders.work / "volume-plugins"),
            # Images are imported once and cannot be pulled again: never collect them, never evict for a full disk.
            "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%"},
        }
        if not may_lower_oom_score():
            config["oomScoreAdj"] = 0
        if self.minor >= 27:
            config["containerRuntimeEndpoint"] = f"unix://{folders.containerd_socket}"
        if self.minor >= 31:
            config["failCgroupV1"] = False
            config["podLogsDir"] = str(folders.log / "pods")
        return json.dumps(config, indent=1)

    def kubelet_flags(self, folders):
        flags = [f"--config={folders.conf}/kubelet.json", f"--kubeconfig={folders.kubeconfig('kubelet')}", f"--hostname-override={at.NODE}",
                 f"--node-ip={at.NODE_IP}", f"--root-dir={at.KUBELET_ROOT}", f"--cert-dir={folders.pki}", f"--boot-id-file={folders.boot_id}", "--v=2"]
        if self.minor < 27:
            flags += ["--container-runtime=remote", f"--container-runtime-endpoint=unix://{folders.containerd_socket}"]
        return flags

    def scheduler_config(self, folders, extender=None):
        version = "v1" if self.minor >= 25 else "v1beta2" if self.minor >= 22 else "v1beta1"
        return json.dumps({
            "apiVersion": f"kubescheduler.config.k8s.io/{version}", "kind": "KubeSchedulerConfiguration",
            "clientConnection": {"kubeconfig": str(folders.kubeconfig("kube-scheduler"))},
            "leaderElection": {"leaderElect": False},
            "percentageOfNodesToScore": 100,
            "extenders": [{
                "urlPrefix": f"http://{at.EXTENDER}/scheduler", "filterVerb": "filter", "prioritizeVerb": "priorities", "bindVerb": "bind",
                "preemptVerb": "preempt", "weight": 200, "httpTimeout": "5s", "nodeCacheCapable": True, "ignorable": False,
                "managedResources": [{"name": "nano-gpu/gpu-percent", "ignoredByScheduler": False},
                                     {"name": "nvidia.com/gpu", "ignoredByScheduler": False}],
                **(extender or {}),
            }],
        }, indent=1)
