"""Pods that run, and pods that are starting, for tests that end a process under them.

The running ones are whole, shared, of several containers, and with an init container that has ended. The starting ones belong to a Deployment, as a user's do: a
pod that the kubelet fails at admission is replaced.
"""

import json

from . import agreement, report
from .waiting import wait_until

RUNNING = ("whole", "shares", "prepared")
STARTING = "starting"
SETTLE_S = 30


class Workload:
    def __init__(self, cluster, namespace):
        self._cluster = cluster
        self._namespace = namespace
        self._starting = 0
        self._before = None

    def run(self):
        """Starts the pods that run, waits for them, and remembers what must not change about them."""
        self._cluster.apply(
            report.pod("whole", report.container("main", whole=1)),
            report.pod("shares", report.container("main", share=60), report.container("side", share=30)),
            report.pod("prepared", report.container("main", share=40), init=[report.init("init", share=40)]),
            namespace=self._namespace)
        for name in RUNNING:
            self._cluster.wait_phase(self._namespace, name)
        self.check_agreement()
        self._before = self.state()
        return self

    def begin(self, replicas=4):
        """Creates pods and returns at once."""
        self._starting = replicas
        template = report.pod(STARTING, report.container("main", share=15), labels={"app": STARTING})
        self._cluster.apply({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": STARTING},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": STARTING}},
                     "template": {"metadata": {"labels": template["metadata"]["labels"]}, "spec": template["spec"]}},
        }, namespace=self._namespace)
        return self

    def all(self):
        return self._cluster.get("pods", "-n", self._namespace, "-l", report.LABEL)["items"]

    def state(self):
        """{(pod, container): (pod's UID, its cards by annotation, container ID, restarts)} of the pods that run from the beginning."""
        return {(pod["metadata"]["name"], one["name"]): (pod["metadata"]["uid"], _cards(pod, one["name"]), one.get("containerID"), one["restartCount"])
                for pod in self.all() if pod["metadata"]["name"] in RUNNING
                for one in pod["status"].get("containerStatuses", [])}

    def containers(self):
        """(pod, container, indexes of its cards) of the pods that run from the beginning, as it was when they started."""
        return [(pod, name, sorted(index for index, _, _ in before[1])) for (pod, name), before in self._before.items()]

    def check_untouched(self):
        """Same pods, same cards, and the very same containers."""
        assert self.state() == self._before

    def check_restarted(self, timeout_s=90):
        """Same pods, same cards; every container was started anew."""
        def anew():
            now = self.state()
            assert {key: value[:2] for key, value in now.items()} == {key: value[:2] for key, value in self._before.items()}
            assert all(now[key][2] != value[2] and now[key][3] > value[3] for key, value in self._before.items()), now
            return True
        wait_until(anew, "every container was started anew", timeout_s, interval_s=0.5)
        for name in RUNNING:
            self._cluster.wait_phase(self._namespace, name)

    def check_all_run(self, overrides=False):
        """The starting ones run too, and all who keep books agree about all of them (`overrides`: see agreement.differences)."""
        self.wait_started()
        self.check_agreement(overrides)

    def wait_started(self, timeout_s=90):
        wait_until(lambda: self._cluster.get("deployment", "-n", self._namespace, STARTING)["status"].get("readyReplicas") == self._starting,
                   f"{self._starting} starting pods are ready", timeout_s, interval_s=0.3)

    def check_agreement(self, overrides=False):
        """Annotations, kubelet, both ledgers and the containers themselves say the same; no card is given out twice, no share is left over."""
        def agree():
            lines = agreement.differences(self._cluster, self._namespace, overrides=overrides)
            assert not lines, "\n".join(lines)
            return True
        wait_until(agree, "all sides agree", SETTLE_S, interval_s=0.5)

    def failed(self):
        """{pod: reason} of those that failed."""
        return {pod["metadata"]["name"]: f"{pod['status'].get('reason')}: {pod['status'].get('message')}"
                for pod in self.all() if pod["status"].get("phase") == "Failed"}


def _cards(pod, container):
    placement = json.loads(pod["metadata"]["annotations"]["edge-gpu.io/placement"])
    return [(card["index"], card["uuid"], card["percent"]) for one in placement["containers"] if one["name"] == container for card in one["cards"]]
