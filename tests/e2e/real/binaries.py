"""Where Kubernetes' own programs come from: a folder that is given, PATH, or a build from the Go module beside this package.

A build is kept outside the tree by version, so that it is paid once per machine and version.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

NAMES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
MODULE = pathlib.Path(__file__).resolve().parent.parent / "kube"
BUILD_DEADLINE_S = 3600


class Missing(Exception):
    """The programs are neither given nor can they be built; the text says what to do."""


def pinned_version(go_mod_text):
    """The version of k8s.io/kubernetes that go.mod requires, for example v1.34.9."""
    found = re.search(r"^(?:require )?\s*k8s\.io/kubernetes (v\d+\.\d+\.\d+)\b", go_mod_text, re.MULTILINE)
    if not found:
        raise Missing(f"{MODULE}/go.mod requires no released k8s.io/kubernetes")
    return found.group(1)


def cache_folder(version):
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(root) / "edge-gpu" / "kube" / version


def complete(folder):
    return all(os.access(folder / name, os.X_OK) for name in NAMES)


def in_path():
    """Folder by name where PATH has them all, else None."""
    found = {name: shutil.which(name) for name in NAMES}
    return {name: pathlib.Path(path) for name, path in found.items()} if all(found.values()) else None


def version_flags(version):
    """Linker flags that make the programs say their version; kubectl and the kubelet's skew checks read it."""
    major, minor, _ = version[1:].split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "archive"}
    stamps = [f"-X {package}.{key}={value}" for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
              for key, value in values.items()]
    return " ".join(["-s", "-w", *stamps])


def build(version, target):
    """Builds all programs in one go call, so that what they share is compiled once; `target` appears only when complete."""
    go = shutil.which("go")
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, timeout=60, check=False, cwd="/").stdout if go else ""
    if not re.match(r"go1\.(2[4-9]|[3-9]\d)", said):
        raise Missing(f"no Kubernetes programs: put {', '.join(NAMES)} into a folder and name it in EDGE_GPU_KUBE_BIN, "
                      f"or install Go 1.24 or later so that {version} can be built (found: {said.strip() or 'none'})")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial.{os.getpid()}")
    partial.mkdir()
    print(f"building Kubernetes {version} into {target} (once for this machine; 10 minutes on two idle cores)", file=sys.stderr, flush=True)
    started = time.monotonic()
    try:
        env = dict(os.environ, CGO_ENABLED="0", GOFLAGS="-mod=readonly -trimpath -buildvcs=false")
        command = [go, "build", "-ldflags", version_flags(version), "-o", f"{partial}/", *[f"k8s.io/kubernetes/cmd/{name}" for name in NAMES]]
        done = subprocess.run(command, cwd=MODULE, env=env, timeout=BUILD_DEADLINE_S, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Missing(f"building Kubernetes {version} in {MODULE} failed (go build exit {done.returncode}); without a module proxy, "
                          f"put {', '.join(NAMES)} into a folder and name it in EDGE_GPU_KUBE_BIN")
        took = round(time.monotonic() - started)
        (partial / "build.json").write_text(json.dumps({"version": version, "seconds": took}))
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        print(f"built Kubernetes {version} in {took} s", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def locate():
    """Path of each program by name; builds them when none are given."""
    given = os.environ.get("EDGE_GPU_KUBE_BIN")
    if given:
        folder = pathlib.Path(given)
        missing = [name for name in NAMES if not os.access(folder / name, os.X_OK)]
        if missing:
            raise Missing(f"EDGE_GPU_KUBE_BIN={given} lacks {', '.join(missing)}")
        return {name: folder / name for name in NAMES}
    found = in_path()
    if found:
        return found
    version = pinned_version((MODULE / "go.mod").read_text())
    folder = cache_folder(version)
    if not complete(folder):
        build(version, folder)
    return {name: folder / name for name in NAMES}
