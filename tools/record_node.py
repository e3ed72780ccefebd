#!/usr/bin/env python3
"""Records what a node has of the NVIDIA driver, the container runtime and the kubelet, as a manifest for tests
(src/base/file_view.h describes the format). Needs nothing but Python 3.6; run it as root on the node:

    record_node.py [--root /] > node.txt

Contents are recorded of small text files that hold configuration or kernel state; keys, certificates and tokens are not
read. Look through the result before you share it: it has the node's name and its runtime's configuration.
"""
import argparse
import base64
import fnmatch
import os
import stat
import sys

LIBRARY_FOLDERS = [
    "/usr/lib64", "/usr/lib", "/lib64", "/lib", "/usr/lib32", "/usr/lib/wsl/lib", "/usr/lib/wsl/drivers/*",
    "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib/i386-linux-gnu", "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu", "/usr/lib/*-linux-gnu/nvidia", "/usr/lib/*-linux-gnu/nvidia/current",
    "/usr/lib/*-linux-gnu/tegra", "/usr/lib/*-linux-gnu/vdpau", "/usr/lib64/vdpau", "/usr/lib64/nvidia", "/usr/local/nvidia/lib64",
]
LIBRARY_NAMES = [
    "libcuda*.so*", "libnvidia*.so*", "libnvcuvid.so*", "libnvoptix.so*", "libvdpau_nvidia.so*", "lib*_nvidia.so*",
    "libnvdxg*.so*", "libdxcore.so*", "libnvcu*", "libnv*.so*", "libGLX_indirect.so*",
]
# Names and types only.
TREES = ["/dev/nvidia*", "/dev/dxg", "/dev/dri/**", "/dev/char/*", "/dev/nvhost*", "/dev/nvmap", "/dev/gdrdrv",
         "/usr/bin/nvidia-*", "/usr/bin/nvidia-smi", "/opt/nvidia/**", "/usr/local/nvidia/bin/*", "/usr/sbin/ldconfig*", "/sbin/ldconfig*",
         "/usr/bin/nv-fabricmanager", "/usr/bin/runc", "/usr/bin/crun", "/usr/bin/containerd", "/usr/bin/dockerd", "/usr/local/bin/containerd",
         "/usr/bin/crio", "/usr/local/bin/k3s", "/usr/local/nvidia/toolkit/*", "/lib/firmware/nvidia/**", "/usr/lib/firmware/nvidia/**",
         "/run/nvidia-persistenced/socket", "/run/nvidia-fabricmanager/socket", "/run/containerd/containerd.sock", "/run/docker.sock",
         "/run/crio/crio.sock", "/run/k3s/containerd/containerd.sock", "/var/lib/kubelet/device-plugins/*",
         "/var/lib/kubelet/pod-resources/*", "/var/lib/kubelet/plugins_registry/*", "/sys/bus/pci/devices/*/driver"]
# With their content.
CONTENTS = [
    "/etc/os-release", "/etc/hostname", "/etc/ld.so.cache", "/etc/nv_tegra_release", "/sys/devices/soc0/family", "/proc/devices", "/proc/modules",
    "/proc/sys/kernel/osrelease", "/proc/driver/nvidia/version", "/proc/driver/nvidia/params",
    "/proc/driver/nvidia/gpus/*/information", "/proc/driver/nvidia-caps/*", "/proc/filesystems", "/proc/mounts",
    "/sys/bus/pci/devices/*/vendor", "/sys/bus/pci/devices/*/class", "/sys/bus/pci/devices/*/device", "/sys/bus/pci/devices/*/numa_node",
    "/sys/module/nvidia/version", "/sys/module/nvidia*/refcnt", "/sys/module/firmware_class/parameters/path",
    "/sys/fs/cgroup/cgroup.controllers", "/sys/fs/selinux/enforce", "/sys/module/apparmor/parameters/enabled",
    "/etc/docker/daemon.json", "/etc/containerd/config.toml", "/etc/containerd/conf.d/*", "/etc/crio/crio.conf", "/etc/crio/crio.conf.d/*",
    "/var/lib/rancher/k3s/agent/etc/containerd/config.toml", "/etc/nvidia-container-runtime/config.toml",
    "/etc/nvidia-container-runtime/host-files-for-container.d/*.csv", "/etc/cdi/*", "/run/cdi/*", "/var/run/cdi/*",
    "/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet", "/etc/ld.so.conf", "/etc/ld.so.conf.d/*",
    "/etc/vulkan/icd.d/*nvidia*", "/usr/share/vulkan/icd.d/*nvidia*", "/usr/share/vulkan/implicit_layer.d/*nvidia*",
    "/usr/share/glvnd/egl_vendor.d/*nvidia*", "/usr/share/egl/egl_external_platform.d/*nvidia*", "/etc/OpenCL/vendors/nvidia.icd",
]
MOST_CONTENT = 256 * 1024


