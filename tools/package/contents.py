"""What goes into the image and into the archive for nodes: entries made from a program and a sysroot."""
import os
import pathlib
import subprocess

from closure import FOR_NVML, closure, interpreter
from oci import Entry, file_entry

NONROOT = 65532
# Where the archive for nodes lives on a node. Fixed: the loader's path stands in the program.
NODE_PREFIX = "opt/edge-gpu"
# Packages whose code is linked statically; those of the shared libraries are found by file.
STATIC_PACKAGES = (
    "libabsl-dev", "libboost1.81-dev", "libc-ares-dev", "libcli11-dev", "libgrpc-dev", "libprotobuf-dev", "libre2-dev", "libyaml-cpp-dev",
)


class Target:
    """One architecture: its names, and the tools that work on its programs."""

    def __init__(self, arch: str, sysroot: pathlib.Path):
        self.arch = arch
        self.sysroot = sysroot
        self.triplet = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[arch]
        self.strip = "strip" if sysroot == pathlib.Path("/") else f"{self.triplet}-strip"


def stripped(target: Target, program: pathlib.Path, out: pathlib.Path) -> pathlib.Path:
    subprocess.run([target.strip, "--strip-all", "-o", str(out), str(program)], check=True)
    return out


def _owner(target: Target, file: pathlib.Path) -> str | None:
    """The Debian package of a library."""
    if target.sysroot == pathlib.Path("/"):
        for path in (str(file), str(file).removeprefix("/usr")):  # packages may still say /lib
            asked = subprocess.run(["dpkg-query", "--search", path], capture_output=True, text=True, check=False)
            if asked.returncode == 0:
                return asked.stdout.split(":")[0]
        return None
    inside = "/" + str(file.relative_to(target.sysroot.resolve()))
    for listing in sorted((target.sysroot / ".packages").glob("*.list")):
        paths = listing.read_text().split("\n")
        if inside in paths or inside.removeprefix("/usr") in paths:
            return listing.stem
    return None


def _licences(target: Target, libraries: dict[str, pathlib.Path], prefix: str) -> list[Entry]:
    packages = set(STATIC_PACKAGES)
    for file in libraries.values():
        owner = _owner(target, file)
        if owner is None:
            raise SystemExit(f"{file}: belongs to no package; its licence is not known")
        packages.add(owner)
    entries = []
    for package in sorted(packages):
        text = target.sysroot / "usr/share/doc" / package / "copyright"
        if text.is_symlink() and text.readlink().is_absolute():
            text = target.sysroot / str(text.readlink()).lstrip("/")
        entries.append(Entry(f"{prefix}/{package}/copyright", 0o644, text.read_bytes()))
    return entries


def image_layers(target: Target, program: pathlib.Path, guard: pathlib.Path, root: pathlib.Path) -> list[tuple[str, list[Entry]]]:
    """Two layers: libraries, which seldom change, and the program. A node behind a thin link fetches only what is new."""
    lib = f"usr/lib/{target.triplet}"
    libraries = closure(program, target.sysroot, target.triplet, FOR_NVML)
    loader = pathlib.PurePosixPath(interpreter(program))
    base = [
        Entry("lib", target="usr/lib"),
        Entry("lib64", target="usr/lib64"),
        Entry("bin", target="usr/bin"),
        Entry("usr/lib64"),
        Entry("tmp", 0o1777),
        *[Entry(folder) for folder in ("dev", "proc", "sys", "run", "var/lib/edge-gpu")],
        Entry("etc/passwd", 0o644, f"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{NONROOT}:{NONROOT}:nonroot:/:/sbin/nologin\n".encode()),
        Entry("etc/group", 0o644, f"root:x:0:\nnonroot:x:{NONROOT}:\n".encode()),
        Entry("etc/nsswitch.conf", 0o644, b"passwd: files\ngroup: files\nhosts: files dns\n"),
        file_entry("etc/ssl/certs/ca-certificates.crt", pathlib.Path("/etc/ssl/certs/ca-certificates.crt")),
        Entry("usr/lib/ssl/cert.pem", target="/etc/ssl/certs/ca-certificates.crt"),  # where OpenSSL looks
        *[file_entry(f"{lib}/{soname}", file) for soname, file in libraries.items()],
        # "/lib64/ld-linux-x86-64.so.2" is below the link lib64 -> usr/lib64
        Entry(f"usr{loader}", target=os.path.relpath(f"/{lib}/{loader.name}", f"/usr{loader.parent}")),
        *_licences(target, libraries, "usr/share/doc"),
    ]
    top = [
        Entry("usr/bin/edge-gpu", 0o755, program.read_bytes()),
        # main() acts on its name: the Deployments of the programs replaced work with only the image changed.
        Entry("usr/bin/nano-gpu-scheduler", target="edge-gpu"),
        Entry("usr/bin/nano-gpu-agent", target="edge-gpu"),
        file_entry("usr/lib/edge-gpu/libedge-gpu-guard.so", guard),
        file_entry("usr/share/doc/edge-gpu/copyright", root / "LICENSE"),
    ]
    return [("shared libraries and certificates (Debian 12)", base), ("edge-gpu", top)]


def node_archive(target: Target, program: pathlib.Path, guard: pathlib.Path, root: pathlib.Path) -> list[Entry]:
    """Program, its own libraries with C library and loader, and units: runs on nodes older than the build machine.

    `program` is changed in place: it gets the loader and the library folder of NODE_PREFIX.
    """
    libraries = closure(program, target.sysroot, target.triplet, FOR_NVML)
    loader = pathlib.PurePosixPath(interpreter(program)).name
    # An RPATH rather than a RUNPATH: it also holds for what the libraries and the driver's library need.
    subprocess.run(
        ["patchelf", "--page-size", "65536", "--set-interpreter", f"/{NODE_PREFIX}/lib/{loader}",
         "--force-rpath", "--set-rpath", f"/{NODE_PREFIX}/lib", str(program)],
        check=True)
    units = sorted((root / "deploy/systemd").glob("*.service"))
    return [
        Entry(f"{NODE_PREFIX}/bin/edge-gpu", 0o755, program.read_bytes()),
        *[file_entry(f"{NODE_PREFIX}/lib/{soname}", file) for soname, file in libraries.items()],
        file_entry(f"{NODE_PREFIX}/lib/libedge-gpu-guard.so", guard),
        *[file_entry(f"{NODE_PREFIX}/systemd/{unit.name}", unit) for unit in units],
        file_entry(f"{NODE_PREFIX}/doc/edge-gpu/copyright", root / "LICENSE"),
        *_licences(target, libraries, f"{NODE_PREFIX}/doc"),
    ]
