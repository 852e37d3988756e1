"""Writes mann_whitney.json: comparisons of two samples as scipy and R answer them.

Needs scipy and R (base). Run in this directory, with no arguments:

    python3 -m venv /tmp/oracle && /tmp/oracle/bin/pip install scipy numpy
    /tmp/oracle/bin/python make_mann_whitney.py

x is the canary, y the baseline; U_x counts pairs with x above y, ties half. Samples come from a
linear congruential generator written out here, so that the file does not depend on a library's
stream. `p_exact_permutation` is scipy's permutation of the statistic over every arrangement, for
samples small enough. `hl_median_of_differences` is the median of all differences, formed.
"""

import json
import math
import subprocess
import sys

import numpy as np
import scipy
from scipy.stats import mannwhitneyu

ALTERNATIVES = ("two-sided", "greater", "less")


class Stream:
    """A 64-bit linear congruential generator (Knuth's MMIX constants)."""

    def __init__(self, seed):
        self.state = seed

    def unit(self):
        self.state = (6364136223846793005 * self.state + 1442695040888963407) % 2**64
        return ((self.state >> 11) + 0.5) / 2**53

    def lognormal(self, count, centre, spread):
        normal = lambda: math.sqrt(-2 * math.log(self.unit())) * math.cos(2 * math.pi * self.unit())
        return [centre * math.exp(spread * normal()) for _ in range(count)]

    def exponential(self, count, mean):
        return [-mean * math.log(self.unit()) for _ in range(count)]


def cases():
    stream = Stream(20260101)
    rounded = lambda values, step: [round(v / step) * step for v in values]
    out = []

    def add(name, x, y, method, continuity=True, alternatives=ALTERNATIVES, conf_level=0.95, interval=True):
        for alternative in alternatives:
            out.append(dict(name=f"{name}, {alternative}", x=x, y=y, method=method, interval=interval,
                            continuity=continuity, alternative=alternative, conf_level=conf_level))

    add("latencies 12 against 9", stream.lognormal(12, 120.0, 0.4), stream.lognormal(9, 100.0, 0.4), "exact")
    add("latencies 50 against 50, 99 %", stream.lognormal(50, 90.0, 0.6), stream.lognormal(50, 100.0, 0.6),
        "exact", conf_level=0.99, alternatives=("two-sided",))
    add("three against fifty", stream.lognormal(3, 300.0, 0.2), stream.lognormal(50, 100.0, 0.5), "exact")
    add("one against forty", [250.0], stream.lognormal(40, 100.0, 0.5), "exact", alternatives=("two-sided",))
    add("negative and large", [v - 1e12 for v in stream.exponential(8, 1e12)],
        [-v for v in stream.exponential(11, 2e11)], "exact")
    add("whole milliseconds 200 against 260", rounded(stream.lognormal(200, 22.0, 0.4), 1.0),
        rounded(stream.lognormal(260, 20.0, 0.4), 1.0), "asymptotic")
    add("whole milliseconds, no correction", rounded(stream.lognormal(90, 22.0, 0.4), 1.0),
        rounded(stream.lognormal(75, 20.0, 0.4), 1.0), "asymptotic", continuity=False)
    add("retries: mostly zero", [0.0] * 61 + rounded(stream.exponential(19, 2.0), 1.0),
        [0.0] * 70 + rounded(stream.exponential(25, 2.0), 1.0), "asymptotic", alternatives=("greater",))
    add("tails apart 400 against 300", stream.lognormal(400, 900.0, 0.3), stream.lognormal(300, 100.0, 0.3),
        "asymptotic", alternatives=("two-sided", "greater"))
    add("five per cent apart 350 against 350", stream.lognormal(350, 105.0, 0.5),
        stream.lognormal(350, 100.0, 0.5), "asymptotic")
    add("small with ties 7 against 8", [3.0, 3.0, 5.0, 8.0, 8.0, 8.0, 13.0],
        [1.0, 3.0, 3.0, 5.0, 5.0, 8.0, 9.0, 9.0], "asymptotic", continuity=False)
    add("two outcomes", [0.0] * 5 + [1.0] * 6, [0.0] * 8 + [1.0], "asymptotic")
    add("with infinities", [1.0, math.inf, 4.0, 4.0, 7.0], [-math.inf, 2.0, 4.0, math.inf], "asymptotic",
        interval=False)
    add("constant and equal", [2.5] * 60, [2.5] * 55, "asymptotic", alternatives=("two-sided",), interval=False)
    add("far tail 1500 against 1500", None, None, "asymptotic", alternatives=("two-sided", "less"), interval=False)
    out[-2].update(weyl(1500, 1500))
    out[-1].update(weyl(1500, 1500))
    return out


