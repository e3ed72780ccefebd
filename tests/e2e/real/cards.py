"""The node's simulated cards: the state file of the simulated NVML, and device nodes that no driver serves.

Opening such a node fails with ENXIO where the device cgroup allows it and with EPERM where it does not: that is how a test sees whose card a container has.
"""

import os
import pathlib
import re
import stat

from . import layout as at

PROFILE = "h100"
COUNT = 8
NVIDIA_MAJOR = 195  # also the real driver's


def device_names():
    return [f"nvidia{i}" for i in range(COUNT)] + ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"]


def write_state(folders, lines=()):
    """What the simulated library says; it follows the file. `lines`: facts as in src/testing/nvml/profile.h ("gpu 0 lost 1")."""
    new = folders.cards.with_suffix(".new")
    new.write_text("\n".join([f"profile {PROFILE} {at.NODE}", *lines]) + "\n")
    os.replace(new, folders.cards)


def _free_major():
    taken = {int(number) for number in re.findall(r"^\s*(\d+) ", pathlib.Path("/proc/devices").read_text(encoding="ascii").split("Block devices")[0],
                                                  re.MULTILINE)}
    if NVIDIA_MAJOR in taken:
        raise RuntimeError("this machine has the NVIDIA driver loaded; the simulated cards need a machine without")
    return next(number for number in range(254, 233, -1) if number not in taken)


def make_nodes(journal, folder=pathlib.Path("/dev")):
    """Device nodes; refuses to touch any that are there."""
    present = [name for name in device_names() if (folder / name).exists()]
    if present:
        raise RuntimeError(f"{folder} has {', '.join(present)} already; the simulated cards need a machine without")
    uvm = _free_major()
    for name in device_names():
        journal.update("device_nodes", lambda known, name=name: [*known, str(folder / name)], [])
        major, minor = {"nvidiactl": (NVIDIA_MAJOR, 255), "nvidia-uvm": (uvm, 0), "nvidia-uvm-tools": (uvm, 1)}.get(name, (NVIDIA_MAJOR, 0))
        if re.fullmatch(r"nvidia\d+", name):
            minor = int(name[len("nvidia"):])
        os.mknod(folder / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        os.chmod(folder / name, 0o666)


def remove_nodes(journal):
    for path in journal.get("device_nodes", []):
        if os.path.exists(path) and stat.S_ISCHR(os.stat(path).st_mode):
            os.unlink(path)
    journal.set("device_nodes", [])
