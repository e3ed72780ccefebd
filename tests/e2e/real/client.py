"""kubectl on the cluster, and the questions about pods and nodes that tests ask."""

import json
import subprocess

from . import layout as at
from .processes import environment
from .waiting import wait_until


class KubectlError(Exception):
    def __init__(self, arguments, done):
        super().__init__(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        self.returncode = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr


class Client:
    def __init__(self, kubectl, kubeconfig):
        self.binary = kubectl
        self.kubeconfig = kubeconfig

    def kubectl(self, *arguments, text=None, timeout_s=60):
        """Standard output of kubectl; raises KubectlError. `text` is its standard input."""
        arguments = [str(word) for word in arguments]
        done = subprocess.run([str(self.binary), "--kubeconfig", str(self.kubeconfig), *arguments], input=text, capture_output=True, text=True,
                              timeout=timeout_s, check=False, env=environment(), **({} if text is not None else {"stdin": subprocess.DEVNULL}))
        if done.returncode != 0:
            raise KubectlError(arguments, done)
        return done.stdout

    def get(self, *arguments):
        """The object or list that `kubectl get …` prints; LookupError when it does not exist."""
        try:
            return json.loads(self.kubectl("get", *arguments, "-o", "json"))
        except KubectlError as error:
            if "(NotFound)" in error.stderr:
                raise LookupError(str(error)) from None
            raise

    def apply(self, *objects, namespace=None):
        """Creates or changes objects (dictionaries)."""
        where = ["-n", namespace] if namespace else []
        self.kubectl("apply", *where, "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def exec(self, namespace, pod, *command, container=None, timeout_s=30):
        """(exit status, standard output and error together) of a command in a container."""
        where = ["-c", container] if container else []
        done = subprocess.run([str(self.binary), "--kubeconfig", str(self.kubeconfig), "exec", "-n", namespace, pod, *where, "--", *command],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
                              env=environment())
        return done.returncode, done.stdout

    def events(self, namespace, name):
        """Messages of the events about an object."""
        items = self.get("events", "-n", namespace, "--field-selector", f"involvedObject.name={name}")["items"]
        return [f"{item.get('reason', '')}: {item.get('message', '')}" for item in items]

    def wait_phase(self, namespace, name, phase="Running", timeout_s=60):
        """Waits until the pod is in the phase (Running: and all its containers ready) and returns it; the error quotes its events."""
        def reached():
            pod = self.get("pod", "-n", namespace, name)
            status = pod["status"]
            if status.get("phase") in ("Failed", "Succeeded") and status["phase"] != phase:
                raise RuntimeError(f"pod {name} is {status['phase']}: {status.get('reason', '')} {status.get('message', '')}; "
                                   f"events: {self.events(namespace, name)}")
            if status.get("phase") != phase:
                raise AssertionError(f"pod {name} is {status.get('phase')}")
            if phase == "Running" and not all(one["ready"] for one in status.get("containerStatuses", [{"ready": False}])):
                raise AssertionError(f"pod {name} runs, not all containers are ready")
            return pod
        try:
            return wait_until(reached, f"pod {namespace}/{name} {phase}", timeout_s, interval_s=0.3)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; events: {self.events(namespace, name)}") from None

    def wait_node(self, capacity=None, timeout_s=60):
        """Waits until the node is Ready and its allocatable has exactly these quantities."""
        def reached():
            status = self.get("node", at.NODE)["status"]
            ready = [one["status"] for one in status.get("conditions", []) if one["type"] == "Ready"]
            assert ready == ["True"], f"Ready is {ready}"
            seen = {name: status.get("allocatable", {}).get(name) for name in capacity or {}}
            assert seen == (capacity or {}), f"allocatable is {seen}"
            return True
        wait_until(reached, f"node {at.NODE} is Ready with {capacity}", timeout_s, interval_s=0.3)

    def make_namespace(self, name):
        """A namespace that pods can be created in at once; waits for the end of an earlier one of this name."""
        def gone():
            try:
                self.get("namespace", name)
            except LookupError:
                return True
            return False
        wait_until(gone, f"the end of the namespace {name} of an earlier test", 60)
        self.kubectl("create", "namespace", name)
        wait_until(lambda: self.get("serviceaccount", "-n", name, "default"), f"service account of namespace {name}", 30)

    def remove_namespace(self, name, timeout_s=90):
        """Returns when its pods are gone, and what would make them anew; the namespace follows some seconds later."""
        self.kubectl("delete", "deployments,daemonsets,replicasets", "--all", "-n", name, "--wait=false")
        self.kubectl("delete", "pods", "--all", "-n", name, "--grace-period=1", f"--timeout={timeout_s}s", timeout_s=timeout_s + 5)
        self.kubectl("delete", "namespace", name, "--wait=false")
