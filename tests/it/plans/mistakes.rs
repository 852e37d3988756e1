//! Mistakes in a plan, and what their writer is told: place, message, fix.
//!
//! Owns the table of mistakes; the plan they are made in is the parent's.

use davy::config::plan_file::parse_plan;

use super::{FULL, changed};

/// `line:column path: message | help` of every problem.
fn told(text: &str) -> Vec<String> {
    let problems = match parse_plan("plan.yaml", text) {
        Ok(parsed) => parsed.warnings,
        Err(problems) => problems.items,
    };
    let told = |p: &davy::config::Problem| {
        let help = p.help.as_deref().unwrap_or("");
        format!("{}:{} {}: {} | {help}", p.line, p.column, p.path, p.message)
    };
    problems.iter().map(told).collect()
}

/// One change of the full plan, and the one problem it makes.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "version: davy/v1",
        "version: v2",
        "1:10 version: `v2` is not a version this davy reads | write version: davy/v1",
    ),
    (
        "plan: full\n",
        "plan: Full\n",
        "2:7 plan: `Full` cannot name a plan | a-z, 0-9 and . _ -, a letter or digit first, at most 63",
    ),
    (
        "plan: full\n",
        "plan: full\nhorzon: 1h\n",
        "3:1 horzon: unknown key `horzon` | did you mean `horizon`?",
    ),
    (
        "plan: full\n",
        "plan: full\nplan: twice\n",
        "3:1 : `plan` is written twice | keep one of the two",
    ),
    (
        "horizon: 1h\n",
        "",
        "1:1 : `horizon` is missing | say how long the analysis may last at most: horizon: 1h",
    ),
    (
        "horizon: 1h",
        "horizon: 60",
        "4:10 horizon: `60` has no unit | write 500ms, 15s, 5m, 1h30m or 2d",
    ),
    (
        "horizon: 1h",
        "horizon: 0s",
        "4:10 horizon: `0s` is too short | at least 100ms",
    ),
    (
        "horizon: 1h",
        "horizon: -1h",
        "4:10 horizon: `-1h` is not a duration | write 500ms, 15s, 5m, 1h30m or 2d",
    ),
    (
        "horizon: 1h",
        "horizon: 1h1s",
        "4:10 horizon: the horizon is not a whole number of ticks of 15s | write 1h or 1h15s",
    ),
    (
        "horizon: 1h",
        "horizon: 6h",
        "4:10 horizon: 6h at a tick of 15s makes 1440 looks; at most 1024 are possible | write tick: 30s, or shorten the horizon",
    ),
    (
        "tick: 15s",
        "tick: 1ms",
        "5:7 tick: `1ms` is too short | at least 100ms",
    ),
    (
        "tick: 15s",
        "tick:",
        "5:1 tick: `tick` has no value | write a value, or remove the key",
    ),
    (
        "lateness: 30s",
        "lateness: 2h",
        "6:11 lateness: `lateness` is longer than the horizon | at most 1h",
    ),
    (
        "tick: 15s\nlateness: 30s",
        "tick: 5s\nlateness: 21m6s",
        "6:11 lateness: a lateness of 21m6s at a tick of 5s holds 257 ticks open at once (the lateness in ticks, and those being filled, waited for and ahead); at most 256 are possible | write tick: 10s, or a lateness of 21m5s at most",
    ),
    (
        "stop_on_pass: false",
        "stop_on_pass: no",
        "8:15 stop_on_pass: expected true or false, found a text | write false",
    ),
    (
        "stop_on_pass: false",
        "stop_on_pass: yes",
        "8:15 stop_on_pass: expected true or false, found a text | write true",
    ),
    (
        "alpha: 0.01",
        "alpha: 5%",
        "9:8 alpha: expected a number, found a text | write 0.05",
    ),
    (
        "alpha: 0.01",
        "alpha: 0.5",
        "9:8 alpha: 0.5 is out of range | 0.0001 to 0.4999",
    ),
    (
        "alpha: 0.01",
        "alpha: five",
        "9:8 alpha: expected a number, found a text | a number alone, 0.0001 to 0.4999",
    ),
    (
        "on_inconclusive: promote",
        "on_inconclusive: promot",
        "11:18 on_inconclusive: `promot` is not hold, rollback or promote | did you mean `promote`?",
    ),
    (
        "[id, owner]",
        "[id, ownr]",
        "13:24 change.require[1]: `ownr` is not id, revision, owner, namespace, service, environment or region | did you mean `owner`?",
    ),
    (
        "  baseline: 'app=\"x\", hash=\"{{baseline}}\"'",
        "  baseline: 'app=\"x\", hash=~\"(\"'",
        "15:13 arms.baseline: the regex does not parse: unclosed group (at character 16 of the text) | regexes are RE2 without look-around and match the whole value; a literal dot is written \\\\.",
    ),
    (
        "hash=\"{{baseline}}\"'",
        "hash=\"{{canary}}\"'",
        "15:3 arms: both arms have the same matchers, so every series would match both | tell them apart: version=\"{{baseline}}\" and version=\"{{canary}}\"",
    ),
    (
        "  latency_ms:\n",
        "  latency ms:\n",
        "20:5 metrics.latency ms: `latency ms` cannot be a name | letters, digits and _ . : -, at most 63 characters",
    ),
    (
        "kind: latency",
        "kind: latncy",
        "20:11 metrics.latency_ms.kind: `latncy` is not latency, ratio, rate or gauge | did you mean `latency`?",
    ),
    (
        "kind: latency",
        "kind: histogram",
        "20:11 metrics.latency_ms.kind: `histogram` is not latency, ratio, rate or gauge | write kind: latency, and send the values themselves",
    ),
    (
        "tolerance: 5%",
        "tolerance: 0.25",
        "39:16 checks[0].tolerance: `0.25` is 0.25 ms, not a share | write 25% for a share of the baseline, or 0.25ms",
    ),
    (
        "tolerance: 20ms",
        "tolerance: 20",
        "45:16 checks[1].tolerance: `20` is 20 ms, not a share | write 20ms",
    ),
    (
        "  - compare: restarts\n",
        "  - compare: restarts\n    tolerance: 0.2\n",
        "58:16 checks[5].tolerance: `0.2` is 0.2 in the metric's own unit, not a share | write 20% for a share of the baseline",
    ),
    (
        "limit: \"< 800ms\"",
        "limit: \"<= 800ms\"",
        "54:12 checks[4].limit: `<=` is not known | write `<`: \"< 800ms\"",
    ),
    (
        "lifetime: tick",
        "lifetime: forever",
        "23:39 metrics.latency_ms.cluster.lifetime: `forever` is not tick or run | ",
    ),
    (
        "from: increments\n    bad",
        "from: counters\n    bad",
        "26:11 metrics.errors.from: `counters` is not values, counter, increments or histogram | did you mean `counter`?",
    ),
    (
        "    from: increments\n    bad",
        "    bad",
        "26:10 metrics.errors.bad: `bad` does not belong to this form of metric | add from: counter (totals since the process started) or from: increments",
    ),
    (
        "    total: requests\n",
        "",
        "25:5 metrics.errors: `total` is missing | the series that counts all",
    ),
    (
        "bad: 'requests{code=~\"5..\"}'",
        "bad: requests{}",
        "27:5 metrics.errors.bad: `bad` and `total` are the same series | bad is a part of total: total: 'requests', bad: 'requests{code=~\"5..\"}'",
    ),
    (
        "    kind: gauge\n",
        "    kind: gauge\n    prometheus: 'sum(x)'\n",
        "36:17 metrics.rps.prometheus: the query would be the same for both arms (at character 1 of the text) | put {{arm}} among the matchers of each series: requests_total{ {{arm}} }",
    ),
    (
        "compare: restarts",
        "compare: restart",
        "57:14 checks[5].compare: there is no metric `restart` | did you mean `restarts`?",
    ),
    (
        "    worse: either\n",
        "    worse: up\n",
        "38:12 checks[0].worse: `up` is not higher, lower or either | ",
    ),
    (
        "tolerance: 5%",
        "tolerance: 5pp",
        "39:16 checks[0].tolerance: percentage points are for ratios only | write 20%, or 5ms for an absolute part",
    ),
    (
        "tolerance: 5%",
        "tolerance: -5%",
        "39:16 checks[0].tolerance: a tolerance cannot be negative | `worse` gives the direction",
    ),
    (
        "tolerance: 5%",
        "tolerance: 100%",
        "39:16 checks[0].tolerance: a fall of 100 % or more can never be exceeded | write less than 100% where lower is worse",
    ),
    (
        "tolerance: 20ms",
        "tolerance: 20s",
        "45:16 checks[1].tolerance: `s` is not the unit of `latency_ms`, which is `ms` | write the value in ms",
    ),
    (
        "absolute: 0.1pp",
        "absolute: 0.1%",
        "47:42 checks[2].tolerance.absolute: a percentage is relative, not absolute | write 0.1pp (percentage points)",
    ),
    (
        "absolute: 0.1pp",
        "absolute: 0.1",
        "47:42 checks[2].tolerance.absolute: `0.1` has no unit that fits a ratio | write 20%, or 0.1pp (percentage points) for an absolute part",
    ),
    (
        "{relative: 20%, absolute: 0.1pp}",
        "20%",
        "47:5 checks[2].tolerance: a service without errors can never pass a relative tolerance alone | add an absolute part: {relative: 20%, absolute: 0.1pp}",
    ),
    (
        "at: p99.9",
        "at: p99.99",
        "44:9 checks[1].at: `p99.99` is not a quantile | write p50, p99 or p99.9; tenths of a percent are the finest",
    ),
    (
        "limit: \"< 1%\"",
        "limit: \"<= 1%\"",
        "50:12 checks[3].limit: `<=` is not known | write `<`: \"< 1%\"",
    ),
    (
        "limit: \"< 1%\"",
        "limit: \"< 0.01\"",
        "50:12 checks[3].limit: `0.01` has no unit that fits a ratio | write \"< 1%\"",
    ),
    (
        "limit: \"< 1%\"",
        "limit: \"< 1%\"\n    at: p99",
        "51:9 checks[3].at: `at` asks for a quantile, which only kind latency has | remove `at`",
    ),
    (
        "limit: \"< 1%\"",
        "limit: \"< 1%\"\n    no_data: ignore",
        "51:14 checks[3].no_data: `no_data` belongs to the alarm forms | add breach: or burn_rate:, or remove it: a test without data never passes",
    ),
    (
        "limit: \"< 1%\"",
        "limit: \"< 1%\"\n    tolerance: 5%",
        "51:16 checks[3].tolerance: `tolerance` belongs to compare checks | remove it, or write compare: instead",
    ),
    (
        "    at: p99\n    limit",
        "    limit",
        "52:5 checks[4]: a limit on a distribution needs a quantile | add at: p99, or at: p50 for the middle",
    ),
    (
        "periods: 3",
        "periods: 6",
        "55:13 checks[4].breach: 6 of 5 periods cannot breach | periods is at most `of`",
    ),
    (
        "  - compare: restarts",
        "  - compare: latency_ms",
        "57:5 checks[5]: two checks are named `latency_ms` | give one of them a name: of its own",
    ),
    (
        "  - compare: restarts\n",
        "  - weight: 1\n",
        "57:5 checks[5]: a check asks compare: METRIC or threshold: METRIC | give exactly one of the two",
    ),
    (
        "weight: 2",
        "weight: 0",
        "40:13 checks[0].weight: 0 is out of range | 0.001 to 1000",
    ),
    (
        "min_samples: 100",
        "min_samples: 1.5",
        "41:18 checks[0].min_samples: 1.5 is not allowed here | a whole number, 1 to 1000000000",
    ),
    (
        "limit: \"< 1%\"",
        "burn_rate: {slo: 99.9%, long: 2h, short: 5m, factor: 14.4}",
        "50:35 checks[3].burn_rate.long: `long` is longer than the horizon | such a window is never full: shorten it, or watch the service elsewhere",
    ),
    (
        "limit: \"< 1%\"",
        "burn_rate: {slo: 99.9%, long: 5m, short: 5m, factor: 14.4}",
        "50:16 checks[3].burn_rate: the short window is not shorter than the long one | a twelfth of it is usual: long: 1h, short: 5m",
    ),
    (
        "limit: \"< 1%\"",
        "burn_rate: {slo: 90%, long: 1h, short: 5m, factor: 10}",
        "50:16 checks[3].burn_rate: even if everything failed, the budget could not burn that fast | at this objective a factor lies below 10",
    ),
    (
        "limit: \"< 800ms\"",
        "burn_rate: {slo: 99%, long: 1h, short: 5m, factor: 10}",
        "54:16 checks[4].burn_rate: a check is either breach or burn_rate | write two checks",
    ),
    (
        "horizon: 1h",
        "horizon: 1h\nextend: 7s",
        "5:9 extend: this is not a whole number of ticks of 15s | round it",
    ),
    (
        "horizon: 1h",
        "horizon: 1h\nwatch: {for: 35h}",
        "5:14 watch.for: too many ticks of 15s | at most 1d10h8m here, or a longer tick",
    ),
    (
        "horizon: 1h",
        "horizon: 1h\nextend: 4h",
        "5:9 extend: too many looks at a tick of 15s | at most 3h16m here, or a longer tick",
    ),
    (
        "compare: restarts\n",
        "compare: restarts\n    require_units: 2\n",
        "58:20 checks[5].require_units: the metric has no units that could be counted | add cluster: {by: pod, lifetime: run} to the metric, or remove it",
    ),
    (
        "no_data: breaching",
        "no_data: breaching\n    require_units: 2",
        "57:20 checks[4].require_units: an alarm rule does not count units | remove it",
    ),
    (
        "dispersion: iid",
        "dispersion: calibrated",
        "60:17 checks[6].dispersion: there is no calibration beside this plan | run davy calibrate --plan PLAN RECORDING, or write a number: dispersion: {sd: 0.1}",
    ),
    (
        "kind: gauge\n",
        "kind: gauge\n    resolution: 1\n",
        "36:17 metrics.rps.resolution: `resolution` belongs to kind: latency | remove it",
    ),
    (
        "value_unit: ms\n",
        "value_unit: ms\n    resolution: -1\n",
        "22:17 metrics.latency_ms.resolution: this is not a resolution | exact, or the step in the metric's unit: resolution: 1",
    ),
    (
        "value_unit: ms\n",
        "value_unit: ms\n    negative: true\n",
        "40:5 checks[0].tolerance: a percentage of a value below zero is no tolerance | write an absolute tolerance, or remove `negative` from the metric",
    ),
];

