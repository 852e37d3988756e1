//! What Kayenta's own tests assert of judging, transforms, mixing and scoring.
//!
//! Left aside: what no configuration can reach there (the k-sigma detector, Cohen's d, the classifier
//! by means, noise as such), and what is not the judge's (windows, several judgements, other programs).

use davy::codec::kayenta::rows::read_rows;
use davy::judge::kayenta::effect::effect_size;
use davy::judge::kayenta::interval::Sides;
use davy::judge::kayenta::mixing::{MetricSet, Tags, Window, mix};
use davy::judge::kayenta::score::{Scored, Weights, score};
use davy::judge::kayenta::summary::{Summary, percentile};
use davy::judge::kayenta::transform::{transform, without_outliers};
use davy::judge::kayenta::{Label, Measure, NanStrategy, Outliers, Settings};
use davy::stats::special::normal_quantile;
use serde_json::{Value, json};

use super::{is_close, number, numbers, shared_rows};

fn sides(case: &Value) -> (Vec<f64>, Vec<f64>) {
    (numbers(&case["baseline"]), numbers(&case["canary"]))
}

/// What a row allows: one number, or one a key.
fn tolerance(case: &Value, key: &str) -> f64 {
    let given = &case["params"]["tolerance_abs"];
    given.as_f64().or(given[key].as_f64()).unwrap_or(0.0)
}

fn assert_near(case: &Value, key: &str, found: f64) {
    let (name, expected) = (&case["name"], number(&case["expected"][key]));
    // Where no tolerance is given doubles are the same; a last bit may differ by the order of sums.
    let allowed = tolerance(case, key).max(1e-12);
    let near = (found - expected).abs() <= allowed || (found.is_nan() && expected.is_nan());
    assert!(near, "{name}: {key} {found} instead of {expected}");
}

#[test]
fn everything_asserted_holds_here() {
    let Some(cases) = shared_rows("kayenta_cases.json") else {
        return;
    };
    let mut checked = std::collections::BTreeMap::new();
    for case in &cases {
        let kind = case["kind"].as_str().expect("a kind");
        let held = match kind {
            "wilcoxon_diff" => statistic(case),
            "normal_quantile" => quantile(case),
            "mannwhitney" => interval(case),
            "mannwhitney_internals" => internals(case),
            "classifier_mannwhitney" => label(case),
            "effect_size" => effect(case),
            "percentile_r7" => ranked(case),
            "summary" => summary(case),
            "outlier_detector" => detected(case),
            "transform" => transformed(case),
            "score" => scored(case),
            "mixer" => mixed(case),
            _ => false,
        };
        *checked.entry(kind).or_insert(0) += usize::from(held);
    }
    let count = |kind: &str| checked.get(kind).copied().unwrap_or(0);
    assert_eq!(count("classifier_mannwhitney"), 34);
    assert_eq!(count("mannwhitney") + count("mannwhitney_internals"), 5);
    assert_eq!(count("wilcoxon_diff") + count("normal_quantile"), 3);
    assert_eq!((count("effect_size"), count("percentile_r7")), (9, 8));
    assert_eq!((count("summary"), count("outlier_detector")), (3, 4));
    assert_eq!(
        (count("transform"), count("score"), count("mixer")),
        (4, 13, 5)
    );
}

fn statistic(case: &Value) -> bool {
    let (baseline, canary) = sides(case);
    let mut sides = Sides::new(&baseline, &canary).expect("values");
    let found = sides
        .standardised(number(&case["params"]["mu"]))
        .expect("not tied");
    assert_near(case, "value", found - number(&case["params"]["quantile"]));
    true
}

fn quantile(case: &Value) -> bool {
    assert_near(case, "value", normal_quantile(number(&case["params"]["p"])));
    true
}

