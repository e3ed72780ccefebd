#!/usr/bin/env python3
"""package.py ARCH PROGRAM SYSROOT: writes the image and the archive for nodes into build/package/, prints their sizes.

Bytes depend only on the program, the sysroot and SOURCE_DATE_EPOCH (the time of the last commit unless it is set).
"""
import os
import pathlib
import subprocess
import sys
import tempfile

from contents import NONROOT, Target, image_layers, node_archive, stripped
from oci import compressed, image_archive, tar

ROOT = pathlib.Path(__file__).resolve().parents[2]
MIB = 1 << 20


def source_date() -> int:
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    asked = subprocess.run(["git", "-C", str(ROOT), "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise SystemExit("not a git checkout: set SOURCE_DATE_EPOCH to the seconds that files shall carry as their time")
    return int(asked.stdout)


def main(arch: str, program: pathlib.Path, sysroot: pathlib.Path) -> None:
    version = (ROOT / "VERSION").read_text().strip()
    mtime = source_date()
    target = Target(arch, sysroot)
    guard = program.parent.parent / "lib" / "libedge-gpu-guard.so"
    out = ROOT / "build/package"
    out.mkdir(parents=True, exist_ok=True)
    config = {
        "Entrypoint": ["/usr/bin/edge-gpu"],
        "Env": ["PATH=/usr/bin"],
        "User": f"{NONROOT}:{NONROOT}",
        "WorkingDir": "/",
        "Labels": {"org.opencontainers.image.title": "edge-gpu", "org.opencontainers.image.version": version},
    }
    with tempfile.TemporaryDirectory() as scratch:
        binary = stripped(target, program, pathlib.Path(scratch) / "edge-gpu")
        binary_size = binary.stat().st_size
        layers = image_layers(target, binary, guard, ROOT)
        image = image_archive(f"docker.io/library/edge-gpu:{version}", arch, config, layers, mtime)
        unpacked = sum(len(entry.data or b"") for _, entries in layers for entry in entries)
        archive = compressed(tar(node_archive(target, binary, guard, ROOT), mtime))
    for name, data in ((f"edge-gpu-{version}-{arch}.oci.tar", image), (f"edge-gpu-{version}-linux-{arch}.tar.gz", archive)):
        fresh = out / f".{name}.new"
        fresh.write_bytes(data)
        fresh.rename(out / name)
        print(f"{(out / name).relative_to(ROOT)}  {len(data) / MIB:.1f} MiB")
    print(f"{arch}: binary {binary_size / MIB:.1f} MiB (budget 20 MB), image unpacked {unpacked / MIB:.1f} MiB (budget 40 MB)")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
