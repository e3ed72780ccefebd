#!/usr/bin/env bash
# Makes a folder with the arm64 packages that the build links, and prints its path; progress goes to standard error. Packages
# are unpacked, not installed: the machine's own packages stay as they are, and not all -dev packages can be installed twice.
# Cached outside the tree by the list of packages; remove the folder to fetch newer packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
umask 022

packages=(libc6-dev libstdc++-12-dev libgcc-12-dev ca-certificates)
mapfile -t libraries < <(sed -n '/^# build$/,/^# package/p' tools/packages.txt | grep -E '^(lib|prometheus-cpp|zlib)')
packages+=("${libraries[@]}")
key=$(printf '%s\n' "${packages[@]}" | cat - "${BASH_SOURCE[0]}" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/edge-gpu
sysroot=$cache/sysroot-arm64-$key
if [[ -d $sysroot ]]; then
    echo "$sysroot"
    exit
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/sysroot-arm64.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/archives/partial" "$work/root"/{usr/lib,usr/bin,usr/sbin,.packages}
touch "$work/status"
# An apt of its own, which believes to be on a bare arm64 machine: it works out all that the list needs. Sources are the host's.
apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State=$work/state" -o "Dir::State::status=$work/status"
    -o "Dir::Cache::archives=$work/archives" -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=" -o APT::Sandbox::User=root
    -o Debug::NoLocking=true -o Acquire::Languages=none)
echo "fetching the arm64 packages" >&2
"${apt[@]}" update >&2
"${apt[@]}" install --yes --no-install-recommends --download-only "${packages[@]}" >&2

for folder in lib bin sbin; do ln -s "usr/$folder" "$work/root/$folder"; done
for deb in "$work"/archives/*.deb; do
    name=$(dpkg-deb --field "$deb" Package)
    dpkg-deb --fsys-tarfile "$deb" | tar --extract --keep-directory-symlink --no-same-owner --directory "$work/root"
    dpkg-deb --fsys-tarfile "$deb" | tar --list | sed 's|^\.||' >"$work/root/.packages/$name.list"
done
# Links to absolute paths would leave the folder.
find "$work/root" -type l -lname '/*' -printf '%P\t%l\n' | while IFS=$'\t' read -r link target; do
    ln -sfnr "$work/root$target" "$work/root/$link"
done
mv -T "$work/root" "$sysroot" 2>/dev/null || [[ -d $sysroot ]] # another run was first
echo "$sysroot"
