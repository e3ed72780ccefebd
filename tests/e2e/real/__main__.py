"""The cluster by hand: up, down, status."""

import os
import subprocess
import sys
import time

from . import binaries, cluster
from .journal import Journal
from .lock import Lock
from .processes import Identity

LOCK_TIMEOUT_S = 3600


def up():
    lock = Lock()
    lock.acquire(LOCK_TIMEOUT_S)
    made = cluster.up()
    # Holds the lock while the cluster is up; `down` ends it with the other processes.
    keeper = subprocess.Popen(["sleep", "infinity"], pass_fds=[lock.fd], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    started = Identity.of(keeper.pid)
    made.journal.update("processes", lambda known: {**known, "keeper": [started.pid, started.started]})
    lock.describe(f"a cluster that was left up from {os.getcwd()}")
    print(f"up in {made.journal.get('up_seconds')} s\n  kubectl: {made.binary} --kubeconfig {made.kubeconfig}\n  logs:    {made.folders.log}")


def down():
    begin = time.monotonic()
    if Journal.load() is None:
        print("no cluster is up")
        return
    if not cluster.left_up(Journal.load()):
        Lock().acquire(LOCK_TIMEOUT_S)  # not left up by hand: either left behind, or a run is using it
    cluster.down()
    print(f"down in {time.monotonic() - begin:.1f} s")


def status():
    made = cluster.attach()
    for service in made.services.values():
        print(f"{service.name:26} {service.pid or 'not running'}")
    print(made.kubectl("get", "nodes,pods", "-A", "-o", "wide"), end="")


VERBS = {"up": up, "down": down, "status": status, "binaries": lambda: print(*binaries.locate().values(), sep="\n")}


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in VERBS:
        print(f"usage: python3 -m real {'|'.join(VERBS)}", file=sys.stderr)
        return 2
    try:
        VERBS[sys.argv[1]]()
    except (RuntimeError, TimeoutError, binaries.Missing) as error:
        print(f"e2e: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
