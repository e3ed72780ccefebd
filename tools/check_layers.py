#!/usr/bin/env python3
"""Checks the direction of includes between the folders of src/ (docs/architecture.md draws it)."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# folder -> folders it may include (itself always). `testing` may be included by tests and by sim only.
ALLOWED = {
    "base": set(),
    "flags": {"base"},
    "core": {"base"},
    "http": {"base"},
    "gpu": {"base", "core"},
    "inject": {"base", "core", "gpu"},
    "isolation": {"base", "core", "inject", "guard"},
    "kubelet": {"base"},
    "k8s": {"base", "core", "http"},
    "scheduler": {"base", "flags", "core", "http", "k8s", "gpu"},
    "agent": {"base", "flags", "core", "http", "k8s", "gpu", "inject", "isolation", "kubelet", "guard"},
    "cli": {"base", "flags", "core", "http", "k8s", "gpu", "inject"},
    "doctor": {"base", "flags", "core", "http", "k8s", "gpu", "inject", "cli"},
    "simulate": {"base", "flags", "core"},
    "sim": {"base", "flags", "core", "http", "k8s", "gpu", "kubelet", "scheduler", "agent", "testing"},
    "testing": {"base", "core", "http", "k8s", "gpu", "inject", "kubelet", "guard"},
    "guard": set(),
}
# What tests may include beside `testing`.
TESTS_MAY = {"guard": {"base", "core"}}
# What only one folder may include: the library stays replaceable.
OWNERS = {
    r"<boost/(beast|asio)": {"http"},
    r"<openssl/": {"http"},
    r"<(grpc|grpcpp|google/protobuf)": {"kubelet", "testing"},
    r"<yaml-cpp/": {"inject", "k8s", "cli", "testing", "doctor"},
    r"<toml\+\+/": {"doctor"},
    r"<spdlog/": {"base"},
    r"<prometheus/": {"base"},
}
# core is pure: what would let I/O, threads, clocks or logging in.
CORE_FORBIDDEN = re.compile(
    r'#include\s+("base/(log|metrics|files|fd|stop|json)\.h"|<(thread|mutex|atomic|fstream|iostream|filesystem|sys/|unistd|boost/))'
)
INCLUDE = re.compile(r'#include\s+"([a-z0-9_]+)/')
BANNED_NAMES = re.compile(r"(^|_)(util|utils|common|helper|helpers|manager|misc)(_|$)")


def main() -> int:
    errors = []
    for path in sorted((ROOT / "src").rglob("*")):
        relative = path.relative_to(ROOT)
        if any(BANNED_NAMES.search(part.split(".")[0]) for part in relative.parts[1:]):
            errors.append(f"{relative}: the name says nothing (util, common, helper, manager, misc)")
        if path.suffix not in (".h", ".cpp") or len(relative.parts) < 3:
            continue
        folder = relative.parts[1]
        is_test = re.search(r"_(test|bench|fuzz)$", path.stem) is not None
        allowed = ALLOWED.get(folder)
        if allowed is None:
            errors.append(f"{relative}: folder {folder} is not in tools/check_layers.py")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            where = f"{relative}:{number}"
            match = INCLUDE.match(line)
            if match and match[1] in ALLOWED and match[1] != folder and match[1] not in allowed:
                if not (is_test and match[1] in {"testing"} | TESTS_MAY.get(folder, set())):
                    errors.append(f"{where}: {folder} must not include {match[1]}")
            for pattern, owners in OWNERS.items():
                if re.match(r"#include\s+" + pattern, line) and folder not in owners and not is_test:
                    errors.append(f"{where}: only {', '.join(sorted(owners))} may include {line.split()[1]}")
            if folder == "core" and not is_test and CORE_FORBIDDEN.match(line):
                errors.append(f"{where}: core is pure and must not include {line.split()[1]}")
    for error in errors:
        print(error)
    print(f"layers: {len(errors)} violation(s)")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
