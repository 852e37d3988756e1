#!/usr/bin/env python3
"""Times whole processes: `davy compare` against scipy and R on the same two files of numbers.

    cargo build --release --bin davy
    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install scipy numpy
    /tmp/peers/bin/python benches/compare.py [--len 100000] [--runs 9] [--r-runs 1]

Run it with the interpreter that has scipy; R is timed where `Rscript` is installed. Rounds are
interleaved, so that a busy machine slows all of them alike; the median of each is reported.
davy reads, ranks, and answers p-values, shift, ratio and their intervals; scipy's process reads
and answers U and p only, R's adds the shift's interval. The answers are compared as well: U equal,
p within 1e-10 relative, ends within R's root tolerance. Exit 1 when one differs, or when davy
takes more than a tenth of scipy's time.
"""

import argparse
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

RATIO_MAX = 0.1
P_RELATIVE_MAX = 1e-10
# R's uniroot stops at 1e-4 in the values' unit unless told otherwise.
R_ROOT_TOLERANCE = 1e-4

SCIPY = """
import json, sys
import numpy as np
from scipy.stats import mannwhitneyu
baseline, canary = (np.fromfile(path, sep="\\n") for path in sys.argv[1:3])
found = mannwhitneyu(canary, baseline, alternative="two-sided", method="asymptotic")
print(json.dumps({"u": float(found.statistic), "p": float(found.pvalue)}))
"""

R = """
paths <- commandArgs(TRUE)
baseline <- scan(paths[1], quiet = TRUE)
canary <- scan(paths[2], quiet = TRUE)
r <- wilcox.test(canary, baseline, exact = FALSE, conf.int = TRUE)
cat(sprintf('{"u": %.17g, "p": %.17g, "interval": [%.17g, %.17g]}', r$statistic, r$p.value,
            r$conf.int[1], r$conf.int[2]))
"""


def timed(command):
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - start, json.loads(done.stdout)


def write_samples(directory, length):
    stream = random.Random(1)
    paths = []
    for name, centre in (("baseline", 100.0), ("canary", 100.6)):
        path = os.path.join(directory, name)
        with open(path, "w") as out:
            for _ in range(length):
                out.write(f"{centre * math.exp(stream.gauss(0.0, 0.5))!r}\n")
        paths.append(path)
    return paths


def differs(davy, peer, name):
    ours = davy["mann_whitney"]
    wrong = []
    if ours["u"] != peer["u"]:
        wrong.append(f"U {ours['u']} against {name}'s {peer['u']}")
    if abs(ours["p_two_sided"] - peer["p"]) > P_RELATIVE_MAX * peer["p"]:
        wrong.append(f"p {ours['p_two_sided']} against {name}'s {peer['p']}")
    for end, theirs in zip(davy["shift"]["interval"], peer.get("interval", [])):
        if abs(end - theirs) > R_ROOT_TOLERANCE:
            wrong.append(f"end {end} against {name}'s {theirs}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--davy", default=os.path.join(root, "target/release/davy"))
    parser.add_argument("--len", type=int, default=100_000, help="values per arm")
    parser.add_argument("--runs", type=int, default=9, help="rounds of davy and scipy")
    parser.add_argument("--r-runs", type=int, default=1, help="rounds of R, which takes long")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        files = write_samples(directory, args.len)
        commands = {
            "davy": ([args.davy, "compare", *files, "--output", "json"], args.runs),
            "scipy": ([sys.executable, "-c", SCIPY, *files], args.runs),
        }
        if shutil.which("Rscript") and args.r_runs > 0:
            commands["R"] = (["Rscript", "-e", R, *files], args.r_runs)
        seconds = {name: [] for name in commands}
        answers = {}
        for round_number in range(args.runs + 1):
            for name, (command, runs) in commands.items():
                if round_number > runs:
                    continue
                taken, answers[name] = timed(command)
                # The first round warms the file cache and is not counted, but for a lone run of R.
                if round_number > 0:
                    seconds[name].append(taken)
                elif name == "R" and runs == 1:
                    seconds[name].append(taken)
                    commands[name] = (command, 0)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    wrong = []
    for name, median in medians.items():
        ratio = medians["davy"] / median
        print(f"{name:6} {median * 1e3:10.1f} ms   davy takes {ratio:.4f} of it   ({len(seconds[name])} runs)")
        if name != "davy":
            wrong += differs(answers["davy"], answers[name], name)
    if medians["davy"] > RATIO_MAX * medians["scipy"]:
        wrong.append(f"davy takes more than {RATIO_MAX} of scipy's time")
    print("answers agree" if not wrong else "\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
