#!/usr/bin/env bash
# scale.sh [table | soak [duration]]: the load generator on a real `edge-gpu scheduler` process (docs/benchmarks.md).
#   table  the whole scale table, 5 to 6 minutes; JSON in build/release/bench/scale*.json
#   soak   with injected faults, 30m unless told otherwise; fails when a promise is broken
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cmake --preset release >/dev/null
cmake --build build/release -j "${EDGE_GPU_JOBS:-$(nproc)}" --target load_bench >/dev/null
out=build/release/bench
mkdir -p "$out"
case ${1:-table} in
    table)
        build/release/bin/load_bench --nodes 100,1000,5000 --api-latency 0,10,50 --policy binpack,fill-gradient \
            --duration 12s --warm-up 4s --json "$out/scale.json"
        build/release/bin/load_bench --nodes 100,1000,5000 --body nodes --policy binpack,fill-gradient \
            --duration 8s --warm-up 4s --json "$out/scale-nodes.json" | tail -n +3
        ;;
    soak)
        build/release/bin/load_bench --nodes 1000 --policy fill-gradient --soak "${2:-30m}" --json "$out/soak.json"
        ;;
    *)
        echo "usage: tools/scale.sh [table | soak [duration]]" >&2
        exit 2
        ;;
esac
