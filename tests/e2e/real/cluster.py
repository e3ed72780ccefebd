"""A single-node cluster from nothing: up, down, and each part of it stopped and started."""

import os
import pathlib
import shutil
import tempfile
import time
import uuid

from . import binaries, cards, certificates, containerd, control_plane, host, images, processes, product
from . import layout as at
from .client import Client
from .dialect import Dialect
from .journal import Journal
from .processes import Service

NEEDED = ("etcd", "runc", "ip", "iptables", "openssl", "gcc", "busybox", "mount", "umount")
COMMANDS = ("ctr", "gcc", "kubectl", "openssl")  # that a run which was killed may have been waiting for
NODE_SERVICES = ("containerd", "edge-gpu-agent", "kubelet")  # in boot order
READY_TIMEOUT_S = 120


class Cluster(Client):
    """The cluster of this machine. `services` has each process by name; all of Client's questions work on it."""

    def __init__(self, journal):
        self.journal = journal
        self.folders = at.Layout(journal.get("work"))
        self.programs = {name: pathlib.Path(path) for name, path in journal.get("programs").items()}
        super().__init__(self.programs["kubectl"], self.folders.kubeconfig("admin"))
        self.dialect = Dialect(self.programs["kubelet"])
        self.product = product.HostProduct(self.folders, journal)
        self.services = {service.name: service for service in [*self._kubernetes(), *self.product.services()]}

    def _kubernetes(self):
        folders, programs = self.folders, self.programs

        def service(name, command, ready):
            return Service(name, command, self.journal, folders.log, ready)
        answers = control_plane.answers
        return [
            service("etcd", lambda: control_plane.etcd(folders), lambda: answers(f"http://{control_plane.ETCD}/health")),
            service("kube-apiserver", lambda: control_plane.api_server(programs["kube-apiserver"], folders),
                    lambda: answers(f"{at.API}/readyz", "admin", folders)),
            service("kube-controller-manager", lambda: control_plane.controller_manager(programs["kube-controller-manager"], folders),
                    lambda: answers("https://127.0.0.1:10257/healthz")),
            service("kube-scheduler", lambda: control_plane.scheduler(programs["kube-scheduler"], folders),
                    lambda: answers("https://127.0.0.1:10259/healthz")),
            Service("containerd", lambda: [folders.bin / "containerd", "--config", folders.conf / "containerd.toml"], self.journal, folders.log,
                    lambda: containerd.ready(folders), containerd.environment(folders)),
            service("kubelet", lambda: [programs["kubelet"], *self.dialect.kubelet_flags(folders)], lambda: answers("http://127.0.0.1:10248/healthz")),
        ]

    # One part

    def stop(self, name):
        """SIGTERM, as systemd stops it."""
        self.services[name].stop()

    def kill(self, name):
        """SIGKILL."""
        self.services[name].kill()

    def start(self, name):
        """Returns when the process answers.

        kube-controller-manager and kube-scheduler start anew with the API server: after some outages in a row they wait a minute and more before
        they look again, and the tests need namespaces, Deployments and placements at once.
        """
        self.services[name].start()
        if name == "kube-apiserver":
            for client in ("kube-controller-manager", "kube-scheduler"):
                self.restart(client)

    def restart(self, name):
        self.services[name].restart()

    def use_extender(self, **changes):
        """Changes kube-scheduler's extender (keys of its configuration: urlPrefix="…"), no keys for the first state, and restarts it."""
        self.use_scheduler_config(self.dialect.scheduler_config(self.folders, changes))

    def use_scheduler_config(self, text):
        """Restarts kube-scheduler with this configuration (JSON or YAML); use_extender() goes back."""
        (self.folders.conf / "kube-scheduler.json").write_text(text)
        self.restart("kube-scheduler")

    # The whole node

    def power_off(self):
        """Every process of the node dies at once, with all containers; /run is lost. The control plane stays."""
        node = [self.services[name].identity for name in reversed(NODE_SERVICES)]
        processes.end(node)
        containerd.kill_containers(self.folders)
        for name in NODE_SERVICES:
            self.services[name].kill()  # reaps
        host.unmount_under(self.folders.containerd_state, at.KUBELET_ROOT / "pods", self.folders.containerd_root)
        host.remove_pod_networks(keep=self.journal.get("host")["netns"])
        host.remove_pod_cgroups()
        for folder in (self.folders.containerd_state, at.CDI, pathlib.Path("/run/runc")):
            shutil.rmtree(folder, ignore_errors=True)
        if "/run/containerd" not in self.journal.get("host")["folders"]:
            shutil.rmtree("/run/containerd", ignore_errors=True)  # the shims' sockets
        self.folders.containerd_state.mkdir(mode=0o700)

    def power_on(self):
        """Starts the node's processes in boot order, as another boot."""
        self.folders.boot_id.write_text(f"{uuid.uuid4()}\n")
        for name in NODE_SERVICES:
            self.services[name].start()

    # All of it

    def bring_up(self):
        folders = self.folders
        started = time.monotonic()
        folders.make()
        folders.boot_id.write_text(f"{uuid.uuid4()}\n")
        certificates.make_all(folders)
        cards.write_state(folders)
        cards.make_nodes(self.journal)
        host.share_mounts()
        host.make_bridge()
        host.make_api_service()
        self.services["etcd"].launch()
        for name, path in self.programs.items():
            (folders.bin / name).symlink_to(path)
        containerd.write_config(folders)
        (folders.conf / "kubelet.json").write_text(self.dialect.kubelet_config(folders))
        (folders.conf / "kube-scheduler.json").write_text(self.dialect.scheduler_config(folders))
        self.services["containerd"].launch()
        archives = [images.make_pause(folders.images), images.make_test(folders.images)]
        self.services["etcd"].wait_ready()
        self.services["kube-apiserver"].launch()
        self.services["containerd"].wait_ready()
        for archive in archives:
            images.load(folders, archive)
        self.services["kube-apiserver"].wait_ready(READY_TIMEOUT_S)
        self.kubectl("apply", "-f", "-", text=product.roles())
        for name in ("kube-controller-manager", "kube-scheduler", "edge-gpu-scheduler", "edge-gpu-agent", "kubelet"):
            self.services[name].launch()
        for service in self.services.values():
            service.wait_ready(READY_TIMEOUT_S)
        self.wait_node(product.capacity(), READY_TIMEOUT_S)
        self.journal.set("up_seconds", round(time.monotonic() - started, 1))

    def crashed(self):
        """Names of the processes that ended by themselves, neither stopped nor killed by a test."""
        return [service.name for service in self.services.values() if service.identity and not service.running()]