#[test]
fn mistakes_are_told_with_place_and_fix() {
    let mut wrong = Vec::new();
    for (from, to, expected) in MISTAKES {
        let told = told(&changed(from, to));
        // A metric that goes missing makes follow-up problems; the cause comes first.
        if told.first().map(String::as_str) != Some(expected) {
            wrong.push(format!(
                "{to:?}\n  told     {told:#?}\n  expected {expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_problems_come_at_once_in_the_order_of_their_places() {
    let text = FULL
        .replace("alpha: 0.01", "alpha: 2")
        .replace("worse: either", "worse: sideways")
        .replace("kind: gauge", "kind: gauge\n    colour: red")
        .replace("horizon: 1h", "horizon: soon");
    let told = told(&text);
    let places: Vec<&str> = told
        .iter()
        .filter_map(|line| line.split_once(' '))
        .map(|p| p.0)
        .collect();
    assert_eq!(places, ["4:10", "9:8", "36:5", "39:12"], "{told:#?}");
}

#[test]
fn a_problem_shows_its_line_with_a_caret() {
    let problems = parse_plan("plan.yaml", &changed("alpha: 0.01", "alhpa: 0.01")).unwrap_err();
    let expected = "plan.yaml:9:1: error: alhpa: unknown key `alhpa`\n    9 | alhpa: 0.01\n      | \
                    ^\n  help: did you mean `alpha`?";
    assert_eq!(problems.to_string(), expected);
}
