"""The shared libraries a program needs, found below a sysroot without running it: works for any machine type."""
import pathlib
import re
import subprocess

NEEDED = re.compile(r"\(NEEDED\)\s+Shared library: \[(.+)\]")
INTERPRETER = re.compile(r"Requesting program interpreter: (.+)\]")

# What libnvidia-ml.so.1 of every driver since 450 links. The program opens that library at run time, from the host; the
# libraries below it have to be of the same C library as the program.
FOR_NVML = ("libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1")


def _readelf(option: str, path: pathlib.Path) -> str:
    return subprocess.run(["readelf", "--wide", option, str(path)], check=True, capture_output=True, text=True).stdout


def interpreter(program: pathlib.Path) -> str:
    """The path of the dynamic loader that the program names."""
    found = INTERPRETER.search(_readelf("--program-headers", program))
    if not found:
        raise SystemExit(f"{program}: names no dynamic loader; is it a program?")
    return found.group(1)


def closure(program: pathlib.Path, sysroot: pathlib.Path, triplet: str, extra: tuple[str, ...] = ()) -> dict[str, pathlib.Path]:
    """soname -> file, of everything `program` and the sonames in `extra` need, the dynamic loader included."""
    folders = [sysroot / folder for folder in (f"usr/lib/{triplet}", f"lib/{triplet}", "usr/lib", "lib")]

    def find(soname: str) -> pathlib.Path:
        for folder in folders:
            if (folder / soname).exists():
                return (folder / soname).resolve()
        raise SystemExit(f"{soname}: not in {', '.join(map(str, folders))}; install the package that holds it")

    loader = pathlib.PurePosixPath(interpreter(program)).name
    found: dict[str, pathlib.Path] = {}
    open_ends = [loader, *extra, *NEEDED.findall(_readelf("--dynamic", program))]
    while open_ends:
        soname = open_ends.pop()
        if soname in found:
            continue
        found[soname] = find(soname)
        open_ends += NEEDED.findall(_readelf("--dynamic", found[soname]))
    return found
