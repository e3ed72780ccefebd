"""Processes by identity: a pid means something only together with the time the process started."""

import os
import pathlib
import signal
import subprocess
import time

from .waiting import wait_until


def start_time(pid):
    """Start of a living process in clock ticks since boot; None for one that is gone or a zombie."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2:].split()
    return None if fields[0] in "ZX" else int(fields[19])


def environment(extra=None):
    """Of the cluster's programs: ours without a proxy, since all addresses are on this machine."""
    own = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    own["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return {**own, **{key: str(value) for key, value in (extra or {}).items()}}


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


class Identity:
    """One process, told from a later one with the same pid."""

    def __init__(self, pid, started):
        self.pid = pid
        self.started = started

    @classmethod
    def of(cls, pid):
        """None when there is no such living process."""
        started = start_time(pid)
        return None if started is None else cls(pid, started)

    def alive(self):
        return start_time(self.pid) == self.started

    def signal(self, number):
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass


def end(identities, grace_s=0.0, deadline_s=20.0):
    """SIGTERM and `grace_s` seconds (skipped when 0), then SIGKILL; returns when all are gone."""
    identities = [one for one in identities if one]
    if grace_s > 0:
        for one in identities:
            one.signal(signal.SIGTERM)
        until = time.monotonic() + grace_s
        while time.monotonic() < until and any(one.alive() for one in identities):
            time.sleep(0.02)
    for one in identities:
        one.signal(signal.SIGKILL)
    wait_until(lambda: not any(one.alive() for one in identities), "killed processes are gone", deadline_s, interval_s=0.02)


class Service:
    """A process that is started, stopped and started again with the same command.

    The command is a function: what it depends on (a file, a version) is looked up at each start.
    """

    def __init__(self, name, command, journal, log_folder, ready=None, extra_environment=None, grace_s=5.0):
        self.name = name
        self.log = pathlib.Path(log_folder) / f"{name}.log"
        self._command = command
        self._journal = journal
        self._environment = extra_environment
        self._ready = ready
        self._grace_s = grace_s
        self._child = None  # kept so that it is reaped

    @property
    def identity(self):
        known = self._journal.get("processes", {}).get(self.name)
        return Identity(*known) if known else None

    @property
    def pid(self):
        identity = self.identity
        return identity.pid if identity and identity.alive() else None

    def running(self):
        if self._child:
            self._child.poll()
        return self.pid is not None

    def start(self, ready_timeout_s=60.0):
        """Starts it and waits until it answers; raises when it does not."""
        self.launch()
        self.wait_ready(ready_timeout_s)

    def launch(self):
        """Starts it without waiting."""
        if self.running():
            raise RuntimeError(f"{self.name} runs already (pid {self.pid})")
        command = [str(word) for word in self._command()]
        with open(self.log, "ab") as log:
            log.write(f"---- {time.strftime('%H:%M:%S')} {' '.join(command)}\n".encode())
            log.flush()
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                           env=environment(self._environment))
        started = start_time(self._child.pid)
        if started is None:
            raise RuntimeError(f"{self.name} ended at once; {self.tail()}")
        self._journal.update("processes", lambda known: {**known, self.name: [self._child.pid, started]}, {})

    def wait_ready(self, timeout_s=60.0):
        def ready():
            if not self.running():
                raise RuntimeError(f"{self.name} ended by itself; {self.tail()}")
            return self._ready is None or self._ready()
        try:
            wait_until(ready, f"{self.name} is ready", timeout_s, interval_s=0.1)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; {self.tail()}") from None

    def stop(self):
        """SIGTERM, SIGKILL after the grace period."""
        self._end(self._grace_s)

    def kill(self):
        """SIGKILL."""
        self._end(0.0)

    def restart(self):
        self.stop()
        self.start()

    def tail(self, lines=25):
        try:
            text = self.log.read_text(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            text = []
        return f"its log {self.log} ends with:\n" + "\n".join(text)

    def _end(self, grace_s):
        end([self.identity], grace_s)
        if self._child:
            self._child.wait(timeout=20)
            self._child = None
        self._journal.update("processes", lambda known: {name: one for name, one in known.items() if name != self.name}, {})
