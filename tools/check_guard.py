#!/usr/bin/env python3
"""Checks a built libedge-gpu-guard.so: what it needs of a container, what it exports, how large it is.

    tools/check_guard.py build/release/lib/libedge-gpu-guard.so [objdump]

It is loaded into every program of other people's images, so it may need nothing but a C library of 2013 (glibc 2.17),
must export no name that is not a hook, and must not run code when it is loaded.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLOOR = (2, 17)
MAX_BYTES = 200 * 1024
MAX_TLS = 256
NEEDED = re.compile(r"^(libc\.so\.6|libdl\.so\.2|libpthread\.so\.0|ld-linux-(x86-64\.so\.2|aarch64\.so\.1))$")


def hooks() -> set[str]:
    text = (ROOT / "src/guard/hooks.def").read_text()
    return set(re.findall(r"^EGPU_(?:CUDA|NVML)\((\w+)", text, re.M)) | {"dlsym", "dlvsym"}


def check(library: str, objdump: str) -> list[str]:
    def run(*options: str) -> str:
        return subprocess.run([objdump, *options, library], check=True, capture_output=True, text=True).stdout

    errors = []
    size = pathlib.Path(library).stat().st_size
    if size >= MAX_BYTES:
        errors.append(f"{size} bytes, {MAX_BYTES} are allowed")
    exported = set()
    for line in run("-T").splitlines():
        version = re.search(r"GLIBC_(\d+)\.(\d+)", line)
        if version and tuple(map(int, version.groups())) > FLOOR:
            errors.append(f"needs a newer C library: {line.split()[-1]} of {version[0]}")
        if "*UND*" in line:
            if re.search(r"\b(_Z|__cxa_(throw|begin|guard)|__gxx)", line):
                errors.append(f"needs the C++ runtime: {line.split()[-1]}")
        elif re.match(r"[0-9a-f]{8,}\s", line):
            exported.add(line.split()[-1])
    for name in sorted(exported - hooks()):
        errors.append(f"exports {name}, which is no hook of src/guard/hooks.def")
    for name in sorted(hooks() - exported):
        errors.append(f"does not export {name}")
    headers = run("-p")
    for name in re.findall(r"NEEDED\s+(\S+)", headers):
        if not NEEDED.match(name):
            errors.append(f"needs {name}")
    if not re.search(r"FLAGS\s+0x0*8\b|BIND_NOW|FLAGS_1\s+0x0*9", headers):
        errors.append("is not linked with -z now")
    for tls in re.findall(r"TLS off.*\n\s+filesz \S+ memsz (0x[0-9a-f]+)", headers):
        if int(tls, 16) > MAX_TLS:
            errors.append(f"{int(tls, 16)} bytes of thread-local storage, {MAX_TLS} are allowed")
    # The one entry that the compiler's own start files put there does nothing without a profiler.
    init = re.search(r"\.init_array\s+([0-9a-f]+)", run("-h"))
    if init and int(init[1], 16) > 8:
        errors.append("has constructors (.init_array)")
    return errors


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print(__doc__)
        return 2
    errors = check(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else "objdump")
    for error in errors:
        print(f"{sys.argv[1]}: {error}")
    print(f"guard: {len(errors)} violation(s)")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
