#!/usr/bin/env bash
# check.sh ARCH: unpacks what ./dev package made and runs it in a chroot, as the image's user, or under qemu for another
# architecture. Fails unless the program starts, links of the old names work and nothing from outside is needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
arch=$1
version=$(<VERSION)
archive=build/package/edge-gpu-$version-$arch.oci.tar
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/oci" "$work/root"
tar -xf "$archive" -C "$work/oci"
python3 - "$work" <<'PY'
import json, pathlib, subprocess, sys
work = pathlib.Path(sys.argv[1])
layout = work / "oci"
blob = lambda descriptor: layout / "blobs" / descriptor["digest"].replace(":", "/")
index = json.loads((layout / "index.json").read_text())
for layer in json.loads(blob(index["manifests"][0]).read_text())["layers"]:
    subprocess.run(["tar", "--extract", "--gzip", "--file", blob(layer), "--directory", work / "root"], check=True)
PY
chmod 755 "$work"

if [[ $arch == "$(dpkg --print-architecture)" ]]; then
    if ((EUID == 0)); then
        who="uid 65532"
        inside() { chroot --userspec=65532:65532 "$work/root" "$@"; }
    else
        who="root of a user namespace"
        inside() { unshare --user --map-root-user chroot "$work/root" "$@"; }
    fi
else
    who="$(id -un) under qemu"
    declare -A machine=([arm64]=aarch64 [amd64]=x86_64)
    # The root stands for the file system's: the program's loader and libraries come from the image.
    inside() { "qemu-${machine[$arch]}-static" -L "$work/root" "$work/root$1" "${@:2}"; }
fi

[[ $(inside /usr/bin/edge-gpu version) == "edge-gpu $version" ]] || { echo "$archive: edge-gpu version does not answer $version" >&2; exit 1; }
for command in "edge-gpu scheduler" "edge-gpu agent"; do
    read -r -a words <<<"$command"
    inside "/usr/bin/${words[0]}" "${words[@]:1}" --help >"$work/help"
    grep -q -- '--kubeconfig' "$work/help" || { echo "$archive: $command --help says nothing of --kubeconfig" >&2; exit 1; }
done
inside /usr/bin/nano-gpu-scheduler -priority binpack --v 2 --print-config | grep -q 'policy: "binpack"'
inside /usr/bin/nano-gpu-agent -nodename n1 --print-config | grep -q 'nodeName: "n1"'

# The archive for nodes, where nothing but it is: its program must bring its loader and its C library.
rm -rf "$work/root"
mkdir "$work/root"
tar -xf "build/package/edge-gpu-$version-linux-$arch.tar.gz" -C "$work/root"
[[ $(inside /opt/edge-gpu/bin/edge-gpu version) == "edge-gpu $version" ]] || { echo "the archive's program does not start" >&2; exit 1; }
echo "$arch: runs from its image and from its archive as $who"