def escaped(text):
    return "".join(c if c > " " and c not in "%\x7f" else "%%%02x" % ord(c) for c in os.fsencode(text).decode("latin-1"))


class Recorder:
    def __init__(self, root):
        self.root = root.rstrip("/")
        self.lines = {}

    def real(self, path):
        return self.root + path

    def matches(self, pattern):
        """Paths inside the root; ** at the end is everything below."""
        found = [""]
        for part in pattern.strip("/").split("/"):
            following = []
            for base in found:
                if part == "**":
                    for folder, folders, files in os.walk(self.real(base or "/")):
                        inside = folder[len(self.root):].rstrip("/")
                        following += [inside + "/" + name for name in folders + files]
                elif "*" in part:
                    try:
                        names = os.listdir(self.real(base or "/"))
                    except OSError:
                        continue
                    following += [base + "/" + name for name in names if fnmatch.fnmatchcase(name, part)]
                elif os.path.lexists(self.real(base + "/" + part)):
                    following.append(base + "/" + part)
            found = following
        return found

    def add(self, path, content=False):
        for parent in parents(path):
            if os.path.islink(self.real(parent)):
                self.add_one(parent, False)
                target = os.path.normpath(os.path.join(os.path.dirname(parent), os.readlink(self.real(parent))))
                return self.add(target + path[len(parent):], content)
        self.add_one(path, content)
        if os.path.islink(self.real(path)):
            target = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(self.real(path))))
            if target != path and not target.startswith(("/sys/", "/proc/")) and os.path.lexists(self.real(target)):
                self.add(target, content)

    def add_one(self, path, content):
        if path in self.lines and not content:
            return
        try:
            info = os.lstat(self.real(path))
        except OSError:
            return
        mode = "%o" % stat.S_IMODE(info.st_mode)
        name = escaped(path)
        if stat.S_ISLNK(info.st_mode):
            line = "link %s %s" % (name, escaped(os.readlink(self.real(path))))
        elif stat.S_ISDIR(info.st_mode):
            line = "dir %s %s" % (name, mode)
        elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
            kind = "char" if stat.S_ISCHR(info.st_mode) else "block"
            line = "%s %s %s %d:%d" % (kind, name, mode, os.major(info.st_rdev), os.minor(info.st_rdev))
        elif stat.S_ISSOCK(info.st_mode):
            line = "socket %s %s" % (name, mode)
        elif stat.S_ISFIFO(info.st_mode):
            line = "fifo %s %s" % (name, mode)
        else:
            line = "file %s %s %d" % (name, mode, info.st_size)
            if content:
                line += self.content(path)
        self.lines[path] = line

    def content(self, path):
        try:
            with open(self.real(path), "rb") as file:
                data = file.read(MOST_CONTENT + 1)
        except OSError:
            return ""
        if len(data) > MOST_CONTENT:
            return ""
        if not data:
            return ""
        if b"PRIVATE KEY" in data or b"token:" in data or b"password" in data:
            sys.stderr.write("not recorded, may hold a secret: %s\n" % path)
            return ""
        if data.endswith(b"\n") and all(32 <= c < 127 or c in (9, 10) for c in data):
            return "".join("\n| " + text if text else "\n|" for text in data.decode().split("\n")[:-1])
        encoded = base64.b64encode(data).decode()
        return "".join("\n= " + encoded[i:i + 120] for i in range(0, len(encoded), 120))


def parents(path):
    at = path.find("/", 1)
    while at > 0:
        yield path[:at]
        at = path.find("/", at + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="/", help="record the tree below this folder (a driver container's root)")
    recorder = Recorder(parser.parse_args().root)
    for folder in LIBRARY_FOLDERS:
        for name in LIBRARY_NAMES:
            for path in recorder.matches(folder + "/" + name):
                recorder.add(path)
    for pattern in TREES:
        for path in recorder.matches(pattern):
            recorder.add(path)
    for pattern in CONTENTS:
        for path in recorder.matches(pattern):
            recorder.add(path, content=True)
    print("# recorded by tools/record_node.py")
    for path in sorted(recorder.lines):
        print(recorder.lines[path])


if __name__ == "__main__":
    main()
