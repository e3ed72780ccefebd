#!/usr/bin/env bash
# bench.sh [filter]: runs the benchmarks of the release build whose names match, one after the other, and keeps what they
# print in build/release/bench/. docs/benchmarks.md explains the numbers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
filter=${1:-.}
out=build/release/bench
mkdir -p "$out"
for name in core k8s scheduler kubelet agent sim; do
    bench=build/release/bin/${name}_bench
    [[ $name =~ $filter ]] || continue
    printf '\n== %s\n' "$name"
    "$bench" --benchmark_counters_tabular=true --benchmark_out="$out/$name.json" --benchmark_out_format=json 2>"$out/$name.log" || {
        tail -n 20 "$out/$name.log" >&2
        exit 1
    }
done
if [[ guard =~ $filter ]]; then
    printf '\n== guard\n'
    build/release/bin/guard_bench | tee "$out/guard.txt"
fi