fn interval(case: &Value) -> bool {
    let (baseline, canary) = sides(case);
    let mut sides = Sides::new(&baseline, &canary).expect("values");
    let found = sides
        .interval(number(&case["params"]["confLevel"]))
        .expect("not tied");
    let allowed = &case["params"]["tolerance_abs"];
    for (key, found) in [
        ("ci_low", found.low),
        ("ci_high", found.high),
        ("estimate", found.estimate),
    ] {
        let allowed = number(&allowed[if key == "estimate" { key } else { "ci" }]);
        let expected = number(&case["expected"][key]);
        assert!(
            (found - expected).abs() <= allowed,
            "{}: {key} {found} {expected}",
            case["name"]
        );
    }
    true
}

fn internals(case: &Value) -> bool {
    let (baseline, canary) = sides(case);
    let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = (
        least(&canary) - most(&baseline),
        most(&canary) - least(&baseline),
    );
    assert_near(case, "mu_min", low);
    assert_near(case, "mu_max", high);
    let mut sides = Sides::new(&baseline, &canary).expect("values");
    let ends = [low, high].map(|shift| sides.standardised(shift).expect("not tied"));
    let z = number(&case["expected"]["zq_lower"]);
    assert_near(case, "f_lower_1", ends[0] - z);
    assert_near(case, "f_upper_1", ends[1] - z);
    assert_near(case, "f_lower_2", ends[0] + z);
    assert_near(case, "f_upper_2", ends[1] + z);
    let found = sides
        .interval(number(&case["params"]["confLevel"]))
        .expect("not tied");
    assert_near(case, "ci_low", found.low);
    assert_near(case, "ci_high", found.high);
    // Above its upper end, as it is there.
    assert!(found.low > found.high);
    true
}

fn row(case: &Value) -> davy::codec::kayenta::rows::Row {
    let text = serde_json::to_string(&[case]).expect("JSON");
    read_rows(text.as_bytes()).expect("a row").remove(0)
}

fn label(case: &Value) -> bool {
    let answer = serde_json::to_value(row(case).judge()).expect("JSON");
    let expected = &case["expected"];
    for key in ["classification", "critical"] {
        if let Some(expected) = expected.get(key) {
            assert_eq!(&answer[key], expected, "{}: {key}", case["name"]);
        }
    }
    if expected.get("deviation").is_some() {
        assert_near(case, "deviation", number(&answer["deviation"]));
    }
    if expected["reason_nonempty"] == true {
        let judged = davy::judge::kayenta::judge_pair(&[], &[], &row(case).settings());
        let why = judged.classified.reason.expect("a reason");
        assert!(!why.sentence("metric").is_empty());
    }
    true
}

fn effect(case: &Value) -> bool {
    let measure = match case["params"]["measure"].as_str() {
        Some("meanRatio") => Measure::MeanRatio,
        Some("cles") => Measure::Cles,
        _ => return false,
    };
    let (baseline, canary) = sides(case);
    assert_near(case, "value", effect_size(measure, &baseline, &canary));
    true
}

fn ranked(case: &Value) -> bool {
    let mut values = numbers(&case["canary"]);
    values.sort_by(f64::total_cmp);
    assert_near(
        case,
        "value",
        percentile(&values, number(&case["params"]["p"])),
    );
    true
}

fn summary(case: &Value) -> bool {
    let found = Summary::of(&numbers(&case["canary"]));
    assert_near(case, "min", found.min);
    assert_near(case, "max", found.max);
    assert_near(case, "mean", found.mean);
    assert_near(case, "std", found.std);
    assert_near(case, "count", found.count as f64);
    true
}

fn fences(case: &Value) -> Option<Outliers> {
    let params = &case["params"];
    (params["detector"] == "iqr").then(|| Outliers {
        factor: number(&params["factor"]),
        reduce_sensitivity: params["reduceSensitivity"] == true,
    })
}

fn detected(case: &Value) -> bool {
    let Some(outliers) = fences(case) else {
        return false;
    };
    let values = numbers(&case["canary"]);
    let flags = case["expected"]["is_outlier"].as_array().expect("flags");
    let inside = values.iter().zip(flags).filter(|(_, flag)| **flag == false);
    let inside: Vec<f64> = inside.map(|(value, _)| *value).collect();
    assert_eq!(
        without_outliers(values, outliers),
        inside,
        "{}",
        case["name"]
    );
    true
}

