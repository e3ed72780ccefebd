#!/usr/bin/env bash
# run_fuzzer.sh TARGET SECONDS: fuzz one target from its committed corpus. Findings are written to build/fuzz/findings.
set -euo pipefail
target=$1
seconds=$2
cd "$(dirname "${BASH_SOURCE[0]}")/.."
corpus=build/fuzz/corpus/$target
mkdir -p "$corpus" build/fuzz/findings
log=build/fuzz/$target.log
seeds=()
if [[ -d tests/data/fuzz/$target ]]; then seeds=("tests/data/fuzz/$target"); fi
if build/fuzz/bin/"$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix=build/fuzz/findings/"$target"- "$corpus" "${seeds[@]}" >"$log" 2>&1; then
    printf '%-32s ok    %s runs\n' "$target" "$(awk '/number_of_executed_units/ {print $2}' "$log")"
else
    printf '%-32s FOUND, see %s\n' "$target" "$log"
    tail -n 40 "$log"
    exit 1
fi
