"""One cluster at a time on a machine: the lock that everything which brings one up holds."""

import fcntl
import os
import pathlib
import sys
import time

PATH = pathlib.Path("/run/lock/edge-gpu-e2e.lock")


class Lock:
    """Held by the process that has the file open; the kernel frees it when that process ends, however it ends."""

    def __init__(self, path=PATH):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self, timeout_s):
        """Waits up to `timeout_s` seconds for the holder to finish; raises TimeoutError that names it."""
        until = time.monotonic() + timeout_s
        told = False
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = self.holder() or "another process"
                if time.monotonic() >= until:
                    raise TimeoutError(f"the end-to-end cluster of this machine is still in use by {holder} after {timeout_s:g} s "
                                       f"({self._path}); a cluster left up is taken down with: ./dev e2e down") from None
                if not told:
                    print(f"waiting for the end-to-end cluster of this machine, in use by {holder}", file=sys.stderr, flush=True)
                    told = True
                time.sleep(0.5)
        self.describe(f"pid {os.getpid()} in {os.getcwd()}")

    def describe(self, who):
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, who.encode(), 0)

    def holder(self):
        return os.pread(self._fd, 400, 0).decode(errors="replace")

    @property
    def fd(self):
        return self._fd

    def release(self):
        """Ends the hold of this process; the lock stays held while a process that inherited the file lives."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