def weyl(m, n):
    """Samples too long to write down: off + scale * frac(i * a), canary far below baseline."""
    x = dict(fn="weyl", n=m, a=0.7548776662466927, scale=40.0, off=0.0, start=1)
    y = dict(fn="weyl", n=n, a=0.5698402909980532, scale=100.0, off=21.0, start=1)

    def values(arm):
        turns = (arm["start"] + np.arange(arm["n"], dtype=float)) * arm["a"]
        return (arm["off"] + arm["scale"] * (turns - np.floor(turns))).tolist()

    return dict(x=values(x), y=values(y), generator=dict(x=x, y=y))


R_PROGRAM = """
options(digits = 17, warn = -1)
show <- function(v) paste(sprintf("%.17g", v), collapse = ",")
answer <- function(x, y, alternative, exact, correct, interval, level) {
  r <- wilcox.test(x, y, alternative = alternative, exact = exact, correct = correct,
                   conf.int = interval, conf.level = level, tol.root = 1e-13)
  cat(show(r$statistic), show(r$p.value), if (interval) show(r$conf.int) else "", "\\n", sep = "|")
}
"""


def ask_r(case):
    vector = lambda values: "c(" + ",".join(repr(v).replace("inf", "Inf") for v in values) + ")"
    flag = lambda value: "TRUE" if value else "FALSE"
    alternative = case["alternative"].replace("-", ".")
    call = (f"answer({vector(case['x'])}, {vector(case['y'])}, '{alternative}', {flag(case['method'] == 'exact')},"
            f" {flag(case['continuity'])}, {flag(case['interval'])}, {case['conf_level']})")
    done = subprocess.run(["Rscript", "-"], input=R_PROGRAM + call, capture_output=True, text=True, check=True)
    w, p, ends, _ = done.stdout.strip("\n").split("|")
    return float(w), float(p), [float(end) for end in ends.split(",")] if ends else None


def plain(value):
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def median_of_differences(x, y):
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    found = np.sort((x[:, None] - y[None, :]).ravel())
    low, high = found[(found.size - 1) // 2], found[found.size // 2]
    return float(low) if found.size % 2 else float(0.5 * low + 0.5 * high)


def permutation(case, x, y):
    """Every arrangement of the pooled sample, counted in whole numbers."""
    if math.comb(x.size + y.size, x.size) > 500_000:
        return None
    from itertools import combinations

    ranks = 2 * scipy.stats.rankdata(np.concatenate([x, y]))
    ranks = [int(r) for r in ranks]
    shift = x.size * (x.size + 1)
    centre = x.size * y.size
    seen = sum(ranks[: x.size]) - shift
    total = greater = less = both = 0
    for chosen in combinations(ranks, x.size):
        two_u = sum(chosen) - shift
        total += 1
        greater += two_u >= seen
        less += two_u <= seen
        both += abs(two_u - centre) >= abs(seen - centre)
    return dict(two_sided=both / total, greater=greater / total, less=less / total)


def main():
    rows = []
    for case in cases():
        x, y = np.array(case["x"]), np.array(case["y"])
        with np.errstate(all="ignore"):
            theirs = mannwhitneyu(x, y, alternative=case["alternative"], use_continuity=case["continuity"],
                                  method=case["method"])
        w, p, ends = ask_r(case)
        assert w == theirs.statistic, case["name"]
        samples = dict(generator=case["generator"]) if "generator" in case else dict(
            x=[plain(v) for v in case["x"]], y=[plain(v) for v in case["y"]])
        rows.append(dict(
            name=case["name"], method=case["method"], continuity=case["continuity"],
            alternative=case["alternative"], conf_level=case["conf_level"], **samples, m=x.size, n=y.size,
            U_x=w, scipy=dict(p=plain(float(theirs.pvalue))),
            r=dict(p=plain(p), conf_int=[plain(v) for v in ends] if ends else None),
            hl_median_of_differences=median_of_differences(x, y),
            p_exact_permutation=permutation(case, x, y)))
    r_version = subprocess.run(["Rscript", "-e", "cat(R.version.string)"], capture_output=True, text=True).stdout
    meta = dict(python=sys.version.split()[0], numpy=np.__version__, scipy=scipy.__version__,
                R=r_version + ", wilcox.test(tol.root = 1e-13)")
    with open("mann_whitney.json", "w") as out:
        out.write('{"meta": ' + json.dumps(meta) + ',\n"cases": [\n')
        out.write(",\n".join(json.dumps(row) for row in rows) + "\n]}\n")
    print(len(rows), "cases written")


if __name__ == "__main__":
    main()
