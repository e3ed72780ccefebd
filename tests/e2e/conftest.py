"""One real cluster for the whole run; a namespace of its own for each test."""

import os
import re
import signal
import time

import pytest

from real import cluster as clusters
from real import deployment, driver, images, product, traces
from real import layout as at
from real.lock import Lock

LOCK_TIMEOUT_S = 3600
ATTACH = "EDGE_GPU_E2E_ATTACH"


def pytest_configure(config):
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a run that is told to end still removes its cluster
    config.addinivalue_line("markers", "own_cluster: brings a cluster up and down by itself")


def pytest_collection_modifyitems(items):
    """Tests with a cluster of their own come before the one that the others share."""
    items.sort(key=lambda item: item.get_closest_marker("own_cluster") is None)
    if os.environ.get(ATTACH):
        for item in items:
            if item.get_closest_marker("own_cluster"):
                item.add_marker(pytest.mark.skip(reason=f"{ATTACH} is set: the cluster that is up stays up"))


@pytest.fixture(scope="session")
def cluster():
    """The cluster, brought up once and removed at the end; with EDGE_GPU_E2E_ATTACH=1 the one that is up, which is left up."""
    if os.environ.get(ATTACH):
        yield clusters.attach()
        return
    lock = Lock()
    lock.acquire(LOCK_TIMEOUT_S)
    try:
        clusters.down()
        before = traces.seen()
        made = clusters.up()
        print(f"\ncluster {made.dialect.version} up in {made.journal.get('up_seconds')} s")
        try:
            yield made
        finally:
            begin = time.monotonic()
            clusters.down()
            print(f"\ncluster down in {time.monotonic() - begin:.1f} s")
            left = traces.differences(before, traces.seen())
            assert not left, f"the cluster left traces on this machine: {left}"
    finally:
        lock.release()


@pytest.fixture
def namespace(cluster, request):
    """Name of a fresh namespace; when the test has ended it and its pods are gone, all cards are free, and what the test stopped runs again."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:50].strip("-")
    cluster.make_namespace(name)
    running = [one.name for one in cluster.services.values() if one.running()]
    yield name
    for one in running:
        if not cluster.services[one].identity:  # ended by the test, which failed before it could start it again
            cluster.start(one)
    cluster.remove_namespace(name)
    dead = cluster.crashed()
    assert not dead, "; ".join(cluster.services[one].tail() for one in dead)
    if "edge-gpu-agent" in running:
        cluster.wait_node(product.capacity())


@pytest.fixture(scope="session")
def cuda_image(cluster):
    """The image with programs that ask the driver's libraries is there."""
    images.load(cluster.folders, driver.make_image(cluster.folders.images))


@pytest.fixture(scope="module")
def in_pods(cluster):
    """The host's agent and scheduler give way, the image is imported, and kube-scheduler asks the Service; all back afterwards."""
    for name in ("edge-gpu-agent", "edge-gpu-scheduler"):
        cluster.stop(name)
    images.load(cluster.folders, deployment.archive())
    cluster.kubectl("label", "--overwrite", "nodes", at.NODE, "edge-gpu.io/gpu=true")
    deployment.use_service(cluster)
    yield cluster
    cluster.use_extender()
    cluster.kubectl("label", "nodes", at.NODE, "edge-gpu.io/gpu-")
    for name in ("edge-gpu-scheduler", "edge-gpu-agent"):
        cluster.start(name)
    cluster.wait_node(product.capacity())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed and "cluster" in getattr(item, "funcargs", {}):
        where = clusters.keep_logs(item.funcargs["cluster"].folders)
        report.sections.append(("logs", f"every process's log is in {where}"))


def pytest_terminal_summary(terminalreporter):
    """Why cases were run again, and every case with its time."""
    cases = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "nodeid") and hasattr(report, "duration"):
                outcome, seconds = cases.get(report.nodeid, ("passed", 0.0))
                if report.outcome != "passed":
                    outcome = report.outcome
                cases[report.nodeid] = (outcome, seconds + report.duration)
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"failed before it was run again: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
    terminalreporter.section("end-to-end cases")
    for case, (outcome, seconds) in cases.items():
        terminalreporter.write_line(f"{outcome:8} {seconds:7.1f} s  {case}")
