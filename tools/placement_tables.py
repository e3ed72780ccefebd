#!/usr/bin/env python3
"""Prints the tables of docs/placement.md: tools/placement_tables.py TRACES [allocation|classes|departures ...]

TRACES is a folder with openb_node_list_gpu_node.csv, the openb_pod_list_*.csv files and published_allocation.csv. The program
is build/release/bin/edge-gpu, or $EDGE_GPU. EDGE_GPU_SEEDS (42..51) and EDGE_GPU_DEPARTURE_SEEDS (42..43) shorten a run.
"""
import csv
import io
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORKLOADS = ["default", "gpushare40", "gpushare100", "cpu200", "multigpu20", "gpuspec33"]
PUBLISHED = {"random": "Random", "dot-product": "DotProd", "gpu-clustering": "GpuClustering", "gpu-packing": "GpuPacking",
             "best-fit": "BestFit", "fgd": "FGD"}
CLASSES = ["share", "one_card", "several_cards", "cpu_only"]


def simulate(traces, workloads, policies, *more):
    pods = ",".join(str(traces / f"openb_pod_list_{w}.csv") for w in workloads)
    command = [os.environ.get("EDGE_GPU", str(ROOT / "build/release/bin/edge-gpu")), "simulate", "--nodes",
               str(traces / "openb_node_list_gpu_node.csv"), "--pods", pods, "--policy", ",".join(policies), "-o", "csv", *more]
    print("$ " + " ".join(command).replace(str(traces), "TRACES"), file=sys.stderr)
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    runs = list(csv.DictReader(io.StringIO(text)))
    for run in runs:
        run["workload"] = run["workload"].removeprefix("openb_pod_list_")
    return runs


def mean(runs, field, **where):
    values = [float(r[field]) for r in runs if all(r[k] == v for k, v in where.items()) and r[field] != ""]
    return sum(values) / len(values) if values else float("nan")


def share(runs, name, **where):
    arrived = mean(runs, f"{name}_arrived", **where)
    return 100 * mean(runs, f"{name}_placed", **where) / arrived if arrived else float("nan")


def row(*cells):
    print("| " + " | ".join("-" if c == "nan" else c for c in cells) + " |")


def header(*cells):
    row(*cells)
    row(*["---"] * len(cells))


def allocation(traces):
    seeds = os.environ.get("EDGE_GPU_SEEDS", "42..51")
    policies = ["random", "dot-product", "gpu-clustering", "gpu-packing", "best-fit", "binpack", "fgd", "fill-gradient"]
    runs = simulate(traces, WORKLOADS, policies, "--seeds", seeds)
    with open(traces / "published_allocation.csv", encoding="utf-8") as file:
        published = {(r["workload"].removeprefix("openb_pod_list_"), r["policy"]): r for r in csv.DictReader(file)}
    header("policy", *WORKLOADS, "mean", "s per run")
    for policy in policies:
        cells, sums = [], [0, 0]
        for workload in WORKLOADS:
            both = [mean(runs, f"allocated_pct_at_{at}", workload=workload, policy=policy) for at in (100, 130)]
            sums = [a + b for a, b in zip(sums, both)]
            cells.append(f"{both[0]:.2f} / {both[1]:.2f}")
        row(policy, *cells, " / ".join(f"{s / len(WORKLOADS):.2f}" for s in sums), f"{mean(runs, 'seconds', policy=policy):.2f}")
        if policy in PUBLISHED:
            known = [published[(w, PUBLISHED[policy])] for w in WORKLOADS]
            fields = ("allocated_pct_at_100_mean", "allocated_pct_at_130_mean")
            row("*published*", *(" / ".join(r[f] for f in fields) for r in known),
                " / ".join(f"{sum(float(r[f]) for r in known) / len(known):.2f}" for f in fields), "")
    gains = []
    for workload in WORKLOADS:
        fgd = published[(workload, "FGD")]
        gains.append([mean(runs, f"allocated_pct_at_{at}", workload=workload, policy="fill-gradient")
                      - float(fgd[f"allocated_pct_at_{at}_mean"]) for at in (100, 130)])
    row("fill-gradient over published FGD", *(f"{a:+.2f} / {b:+.2f}" for a, b in gains),
        " / ".join(f"{sum(g[i] for g in gains) / len(gains):+.2f}" for i in (0, 1)), "")


def classes(traces):
    seeds = os.environ.get("EDGE_GPU_SEEDS", "42..51")
    policies = ["best-fit", "fgd", "fill-gradient"]
    runs = simulate(traces, WORKLOADS, policies, "--seeds", seeds)
    header("workload", "policy", "share", "one card", "several cards", "CPU only")
    for workload in WORKLOADS:
        for policy in policies:
            row(workload, policy, *(f"{share(runs, c, workload=workload, policy=policy):.1f}" for c in CLASSES))


def departures(traces):
    seeds = os.environ.get("EDGE_GPU_DEPARTURE_SEEDS", "42..43")
    policies = ["best-fit", "fgd", "fill-gradient"]
    workloads = [w for w in WORKLOADS if w != "multigpu20"]  # has no times
    for load in ("1.3", "1.0"):
        runs = simulate(traces, workloads, policies, "--seeds", seeds, "--departures", "--inflate", load)
        print(f"\nOffered load {load}:\n")
        header("workload", "policy", "allocated %", "card-hours", "waiting", "share", "one card", "several cards", "CPU only")
        for workload in workloads:
            for policy in policies:
                where = {"workload": workload, "policy": policy}
                waits = (f"{mean(runs, f'{c}_wait_mean_s', **where):.0f} / {mean(runs, f'{c}_wait_max_s', **where):.0f} s"
                         if mean(runs, f"{c}_arrived", **where) else "nan" for c in CLASSES)
                row(workload, policy, f"{mean(runs, 'allocated_pct_mean', **where):.2f}",
                    f"{mean(runs, 'allocated_card_hours', **where):.0f}", f"{mean(runs, 'waiting_mean', **where):.0f}", *waits)


def main():
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 2
    tables = {"allocation": allocation, "classes": classes, "departures": departures}
    wanted = sys.argv[2:] or list(tables)
    unknown = [name for name in wanted if name not in tables]
    if unknown:
        print(f"placement_tables.py: no table {unknown[0]}; there are {', '.join(tables)}", file=sys.stderr)
        return 2
    for name in wanted:
        print(f"\n<!-- {name} -->\n")
        tables[name](pathlib.Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
