"""A cluster leaves nothing on the machine, also when the run that brought it up was killed."""

import os
import signal
import subprocess
import sys

import pytest

from real import binaries, traces
from real import cluster as clusters
from real.journal import Journal
from real.lock import Lock
from real.waiting import wait_until

pytestmark = pytest.mark.own_cluster

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from real import cluster
cluster.up()
input()
"""


@pytest.mark.parametrize("moment", ["half-way", "with-a-cluster-up"])
def test_next_run_removes_what_a_killed_one_left(moment, tmp_path):
    binaries.locate()  # on a new machine this builds them, which takes longer than any cluster
    lock = Lock()
    lock.acquire(3600)
    try:
        clusters.down()
        before = traces.seen()
        with open(tmp_path / "log", "wb") as log:
            run = subprocess.Popen([sys.executable, "-B", "-c", RUN, os.path.dirname(__file__)], stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            def reached():
                assert run.poll() is None, (tmp_path / "log").read_text()
                journal = Journal.load()
                if moment == "half-way":
                    return journal and "kube-apiserver" in journal.get("processes", {})
                return journal and journal.get("up_seconds") is not None
            wait_until(reached, f"the run is {moment}", 240)
        finally:
            run.send_signal(signal.SIGKILL)
            run.communicate(timeout=20)
        assert traces.differences(before, traces.seen())  # or this test proves nothing

        clusters.down()

        assert traces.differences(before, traces.seen()) == []
    finally:
        clusters.down()
        lock.release()
