"""What a run has changed on this machine, on disk before or as soon as it is changed, so that a later run can undo it.

One file with a fixed path: its presence means a cluster is up or was left behind by a run that was killed.
"""

import json
import os
import pathlib
import threading

PATH = pathlib.Path("/var/lib/edge-gpu-e2e/journal.json")


class Journal:
    """A dictionary that is written atomically at each change. Thread-safe."""

    def __init__(self, facts, path=PATH):
        self._path = path
        self._facts = facts
        self._lock = threading.Lock()

    @classmethod
    def load(cls, path=PATH):
        """The journal of the cluster that is up or was left behind; None when there is none."""
        try:
            return cls(json.loads(path.read_text()), path)
        except FileNotFoundError:
            return None

    def get(self, key, default=None):
        with self._lock:
            return json.loads(json.dumps(self._facts.get(key, default)))

    def update(self, key, change, default=None):
        """Replaces the value of `key` by change(value)."""
        with self._lock:
            self._facts[key] = change(self._facts.get(key, default))
            self._write()

    def set(self, key, value):
        self.update(key, lambda _: value)

    def close(self):
        """Nothing is left to undo."""
        with self._lock:
            self._path.unlink(missing_ok=True)
            try:
                self._path.parent.rmdir()
            except OSError:
                pass

    def _write(self):
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        with open(new, "w", encoding="utf-8") as file:
            json.dump(self._facts, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._path)
