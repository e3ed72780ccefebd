#!/usr/bin/env bash
# The guard on a real card, without a cluster: memory of all families, compute shares alone and beside a neighbour, the cost of
# a launch, PyTorch where it is installed. Prints everything; some three minutes. Needs nvidia-smi and a build:
#   cmake --preset release && ninja -C build/release guard_pages cuda_fill cuda_spin egpu_guard_so_for_test
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=${1:-$root/build/release/bin}
guard=${2:-$root/build/release/lib/guard-test/libedge-gpu-guard.so} # takes its files from the folder guard-pages of the current one
smi=$(command -v nvidia-smi || echo /usr/local/nvidia/bin/nvidia-smi)
uuid=$("$smi" --query-gpu=uuid --format=csv,noheader | head -1)
mib=$("$smi" --query-gpu=memory.total --format=csv,noheader,nounits | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# allocation NAME PERCENT MODE
allocation() {
    mkdir -p "$work/$1/guard-pages"
    "$bin/guard_pages" "$work/$1/guard-pages" "$uuid" "$mib" "$2" "$3" || exit 1
}
# within NAME COMMAND...: as a process of that allocation's container
within() {
    (cd "$work/$1" && shift && LD_PRELOAD=$guard timeout 40 "$@" 2>&1)
}
# part: the last second's line of cuda_spin
part() { tail -2 | head -1; }

for percent in 20 30 50 70; do allocation $percent $percent hard; done
allocation off 20 off
"$smi" --query-gpu=name,driver_version,memory.total --format=csv

echo "## memory, 20 percent of $mib MiB"
for family in alloc managed async vmm array; do within 20 "$bin/cuda_fill" --chunk-mib 512 --family $family; done
echo "## memory without the guard"
timeout 40 "$bin/cuda_fill" --chunk-mib 2048
echo "## nvidia-smi under the guard, 20 percent"
within 20 "$smi" --query-gpu=memory.total,memory.used --format=csv
echo "## compute alone"
for us in 20 100 1000 10000; do
    echo "kernel $us us, no guard: $(timeout 40 "$bin/cuda_spin" --kernel-us $us --seconds 3 2>&1 | part)"
    for percent in 20 50 70; do echo "kernel $us us, $percent percent: $(within $percent "$bin/cuda_spin" --kernel-us $us --seconds 4 | part)"; done
done
for mode in graph cooperative ex; do echo "$mode, 500 us, 20 percent: $(within 20 "$bin/cuda_spin" --mode $mode --kernel-us 500 --seconds 4 | part)"; done
echo "## 30 and 70 percent together"
for us in 100 1000 5000; do
    within 30 "$bin/cuda_spin" --clock time --kernel-us $us --seconds 7 >"$work/one" &
    within 70 "$bin/cuda_spin" --clock time --kernel-us $us --seconds 7 >"$work/other" &
    wait
    echo "kernel $us us: 30 percent: $(part <"$work/one") | 70 percent: $(part <"$work/other")"
done
echo "## launches of a 1 us kernel"
for _ in 1 2; do
    echo "no guard:    $(timeout 40 "$bin/cuda_spin" --kernel-us 1 --depth 512 --seconds 3 2>&1 | tail -1)"
    echo "mode off:    $(within off "$bin/cuda_spin" --kernel-us 1 --depth 512 --seconds 3 | tail -1)"
    echo "70 percent:  $(within 70 "$bin/cuda_spin" --kernel-us 1 --depth 512 --seconds 3 | tail -1)"
done
if python3 -c 'import torch' 2>/dev/null; then
    program=$root/tools/guard_on_gpu/pytorch.py
    echo "## PyTorch, no guard"
    timeout 60 python3 "$program" 2>&1 | tail -6
    echo "## PyTorch, 20 percent"
    within 20 python3 "$program" | tail -6
    echo "## PyTorch, 20 percent, expandable segments"
    PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True within 20 python3 "$program" | tail -6
fi
