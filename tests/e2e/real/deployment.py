"""edge-gpu in pods: the image of ./dev package, the manifests of deploy/, and what a node with simulated cards needs beside them."""

import json
import os
import pathlib
import platform
import shutil
import tarfile

from . import images, product
from . import layout as at

OVERLAYS = product.ROOT / "deploy" / "overlays"
SYSTEM = "kube-system"
SERVICE = "nano-gpu-scheduler"
AGENTS = (("edge-gpu-agent", "agent"), ("nvidia-device-plugin-daemonset", "nvidia-device-plugin-ctr"))
VERSION = (product.ROOT / "VERSION").read_text().strip()
PACKAGE = product.ROOT / "build" / "package"
MACHINE = images.ARCHITECTURE.get(platform.machine(), platform.machine())


def archive():
    """The image's archive; ./dev e2e makes it."""
    path = PACKAGE / f"edge-gpu-{VERSION}-{MACHINE}.oci.tar"
    if not path.exists():
        raise RuntimeError(f"{path} is missing; run ./dev package")
    return path


def binary_bytes():
    """Size of the program as it is shipped, without debug information."""
    with tarfile.open(PACKAGE / f"edge-gpu-{VERSION}-linux-{MACHINE}.tar.gz") as tar:
        return next(member.size for member in tar if member.name.endswith("/bin/edge-gpu"))


def use_service(cluster):
    """Configures kube-scheduler with what `edge-gpu scheduler-config` prints, for the Service through the API server's proxy: this cluster has no kube-proxy
    that would serve the Service's own address.
    """
    pki = cluster.folders.pki
    made = product.run("scheduler-config", "--kubernetes", cluster.dialect.version, "--kubeconfig", cluster.folders.kubeconfig("kube-scheduler"),
                       "--leader-elect=false", "--tls-ca", pki / "ca.crt", "--tls-cert", pki / "admin.crt", "--tls-key", pki / "admin.key",
                       "--extender-url", f"{at.API}/api/v1/namespaces/{SYSTEM}/services/{SERVICE}:39999/proxy/scheduler")
    path = cluster.folders.conf / "kube-scheduler-of-a-user.yaml"
    path.write_text(made)
    product.run("scheduler-config", "--check", path)
    cluster.use_scheduler_config(made)


class Overlay:
    """A folder of the user's own beside deploy/, which changes an overlay for the simulated cards of this node: the driver's folder, the cards' state, and
    device nodes in the answer, since no NVIDIA runtime is here.
    """

    def __init__(self, cluster, folder, overlay, agents=AGENTS):
        """Makes `folder`; `agents`: (DaemonSet, container) that are changed where the overlay has them."""
        self._cluster = cluster
        self.folder = folder
        folder.mkdir(parents=True)
        driver = cluster.folders.work / "driver" / "lib64"
        driver.mkdir(parents=True, exist_ok=True)
        shutil.copy(product.SIM_NVML, driver)
        patches = []
        for one in rendered(cluster, overlay):
            container = dict(agents).get(one["metadata"]["name"]) if one["kind"] == "DaemonSet" else None
            if container:
                arguments = next(each["args"] for each in one["spec"]["template"]["spec"]["containers"] if each["name"] == container)
                patches.append(_for_simulated_cards(cluster.folders, one["metadata"], container, arguments, driver.parent))
        (folder / "kustomization.yaml").write_text(json.dumps({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [os.path.relpath(overlay, folder)],
            "patches": [{"patch": json.dumps(patch)} for patch in patches]}))

    def apply(self):
        self._cluster.kubectl("apply", "-k", self.folder)
        return self

    def delete(self):
        self._cluster.kubectl("delete", "--ignore-not-found", "-k", self.folder, timeout_s=120)


def _for_simulated_cards(folders, metadata, container, arguments, driver):
    volumes = {"simulated": folders.cards.parent}
    arguments = [one for one in arguments if not one.startswith("--injection")]
    if "--host-root=/host" in arguments:
        arguments += [f"--driver-root={driver}", "--dev-root=/"]
    else:
        volumes["driver"] = driver
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {key: metadata[key] for key in ("name", "namespace")}, "spec": {"template": {"spec": {
        "containers": [{"name": container, "args": [*arguments, *product.INJECTION],
                        "env": [{"name": "EDGE_GPU_SIM_NVML", "value": f"/simulated/{folders.cards.name}"}],
                        "volumeMounts": [{"name": "simulated", "mountPath": "/simulated", "readOnly": True}]}],
        "volumes": [{"name": name, "hostPath": {"path": str(path), "type": "Directory"}} for name, path in volumes.items()]}}}}


def rendered(cluster, overlay):
    """The objects of an overlay's folder, as `kubectl kustomize` renders it."""
    text = cluster.kubectl("kustomize", overlay)
    shown = cluster.kubectl("create", "--dry-run=client", "-o", "json", "-f", "-", text=text)
    decoder, objects = json.JSONDecoder(), []
    while shown.strip():  # kubectl prints one object after the other
        one, end = decoder.raw_decode(shown.lstrip())
        objects.append(one)
        shown = shown.lstrip()[end:]
    return objects


def resident_mib(pid):
    """(all, of it not from files) of a process in MiB."""
    fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines() if ":" in line)
    return tuple(round(int(fields[name].split()[0]) / 1024, 1) for name in ("VmRSS", "RssAnon"))
