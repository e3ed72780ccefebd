"""The scheduler ends between filter and bind, within a bind, or loses its lease; a bind is answered too late."""

import contextlib
import signal
import threading
import time

import pytest

from real import layout as at
from real.control_plane import answers
from real.front import Front
from real.processes import Service
from real.product import BINARY
from real.waiting import wait_until
from real.workload import Workload

SCHEDULER = "edge-gpu-scheduler"
FAILOVER_S = 3.0
SECOND = "127.0.0.1:39997"
BIND_TIMEOUT_S = 4.0  # the scheduler's default


@contextlib.contextmanager
def behind_front(cluster, *replicas, hook=None):
    with Front(*replicas, hook=hook) as front:
        cluster.use_extender(urlPrefix=front.url)
        try:
            yield front
        finally:
            cluster.use_extender()


class AtFirstBind:
    """A hook that does something at the first bind, once."""

    def __init__(self, act):
        self._act = act
        self._first = threading.Lock()
        self.done = threading.Event()

    def __call__(self, verb, forward):
        if verb == "bind" and self._first.acquire(blocking=False):
            try:
                return self._act(forward)
            finally:
                self.done.set()
        return forward()


def check_load_with(cluster, namespace, act, restart=False):
    """`act` happens at the first bind of a load, after which the scheduler is started again if it was killed; every pod runs."""
    hook = AtFirstBind(act)
    load = Workload(cluster, namespace).run()
    with behind_front(cluster, at.EXTENDER, hook=hook):
        load.begin()
        assert hook.done.wait(30)
        if restart:
            cluster.start(SCHEDULER)
        load.check_all_run()
    load.check_untouched()


def test_killed_between_filter_and_bind(cluster, namespace):
    def kill(_):
        cluster.kill(SCHEDULER)
    check_load_with(cluster, namespace, kill, restart=True)


def test_killed_within_a_bind(cluster, namespace):
    """The Binding is on its way when the scheduler dies: whether the API server takes it or not, nothing is booked twice."""
    api = cluster.services["kube-apiserver"].identity

    def kill(forward):
        api.signal(signal.SIGSTOP)
        try:
            threading.Thread(target=forward).start()
            time.sleep(0.5)
            cluster.kill(SCHEDULER)
        finally:
            api.signal(signal.SIGCONT)
    check_load_with(cluster, namespace, kill, restart=True)


def test_bind_answered_too_late(cluster, namespace):
    api = cluster.services["kube-apiserver"].identity

    def stall(forward):
        api.signal(signal.SIGSTOP)
        threading.Timer(BIND_TIMEOUT_S + 1.0, api.signal, [signal.SIGCONT]).start()
        return forward()
    check_load_with(cluster, namespace, stall)


def test_ends_and_comes_back(cluster, namespace):
    load = Workload(cluster, namespace).run().begin()
    cluster.stop(SCHEDULER)
    time.sleep(1)
    cluster.start(SCHEDULER)
    load.check_all_run()
    load.check_untouched()


def ready(address):
    return answers(f"http://{address}/readyz")


class Watch:
    """Who was ready, seen all the time: [(moment, (first, second))]."""

    def __init__(self, *replicas):
        self._replicas = replicas
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.seen = []

    def _look(self):
        while not self._end.wait(0.02):
            self.seen.append((time.monotonic(), tuple(ready(one) for one in self._replicas)))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


@pytest.mark.parametrize("how", ["killed", "hangs"])
def test_leader_fails(cluster, namespace, how):
    product, first = cluster.product, cluster.services[SCHEDULER]
    second = Service("edge-gpu-scheduler-2", lambda: [BINARY, "scheduler", "--kubeconfig", cluster.folders.kubeconfig(SCHEDULER), "--listen", SECOND,
                                                      *product.scheduler_arguments],
                     cluster.journal, cluster.folders.log, ready=lambda: answers(f"http://{SECOND}/healthz"))
    arguments = product.scheduler_arguments
    load = Workload(cluster, namespace).run()
    cluster.stop(SCHEDULER)
    product.scheduler_arguments = [*arguments, "--leader-elect"]
    try:
        cluster.start(SCHEDULER)
        second.start()
        with behind_front(cluster, at.EXTENDER, SECOND), Watch(at.EXTENDER, SECOND) as watch:
            load.begin()
            failed = time.monotonic()
            if how == "killed":
                cluster.kill(SCHEDULER)
            else:
                first.identity.signal(signal.SIGSTOP)
            wait_until(lambda: ready(SECOND), "the standby serves", 10, interval_s=0.02)
            took = time.monotonic() - failed
            print(f"the standby serves {took:.2f} s after the leader {how}")
            load.wait_started()
            if how == "hangs":
                first.identity.signal(signal.SIGCONT)
                time.sleep(1)
        assert took < FAILOVER_S
        assert not [moment - failed for moment, both in watch.seen if all(both)], "both served at once"
        assert not ready(at.EXTENDER)
    finally:
        second.stop()
        cluster.stop(SCHEDULER)
        product.scheduler_arguments = arguments
        cluster.start(SCHEDULER)
    load.check_agreement()
    load.check_untouched()
