//! Export requests in the JSON form.
//!
//! Owns an encoder made from the definition (OpenTelemetry Protocol 1.x, "JSON Protobuf Encoding"):
//! 64-bit numbers in quotes, enums as numbers, fields that hold nothing left out, and a field that
//! nobody knows.

use super::encode::{Any, Attributes, Body, DataPoint, Kind, Metric, Order, Request, Scope};

impl Request {
    pub fn json(&self, order: Order) -> Vec<u8> {
        let resources = self.0.iter().map(|resource| {
            let owner = [("attributes", json_attributes(&resource.attributes, order))];
            let scopes = resource.scopes.iter().map(|scope| scope.json(order));
            object(
                order,
                [
                    ("resource", object(order, owner)),
                    ("scopeMetrics", list(scopes)),
                    ("schemaUrl", text("https://schema")),
                    ("notYetInvented", "{\"a\":[1,null]}".into()),
                ],
            )
        });
        object(order, [("resourceMetrics", list(resources))]).into_bytes()
    }
}

impl Scope {
    fn json(&self, order: Order) -> String {
        let owner = [
            ("name", text(&self.name)),
            ("version", text(&self.version)),
            ("attributes", json_attributes(&self.attributes, order)),
        ];
        let metrics = list(self.metrics.iter().map(|metric| metric.json(order)));
        object(
            order,
            [("scope", object(order, owner)), ("metrics", metrics)],
        )
    }
}

impl Metric {
    fn json(&self, order: Order) -> String {
        let key = match self.kind {
            Kind::Gauge => "gauge",
            Kind::Sum => "sum",
            Kind::Histogram => "histogram",
            Kind::Exponential => "exponentialHistogram",
            Kind::Summary => "summary",
        };
        let mut data = Vec::new();
        if !matches!(self.kind, Kind::Gauge | Kind::Summary) {
            data.push(("aggregationTemporality", self.temporality.to_string()));
        }
        // What is not so need not be said.
        if self.kind == Kind::Sum && self.is_monotonic {
            data.push(("isMonotonic", "true".into()));
        }
        data.push((
            "dataPoints",
            list(self.points.iter().map(|point| point.json(order))),
        ));
        let mut fields = vec![
            ("name", text(&self.name)),
            ("description", text("what it is")),
        ];
        if !self.unit.is_empty() {
            fields.push(("unit", text(&self.unit)));
        }
        fields.push((key, object(order, data)));
        object(order, fields)
    }
}

impl DataPoint {
    fn json(&self, order: Order) -> String {
        let mut fields = vec![
            ("attributes", json_attributes(&self.attributes, order)),
            ("startTimeUnixNano", text(&self.start.to_string())),
            ("timeUnixNano", text(&self.nanos.to_string())),
            ("flags", self.flags.to_string()),
        ];
        let numbers = |numbers: &[u64]| list(numbers.iter().map(|n| text(&n.to_string())));
        match &self.body {
            Body::Nothing => {}
            Body::Int(value) => fields.push(("asInt", text(&value.to_string()))),
            Body::Double(value) => fields.push(("asDouble", json_double(*value))),
            Body::Explicit {
                count,
                sum,
                counts,
                bounds,
            } => {
                fields.extend(sum.map(|sum| ("sum", json_double(sum))));
                fields.push(("count", text(&count.to_string())));
                fields.push(("bucketCounts", numbers(counts)));
                let bounds = bounds.iter().map(|bound| json_double(*bound));
                fields.push(("explicitBounds", list(bounds)));
            }
            Body::Exponential {
                sum,
                scale,
                zero_count,
                zero_threshold,
                positive,
                negative,
            } => {
                let side = |(offset, counts): &(i32, Vec<u64>)| {
                    let offset = ("offset", offset.to_string());
                    object(order, [offset, ("bucketCounts", numbers(counts))])
                };
                fields.extend(sum.map(|sum| ("sum", json_double(sum))));
                fields.push(("scale", scale.to_string()));
                fields.push(("zeroCount", text(&zero_count.to_string())));
                fields.push(("zeroThreshold", json_double(*zero_threshold)));
                fields.push(("positive", side(positive)));
                fields.push(("negative", side(negative)));
            }
        }
        object(order, fields)
    }
}

fn text(text: &str) -> String {
    serde_json::to_string(text).expect("text")
}

fn json_double(value: f64) -> String {
    match value {
        f64::INFINITY => text("Infinity"),
        f64::NEG_INFINITY => text("-Infinity"),
        _ if value.is_nan() => text("NaN"),
        _ => format!("{value:?}"),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn object<'k>(order: Order, fields: impl IntoIterator<Item = (&'k str, String)>) -> String {
    let mut fields: Vec<String> = fields
        .into_iter()
        .map(|(key, value)| format!("{}: {value}", text(key)))
        .collect();
    if order == Order::Backwards {
        fields.reverse();
    }
    format!("{{{}}}", fields.join(", "))
}

fn json_attributes(pairs: &Attributes, order: Order) -> String {
    list(pairs.iter().map(|(key, value)| {
        let pair = [("key", text(key)), ("value", json_any(value, order))];
        object(order, pair)
    }))
}

fn json_any(value: &Any, order: Order) -> String {
    let (key, value) = match value {
        Any::Text(value) => ("stringValue", text(value)),
        Any::Truth(truth) => ("boolValue", truth.to_string()),
        Any::Int(number) => ("intValue", text(&number.to_string())),
        Any::Double(number) => ("doubleValue", json_double(*number)),
        Any::List(values) => {
            let values = list(values.iter().map(|value| json_any(value, order)));
            ("arrayValue", object(order, [("values", values)]))
        }
        Any::Map(pairs) => {
            let values = json_attributes(pairs, order);
            ("kvlistValue", object(order, [("values", values)]))
        }
        Any::Bytes(_, base64) => ("bytesValue", text(base64)),
        Any::Nothing => return "{}".into(),
    };
    object(order, [(key, value)])
}