fn transformed(case: &Value) -> bool {
    let values = numbers(&case["canary"]);
    let with = |nan_strategy| Settings {
        nan_strategy,
        ..Settings::default()
    };
    let found = match case["params"]["op"].as_str() {
        Some("removeNaNs") => transform(&values, &with(NanStrategy::Remove)),
        Some("replaceNaNs") => transform(&values, &with(NanStrategy::Replace)),
        Some("removeOutliers") => match fences(case) {
            Some(outliers) => without_outliers(values, outliers),
            None => return false,
        },
        _ => return false,
    };
    assert_eq!(
        found,
        numbers(&case["expected"]["values"]),
        "{}",
        case["name"]
    );
    true
}

fn label_named(name: &Value) -> Label {
    let labels = [
        Label::Pass,
        Label::High,
        Label::Low,
        Label::Nodata,
        Label::NodataFailMetric,
        Label::Error,
    ];
    let named = labels.into_iter().find(|label| *name == label.as_str());
    named.expect("a label")
}

fn scored(case: &Value) -> bool {
    let params = &case["params"];
    let weights: Weights = serde_json::from_value(params["groupWeights"].clone()).expect("weights");
    let metrics = params["metrics"].as_array().expect("metrics");
    let groups: Vec<Vec<String>> = metrics
        .iter()
        .map(|metric| serde_json::from_value(metric["groups"].clone()).expect("names"))
        .collect();
    let results: Vec<Scored<'_>> = metrics
        .iter()
        .zip(&groups)
        .map(|(metric, groups)| Scored {
            label: label_named(&metric["classification"]),
            critical: metric["critical"] == true,
            muted: metric["muted"] == true,
            groups,
            reason: "",
        })
        .collect();
    let found = score(&results, &weights);
    assert_near(case, "summaryScore", found.score);
    if let Some(expected) = case["expected"].get("groupScores_sorted") {
        let mut scores: Vec<f64> = found.groups.iter().map(|group| group.score).collect();
        scores.sort_by(f64::total_cmp);
        assert_eq!(scores, numbers(expected), "{}", case["name"]);
    }
    true
}

fn mixed(case: &Value) -> bool {
    let params = &case["params"];
    let tags = |key: &str| -> Tags {
        let given = params.get(key).unwrap_or(&case["expected"]["tags"]);
        serde_json::from_value(given.clone()).unwrap_or_default()
    };
    let whole = |key: &str| params[key].as_i64().unwrap_or(0);
    let set = |arm: &str| MetricSet {
        name: "cpu".to_owned(),
        tags: tags(&format!("{arm}_tags")),
        window: Window {
            start_millis: whole("startTimeMillis"),
            end_millis: whole("endTimeMillis"),
            start_iso: None,
        },
        step_millis: whole("stepMillis"),
        values: numbers(&case[arm]),
        attributes: Tags::new(),
    };
    let pairs = mix(["cpu"], &[set("baseline")], &[set("canary")], || {
        "id".to_owned()
    });
    let pairs = pairs.expect("paired");
    assert_eq!(pairs.len(), 1, "{}", case["name"]);
    for (arm, found) in [
        ("baseline", &pairs[0].baseline),
        ("canary", &pairs[0].canary),
    ] {
        let expected = numbers(&case["expected"][arm]);
        let same = expected.len() == found.values.len()
            && expected
                .iter()
                .zip(&found.values)
                .all(|(e, f)| is_close(*f, *e));
        assert!(same, "{}: {arm} {:?}", case["name"], found.values);
    }
    if let Some(expected) = case["expected"].get("tags") {
        assert_eq!(&json!(pairs[0].tags), expected, "{}", case["name"]);
    }
    true
}