def check_machine():
    """Raises when this machine cannot carry the cluster or is a node of another one."""
    if os.geteuid() != 0:
        raise RuntimeError("the cluster needs root: it starts containerd and a kubelet")
    missing = [name for name in NEEDED if not shutil.which(name, path=processes.environment()["PATH"])]
    if missing:
        raise RuntimeError(f"not installed: {', '.join(missing)}; run ./dev e2e, or install the packages of tools/packages-e2e.txt")
    if not (at.CNI_PLUGINS / "bridge").exists():
        raise RuntimeError(f"{at.CNI_PLUGINS}/bridge is missing: install containernetworking-plugins")
    if host.pod_processes():
        raise RuntimeError(f"pods of another kubelet run on this machine (cgroup {host.POD_CGROUP})")
    if at.KUBELET_ROOT.is_dir() and any(at.KUBELET_ROOT.iterdir()):
        raise RuntimeError(f"{at.KUBELET_ROOT} is not empty: this machine is a node of another cluster; move the folder away if it is not")
    product.check_built()


def up():
    """Brings a cluster up, after removing one that a killed run left behind. The caller holds the lock."""
    down()
    check_machine()
    programs = binaries.locate()
    work = tempfile.mkdtemp(prefix="edge-gpu-e2e.", dir="/var/tmp")
    journal = Journal({"work": work, "programs": {name: str(path) for name, path in programs.items()}, "host": host.save()})
    journal.set("processes", {})
    try:
        cluster = Cluster(journal)
        cluster.bring_up()
        return cluster
    except BaseException:
        keep_logs(at.Layout(work))
        down()
        raise


def left_up(journal):
    """True when the cluster was left up by hand; else a run is using it, or left it behind."""
    keeper = journal.get("processes", {}).get("keeper")
    return bool(keeper) and processes.Identity(*keeper).alive()


def attach():
    """The cluster that was left up by hand; never the one that another run is using."""
    journal = Journal.load()
    if not journal or journal.get("up_seconds") is None:
        raise RuntimeError("no cluster is up; ./dev e2e up brings one up")
    if not left_up(journal):
        raise RuntimeError("the cluster that is up belongs to a run of the suite; wait for its end, then ./dev e2e up")
    return Cluster(journal)


def keep_logs(folders):
    """Copies all processes' logs to build/e2e/logs."""
    target = product.ROOT / "build" / "e2e" / "logs"
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if folders.log.is_dir():
        shutil.copytree(folders.log, target, symlinks=True)
    return target


def _orphans(folders):
    """Commands on this cluster's files that outlived the run that started them."""
    lines = {pid: processes.command_line(pid) for pid in processes.all_pids()}
    return [processes.Identity.of(pid) for pid, words in lines.items()
            if words and pathlib.Path(words[0]).name in COMMANDS and any(str(folders.work) in word for word in words)]


def down():
    """Removes the cluster that is up or was left behind, and everything it changed on this machine."""
    journal = Journal.load()
    if not journal:
        return
    folders = at.Layout(journal.get("work"))
    known = {name: processes.Identity(*value) for name, value in journal.get("processes", {}).items()}
    processes.end([*known.values(), *_orphans(folders)])
    containerd.kill_containers(folders)
    host.unmount_under(folders.work, at.KUBELET_ROOT)
    cards.remove_nodes(journal)
    host.put_back(journal.get("host"))
    shutil.rmtree(folders.work, ignore_errors=True)
    if folders.work.exists():
        raise RuntimeError(f"{folders.work} cannot be removed")
    journal.close()
