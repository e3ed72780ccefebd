"""Container images without Docker and without a registry: an OCI archive made from a folder, imported into containerd."""

import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile

from . import containerd
from . import layout as at

TEST = f"{at.DOMAIN}/test:e2e"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}


def write_archive(archive, reference, root, command, user=""):
    """Writes `root` as the one layer of image `reference` (name:tag) into the file `archive`, in OCI's layout; everything belongs to root."""
    def owned_by_root(member):
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = 0
        return member

    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as layer:
        for name in sorted(os.listdir(root)):
            layer.add(os.path.join(root, name), arcname=name, filter=owned_by_root)
    packed = gzip.compress(plain.getvalue(), compresslevel=1, mtime=0)
    blobs = {}

    def blob(data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    config = blob(json.dumps({
        "architecture": ARCHITECTURE.get(platform.machine(), platform.machine()), "os": "linux",
        "config": {"Entrypoint": command, "User": user, "Env": ["PATH=/bin:/usr/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain.getvalue()).hexdigest()}"]},
    }).encode(), "application/vnd.oci.image.config.v1+json")
    manifest = blob(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
        "layers": [blob(packed, "application/vnd.oci.image.layer.v1.tar+gzip")],
    }).encode(), "application/vnd.oci.image.manifest.v1+json")
    manifest["annotations"] = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference.rsplit(":", 1)[1]}
    with tarfile.open(archive, mode="w") as tar:
        def add(name, data):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        add("oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        add("index.json", json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode())
        for digest, data in blobs.items():
            add(f"blobs/sha256/{digest}", data)


PAUSE_PROGRAM = """
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void stop(int number) { _exit(number == SIGTERM || number == SIGINT ? 0 : 1); }
static void reap(int number) { (void)number; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    signal(SIGCHLD, reap);
    for (;;) pause();
}
"""


def make_pause(folder):
    """The image that holds a pod's namespaces; returns its archive."""
    root = folder / "pause-root"
    root.mkdir()
    (folder / "pause.c").write_text(PAUSE_PROGRAM)
    subprocess.run(["gcc", "-Os", "-static", "-o", str(root / "pause"), str(folder / "pause.c")], check=True, timeout=60)
    write_archive(folder / "pause.tar", containerd.PAUSE, root, ["/pause"])
    return folder / "pause.tar"


def make_test(folder):
    """A shell and the usual commands (static busybox); returns its archive."""
    busybox = shutil.which("busybox")
    if not busybox:
        raise RuntimeError("no busybox: install Debian's busybox-static")
    root = folder / "test-root"
    for name in ("bin", "tmp", "etc", "dev", "proc", "sys"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    shutil.copy(busybox, root / "bin" / "busybox")
    for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True, timeout=10).stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    write_archive(folder / "test.tar", TEST, root, ["/bin/sh"])
    return folder / "test.tar"


def load(folders, archive):
    """Imports an image archive into the cluster's containerd."""
    containerd.ctr(folders, "images", "import", archive)
