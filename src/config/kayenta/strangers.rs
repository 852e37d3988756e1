//! Keys that Kayenta passes over in silence: slips, most often.
//!
//! Owns the keys that it knows. Queries are told by type; of a type that is not known all keys are
//! taken.

use serde_json::Value;

use crate::config::problem::nearest;

const CONFIG: &[&str] = &[
    "name",
    "id",
    "description",
    "configVersion",
    "applications",
    "judge",
    "templates",
    "metrics",
    "classifier",
    "createdTimestamp",
    "updatedTimestamp",
    "createdTimestampIso",
    "updatedTimestampIso",
];
const JUDGE: &[&str] = &["name", "judgeConfigurations"];
const CLASSIFIER: &[&str] = &["groupWeights", "scoreThresholds"];
const THRESHOLDS: &[&str] = &["pass", "marginal"];
const METRIC: &[&str] = &[
    "name",
    "query",
    "groups",
    "analysisConfigurations",
    "scopeName",
];
const CANARY: &[&str] = &[
    "direction",
    "nanStrategy",
    "critical",
    "mustHaveData",
    "muted",
    "effectSize",
    "outliers",
];
const EFFECT: &[&str] = &[
    "measure",
    "allowedIncrease",
    "allowedDecrease",
    "criticalIncrease",
    "criticalDecrease",
];
const OUTLIERS: &[&str] = &["strategy", "outlierFactor"];
/// Keys of queries, by type; `type` is one of all.
const QUERIES: &[(&str, &[&str])] = &[
    ("atlas", &["q"]),
    (
        "datadog",
        &["metricName", "customInlineTemplate", "customFilterTemplate"],
    ),
    ("graphite", &["metricName"]),
    (
        "influxdb",
        &["metricName", "fields", "customInlineTemplate"],
    ),
    (
        "newrelic",
        &[
            "q",
            "select",
            "customInlineTemplate",
            "customFilterTemplate",
        ],
    ),
    (
        "prometheus",
        &[
            "resourceType",
            "metricName",
            "labelBindings",
            "groupByFields",
            "customInlineTemplate",
            "customFilterTemplate",
        ],
    ),
    (
        "signalfx",
        &[
            "metricName",
            "queryPairs",
            "aggregationMethod",
            "customInlineTemplate",
            "customFilterTemplate",
        ],
    ),
    (
        "stackdriver",
        &[
            "resourceType",
            "metricType",
            "crossSeriesReducer",
            "perSeriesAligner",
            "groupByFields",
            "customInlineTemplate",
            "customFilterTemplate",
        ],
    ),
    ("wavefront", &["metricName", "summarization", "aggregate"]),
];

/// A sentence for each key that means nothing.
pub(super) fn of(config: &Value) -> Vec<String> {
    let mut found = Vec::new();
    look(config, "", CONFIG, &mut found);
    look(&config["judge"], "judge.", JUDGE, &mut found);
    look(&config["classifier"], "classifier.", CLASSIFIER, &mut found);
    let thresholds = &config["classifier"]["scoreThresholds"];
    look(
        thresholds,
        "classifier.scoreThresholds.",
        THRESHOLDS,
        &mut found,
    );
    let metrics = config["metrics"].as_array().into_iter().flatten();
    for (index, metric) in metrics.enumerate() {
        let at = format!("metrics[{index}].");
        look(metric, &at, METRIC, &mut found);
        let query = &metric["query"];
        let kind = query["type"].as_str().unwrap_or_default();
        if let Some((_, keys)) = QUERIES.iter().find(|(name, _)| *name == kind) {
            let keys: Vec<&str> = keys
                .iter()
                .copied()
                .chain(["type", "serviceType"])
                .collect();
            look(query, &format!("{at}query."), &keys, &mut found);
        }
        let analysis = &metric["analysisConfigurations"];
        look(
            analysis,
            &format!("{at}analysisConfigurations."),
            &["canary"],
            &mut found,
        );
        let canary = &analysis["canary"];
        let at = format!("{at}analysisConfigurations.canary.");
        look(canary, &at, CANARY, &mut found);
        look(
            &canary["effectSize"],
            &format!("{at}effectSize."),
            EFFECT,
            &mut found,
        );
        look(
            &canary["outliers"],
            &format!("{at}outliers."),
            OUTLIERS,
            &mut found,
        );
    }
    found
}

fn look(value: &Value, at: &str, known: &[&str], found: &mut Vec<String>) {
    let keys = value.as_object().into_iter().flat_map(|map| map.keys());
    for key in keys.filter(|key| !known.contains(&key.as_str())) {
        let meant = nearest(key, known.iter().copied());
        let meant = meant.map_or_else(String::new, |word| format!("; did you mean {word}?"));
        let key: String = key
            .chars()
            .filter(|char| !char.is_control())
            .take(80)
            .collect();
        found.push(format!(
            "{at}{key} is no key of Kayenta's, and meant nothing there{meant}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn slips_are_told_with_their_place_and_what_is_known_is_not() {
        let config = json!({
            "name": "x", "lookbackMins": 5, "classifier": {"groupWeight": {}},
            "metrics": [{"name": "m", "query": {"type": "prometheus", "metricname": "a"},
                "analysisConfigurations": {"canary": {"direcion": "up", "effectSize": {"allowedincrease": 1}}}}],
        });
        let found = of(&config);
        let starts: Vec<&str> = found
            .iter()
            .map(|line| line.split(" is").next().unwrap_or(""))
            .collect();
        assert_eq!(
            starts,
            [
                "lookbackMins",
                "classifier.groupWeight",
                "metrics[0].query.metricname",
                "metrics[0].analysisConfigurations.canary.direcion",
                "metrics[0].analysisConfigurations.canary.effectSize.allowedincrease",
            ]
        );
        assert!(
            found[1].ends_with("did you mean groupWeights?"),
            "{}",
            found[1]
        );
        assert_eq!(
            of(&json!({"metrics": [{"query": {"type": "own", "x": 1}}, 3]})),
            Vec::<String>::new()
        );
    }
}
