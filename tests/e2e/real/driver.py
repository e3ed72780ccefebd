"""A driver root with the simulated libraries under the names that NVIDIA's installer gives them, and an image whose program asks both."""

import platform
import re
import shutil
import subprocess

from . import cards, images, product
from . import layout as at

VERSION = "535.161.08"  # of the simulated driver
LIBRARIES = ("libcuda.so", "libnvidia-ml.so")
IMAGE = f"{at.DOMAIN}/cuda:e2e"
PROGRAMS = ("cuda_fill", "cuda_spin")  # of src/testing/cuda/programs

PROGRAM = r"""
#include <dlfcn.h>
#include <stdio.h>

static void *call(void *library, const char *name) {
    void *function = dlsym(library, name);
    if (!function) printf("no %s\n", name);
    return function;
}

static void cuda(void) {
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library) { printf("cuda: %s\n", dlerror()); return; }
    int (*init)(unsigned) = call(library, "cuInit");
    int (*count)(int *) = call(library, "cuDeviceGetCount");
    int (*get)(int *, int) = call(library, "cuDeviceGet");
    int (*uuid)(unsigned char *, int) = call(library, "cuDeviceGetUuid");
    int status = init(0), n = 0, device = 0;
    if (status || (status = count(&n))) { printf("cuda: error %d\n", status); return; }
    for (int i = 0; i < n; ++i) {
        unsigned char u[16];
        if ((status = get(&device, i)) || (status = uuid(u, device))) { printf("cuda: error %d\n", status); return; }
        printf("cuda GPU-");
        for (int b = 0; b < 16; ++b) printf("%02x%s", u[b], b == 3 || b == 5 || b == 7 || b == 9 ? "-" : "");
        printf("\n");
    }
}

static void nvml(void) {
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!library) { printf("nvml: %s\n", dlerror()); return; }
    int (*init)(void) = call(library, "nvmlInit_v2");
    int (*count)(unsigned *) = call(library, "nvmlDeviceGetCount_v2");
    int (*get)(unsigned, void **) = call(library, "nvmlDeviceGetHandleByIndex_v2");
    int (*uuid)(void *, char *, unsigned) = call(library, "nvmlDeviceGetUUID");
    unsigned n = 0;
    int status = init();
    if (status || (status = count(&n))) { printf("nvml: error %d\n", status); return; }
    for (unsigned i = 0; i < n; ++i) {
        void *device = 0;
        char text[96];
        if ((status = get(i, &device)) || (status = uuid(device, text, sizeof text))) { printf("nvml: error %d\n", status); return; }
        printf("nvml %s\n", text);
    }
}

int main(void) {
    cuda();
    nvml();
    return 0;
}
"""


# Loads a copy of the driver under a name that the guard does not know, as a program that hides from it: unguarded MIB SECONDS.
UNGUARDED = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <libgen.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void copy(const char *from, const char *to) {
    char buffer[65536];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t n;
    if (!in || !out) { printf("copy %s: no\n", from); exit(1); }
    while ((n = fread(buffer, 1, sizeof buffer, in)) > 0) fwrite(buffer, 1, n, out);
    fclose(in);
    fclose(out);
}

int main(int argc, char **argv) {
    struct link_map *map = 0;
    void *known = dlopen("libcuda.so.1", RTLD_LAZY);
    if (argc != 3 || !known || dlinfo(known, RTLD_DI_LINKMAP, &map)) { printf("no driver\n"); return 1; }
    char path[4096], from[8192], to[8192];
    if (!realpath(map->l_name, path)) return 1;
    mkdir("/tmp", 0777);
    copy(path, "/tmp/plain.so");
    char *folder = dirname(path);
    DIR *files = opendir(folder);
    for (struct dirent *file; files && (file = readdir(files));) {
        if (strncmp(file->d_name, "libnvidia-simulated-state", 25)) continue;
        snprintf(from, sizeof from, "%s/%s", folder, file->d_name);
        snprintf(to, sizeof to, "/tmp/%s", file->d_name);
        copy(from, to);
    }
    void *driver = dlopen("/tmp/plain.so", RTLD_NOW), *context = 0;
    if (!driver) { printf("%s\n", dlerror()); return 1; }
    int (*init)(unsigned) = dlsym(driver, "cuInit");
    int (*create)(void **, unsigned, int) = dlsym(driver, "cuCtxCreate_v2");
    int (*allocate)(unsigned long long *, size_t) = dlsym(driver, "cuMemAlloc_v2");
    unsigned long long memory = 0;
    int status = init(0);
    if (!status) status = create(&context, 0, 0);
    if (!status) status = allocate(&memory, (size_t)atol(argv[1]) << 20);
    printf("status %d\n", status);
    fflush(stdout);
    if (status) return 1;
    sleep(atoi(argv[2]));
    printf("done\n");
    return 0;
}
"""


def make_root(folder, *lines):
    """The driver's files below `folder`, as a driver container or another root would have them; `lines` tell the simulated cards more."""
    libraries = folder / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
    libraries.mkdir(parents=True)
    for name in LIBRARIES:
        shutil.copy(product.SIM_NVML.parent / f"{name}.1", libraries / f"{name}.{VERSION}")
        (libraries / f"{name}.1").symlink_to(f"{name}.{VERSION}")
    # The simulated libraries take what they say from the file of this name beside them.
    (libraries / f"libnvidia-simulated-state.so.{VERSION}").write_text("\n".join([f"profile {cards.PROFILE} {at.NODE}", *lines, ""]))
    return folder


def make_image(folder):
    """The shell of the test image, the programs /bin/cards, /bin/unguarded and PROGRAMS, and what they need; returns its archive."""
    root = folder / "cuda-root"
    shutil.copytree(folder / "test-root", root, symlinks=True)
    for name, text in (("cards", PROGRAM), ("unguarded", UNGUARDED)):
        (folder / f"{name}.c").write_text(text)
        subprocess.run(["gcc", "-Os", "-o", str(root / "bin" / name), str(folder / f"{name}.c")], check=True, timeout=60)
    for name in PROGRAMS:
        shutil.copy(product.BINARY.with_name(name), root / "bin" / name)
    for binary in (root / "bin" / "cards", *(root / "bin" / name for name in PROGRAMS), *(product.SIM_NVML.parent / f"{name}.1" for name in LIBRARIES)):
        said = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=True, timeout=30).stdout
        for path in re.findall(r"(/\S+) \(0x", said):
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    images.write_archive(folder / "cuda.tar", IMAGE, root, ["/bin/sh"])
    return folder / "cuda.tar"


def seen(client, namespace, pod, container=None):
    """(UUIDs that CUDA finds, UUIDs that NVML finds) in a container of IMAGE; an error of either is an AssertionError."""
    status, text = client.exec(namespace, pod, "/bin/cards", container=container)
    assert status == 0, text
    lines = text.splitlines()
    assert all(re.match(r"(cuda|nvml) GPU-", line) for line in lines), text
    return tuple(sorted(line.split()[1] for line in lines if line.startswith(library)) for library in ("cuda", "nvml"))