#[test]
fn bounds_of_the_asserted_cases_are_those_observed() {
    let (Some(cases), Some(derived)) = (
        shared_rows("kayenta_cases.json"),
        shared_rows("kayenta_cases_derived.json"),
    ) else {
        return;
    };
    let mut checked = 0;
    for derived in &derived {
        let index = derived["case_index"].as_u64().expect("an index") as usize;
        let (case, expected) = (&cases[index], &derived["kayenta_observed"]);
        let (baseline, canary) = sides(case);
        let constant = |values: &[f64]| values.iter().all(|value| *value == values[0]);
        // Noise is put on these; only their labels can agree.
        let is_noisy = constant(&baseline) && constant(&canary);
        if expected.get("ci_low").is_none() || is_noisy {
            continue;
        }
        let confidence = number(&derived["confLevel"]);
        let found = Sides::new(&baseline, &canary)
            .expect("values")
            .interval(confidence);
        let found = found.expect("not tied");
        for (key, found) in [
            ("ci_low", found.low),
            ("ci_high", found.high),
            ("estimate", found.estimate),
        ] {
            let expected = number(&expected[key]);
            assert!(
                is_close(found, expected),
                "{}: {key} {found} {expected}",
                case["name"]
            );
        }
        checked += 1;
    }
    assert!(checked >= 25, "{checked}");
}

/// The three end-to-end cases: uniform draws a second apart, one critical metric or two.
#[test]
fn end_to_end_cases_come_to_their_scores() {
    let Some(cases) = shared_rows("kayenta_cases.json") else {
        return;
    };
    let of_kind = cases
        .iter()
        .filter(|case| case["kind"] == "e2e_distribution");
    let mut checked = 0;
    for case in of_kind {
        let params = &case["params"];
        let one = json!([{"name": "cpu", "baseline_uniform": params["baseline_uniform"],
                          "canary_uniform": params["canary_uniform"]}]);
        let metrics = params
            .get("metrics")
            .unwrap_or(&one)
            .as_array()
            .expect("metrics")
            .clone();
        let result = judged_uniform(params, &metrics);
        let expected = &case["expected"];
        let passes = expected["didPassThresholds"] == true;
        assert_eq!(
            result["score"]["classification"] == "Pass",
            passes,
            "{}",
            case["name"]
        );
        for (index, metric) in metrics.iter().enumerate() {
            let name = metric["name"].as_str().expect("a name");
            let expected = expected["classifications"]
                .get(name)
                .unwrap_or(&expected["classification"]);
            assert_eq!(
                &result["results"][index]["classification"], expected,
                "{}",
                case["name"]
            );
        }
        checked += 1;
    }
    assert_eq!(checked, 3);
}

fn judged_uniform(params: &Value, metrics: &[Value]) -> Value {
    use davy::codec::kayenta::{ScoreThresholds, judge};
    let mut stream = davy::stats::sampler::Stream::new(&[7; 32], 0);
    let mut draws = |range: &Value| -> Vec<f64> {
        let (low, high) = (number(&range[0]), number(&range[1]));
        (0..60)
            .map(|_| low + (high - low) * stream.uniform())
            .collect()
    };
    let pairs: Vec<Value> = metrics
        .iter()
        .map(|metric| {
            let (control, experiment) =
                (draws(&metric["baseline_uniform"]), draws(&metric["canary_uniform"]));
            json!({"name": metric["name"], "values": {"control": control, "experiment": experiment}})
        })
        .collect();
    let configured: Vec<Value> = metrics
        .iter()
        .map(|metric| {
            let canary = json!({"direction": params["direction"], "critical": params["critical"],
                                "muted": metric["muted"]});
            json!({"name": metric["name"], "groups": ["pod-group"],
                   "analysisConfigurations": {"canary": canary}})
        })
        .collect();
    let config =
        json!({"metrics": configured, "classifier": {"groupWeights": params["groupWeights"]}});
    let config = serde_json::from_value(config).expect("a configuration");
    let pairs: Vec<_> = pairs
        .into_iter()
        .map(|pair| serde_json::from_value(pair).expect("a pair"))
        .collect();
    let thresholds = ScoreThresholds {
        pass: number(&params["pass"]),
        marginal: number(&params["marginal"]),
    };
    let result = judge(&config, thresholds, &pairs).expect("judged");
    serde_json::to_value(result).expect("JSON")
}
