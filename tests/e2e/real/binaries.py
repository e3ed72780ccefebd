"""Where the programs of the cluster come from: a folder that is given, PATH, or a build from a Go module beside this package.

A build is kept outside the tree by version, so that it is paid once per machine and version.
"""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

MODULES = pathlib.Path(__file__).resolve().parent.parent
BUILD_DEADLINE_S = 3600


class Missing(Exception):
    """The programs are neither given nor can they be built; the text says what to do."""


def kubernetes_flags(version):
    """Linker flags that make the programs say their version; kubectl and the kubelet's skew checks read it."""
    major, minor, _ = version[1:].split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "archive"}
    return [f"-X {package}.{key}={value}" for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
            for key, value in values.items()]


def any_version(_folder):
    return True


def knows_cdi(folder):
    """CDI came with containerd 1.7."""
    done = subprocess.run([folder / "containerd", "config", "default"], capture_output=True, text=True, timeout=30, check=False)
    return "enable_cdi" in done.stdout


@dataclasses.dataclass(frozen=True)
class Programs:
    title: str
    module: pathlib.Path  # its go.mod names the tools to build
    requirement: str  # the Go module whose version is built
    names: tuple
    variable: str  # names a folder that has them all
    version_flags: object = lambda version: [f"-X github.com/containerd/containerd/version.Version={version}"]
    tags: str = ""
    good_enough: object = any_version  # for a folder of PATH
    packages: tuple = ("tool",)  # what go builds
    generated: str = ""  # a file that the release was published without; the module has one to put in its place, generated.go

    def pinned_version(self):
        """The version that go.mod requires, for example v1.34.9."""
        text = (self.module / "go.mod").read_text()
        found = re.search(rf"^(?:require )?\s*{re.escape(self.requirement)} (v\d+\.\d+\.\d+)\b", text, re.MULTILINE)
        if not found:
            raise Missing(f"{self.module}/go.mod requires no released {self.requirement}")
        return found.group(1)

    def cache_folder(self, version):
        root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        return pathlib.Path(root) / "edge-gpu" / self.module.name / version

    def lacking(self, folder):
        return [name for name in self.names if not os.access(folder / name, os.X_OK)]

    def in_path(self):
        """The folder of PATH that has them all, else None."""
        first = shutil.which(self.names[0])
        folder = pathlib.Path(first).parent if first else None
        return folder if folder and not self.lacking(folder) and self.good_enough(folder) else None

    def complete_sources(self, go, version, folder):
        """Flags that make go build from a copy of the sources, made in `folder`, which has the file that is missing; none where nothing is missing."""
        if not self.generated:
            return []
        said = subprocess.run([go, "mod", "download", "-json", f"{self.requirement}@{version}"], cwd=self.module, capture_output=True, text=True, timeout=600,
                              check=False)
        if said.returncode != 0:
            raise Missing(f"{self.requirement} {version} cannot be downloaded: {said.stderr.strip() or said.stdout.strip()}")
        sources = folder / "sources"
        shutil.copytree(json.loads(said.stdout)["Dir"], sources)
        subprocess.run(["chmod", "-R", "u+w", sources], check=True, timeout=60)
        shutil.copyfile(self.module / "generated.go", sources / self.generated)
        (folder / "go.mod").write_text(f"{(self.module / 'go.mod').read_text()}\nreplace {self.requirement} => {sources}\n")
        shutil.copyfile(self.module / "go.sum", folder / "go.sum")
        return [f"-modfile={folder}/go.mod"]

    def build(self, version, target):
        """Builds all programs in one go call, so that what they share is compiled once; `target` appears only when complete."""
        go = shutil.which("go")
        said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, timeout=60, check=False, cwd="/").stdout if go else ""
        if not re.match(r"go1\.(2[5-9]|[3-9]\d)", said):
            raise Missing(f"no {self.title} programs: put {', '.join(self.names)} into a folder and name it in {self.variable}, "
                          f"or install Go 1.25 or later so that {version} can be built (found: {said.strip() or 'none'})")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial.{os.getpid()}")
        partial.mkdir()
        print(f"building {self.title} {version} into {target} (once for this machine)", file=sys.stderr, flush=True)
        started = time.monotonic()
        try:
            env = dict(os.environ, CGO_ENABLED="0", GOFLAGS="-mod=readonly -trimpath -buildvcs=false")
            flags = " ".join(["-s", "-w", *self.version_flags(version)])
            with tempfile.TemporaryDirectory(prefix="edge-gpu-e2e-build.", dir="/var/tmp") as folder:
                sources = self.complete_sources(go, version, pathlib.Path(folder))
                command = [go, "build", *sources, "-ldflags", flags, "-tags", self.tags, "-o", f"{partial}/", *self.packages]
                done = subprocess.run(command, cwd=self.module, env=env, timeout=BUILD_DEADLINE_S, check=False, stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                raise Missing(f"building {self.title} {version} in {self.module} failed (go build exit {done.returncode}); without a module "
                              f"proxy, put {', '.join(self.names)} into a folder and name it in {self.variable}")
            took = round(time.monotonic() - started)
            (partial / "build.json").write_text(json.dumps({"version": version, "seconds": took}))
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
            print(f"built {self.title} {version} in {took} s", file=sys.stderr, flush=True)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def folder(self):
        """Where they are; builds them when none are given."""
        given = os.environ.get(self.variable)
        if given:
            missing = self.lacking(pathlib.Path(given))
            if missing:
                raise Missing(f"{self.variable}={given} lacks {', '.join(missing)}")
            return pathlib.Path(given)
        found = self.in_path()
        if found:
            return found
        version = self.pinned_version()
        cached = self.cache_folder(version)
        if self.lacking(cached):
            self.build(version, cached)
        return cached


KUBERNETES = Programs(
    title="Kubernetes (10 minutes on two idle cores)", module=MODULES / "kube", requirement="k8s.io/kubernetes",
    names=("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"),
    variable="EDGE_GPU_KUBE_BIN", version_flags=kubernetes_flags)
OLD_KUBERNETES = dataclasses.replace(
    KUBERNETES, module=MODULES / "kube-1.21", generated="pkg/generated/openapi/zz_generated.openapi.go",
    version_flags=lambda version: [*kubernetes_flags(version), "-checklinkname=0"], good_enough=lambda _: False,
    packages=tuple(f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES.names))
CONTAINERD = Programs(
    title="containerd", module=MODULES / "containerd", requirement="github.com/containerd/containerd",
    names=("containerd", "containerd-shim-runc-v2", "ctr"), variable="EDGE_GPU_CONTAINERD_BIN",
    tags="no_btrfs,no_devmapper,no_zfs", good_enough=knows_cdi)


def kubernetes():
    """The pinned release, or with EDGE_GPU_KUBE_VERSION=1.21 the old one."""
    known = {"": KUBERNETES, "1.21": OLD_KUBERNETES}
    wanted = os.environ.get("EDGE_GPU_KUBE_VERSION", "")
    if wanted not in known:
        raise Missing(f"EDGE_GPU_KUBE_VERSION={wanted} is none of {', '.join(filter(None, known))}; name a folder with other programs in EDGE_GPU_KUBE_BIN")
    return known[wanted]


def locate():
    """Path of each program by name."""
    return {name: folder / name for programs in (kubernetes(), CONTAINERD) for folder in [programs.folder()] for name in programs.names}
