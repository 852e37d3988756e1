//! The routes that take samples and series.
//!
//! Owns their descriptions. What they do is `samples`' and `series`'.

use axum::routing::post;

use super::{JSON, Route, object, sample, schema, text};
use crate::http::door::Asks;
use crate::http::samples::{self, SamplesAnswer};
use crate::http::series;
use crate::tokens::Scope;

pub(super) fn routes() -> Vec<Route> {
    vec![
        send_samples(),
        write_series(),
        export_metrics(),
        send_exposition(),
        send_intervals(),
    ]
}

fn write_series() -> Route {
    Route {
        path: "/api/v1/write",
        method: "post",
        operation: "writeSeries",
        summary: "Prometheus remote-write 1.0 and 2.0; a refused series is told with 400, the others are taken",
        asks: Asks::Scope(Scope::Ingest),
        query: &[],
        headers: &[("Content-Encoding", "snappy")],
        request: Some((&["application/x-protobuf"], text)),
        answers: &[(204, "", text)],
        problems: &["empty_body", "too_many_samples"],
        timed: false,
        handler: post(series::write),
    }
}

fn export_metrics() -> Route {
    Route {
        path: "/v1/metrics",
        method: "post",
        operation: "exportMetrics",
        summary: "OTLP over HTTP; refused data points are told as partial success",
        asks: Asks::Scope(Scope::Ingest),
        query: &[],
        headers: &[("Content-Encoding", "gzip or zstd")],
        request: Some((&["application/x-protobuf", JSON], text)),
        answers: &[(200, "application/x-protobuf", text), (200, JSON, object)],
        problems: &["too_many_samples"],
        timed: false,
        handler: post(series::metrics),
    }
}

fn send_exposition() -> Route {
    Route {
        path: "/v1/exposition",
        method: "post",
        operation: "sendExposition",
        summary: "OpenMetrics or Prometheus text; each bad line is refused by itself",
        asks: Asks::Scope(Scope::Ingest),
        query: &[],
        headers: &[("Content-Encoding", "gzip or zstd")],
        request: Some((&["text/plain", "application/openmetrics-text"], text)),
        answers: &[(200, JSON, schema::<SamplesAnswer>)],
        problems: &["empty_body", "malformed_text", "too_many_samples"],
        timed: false,
        handler: post(series::exposition),
    }
}

fn send_intervals() -> Route {
    Route {
        path: "/v1/hdr",
        method: "post",
        operation: "sendIntervals",
        summary: "An HdrHistogram interval log (.hlog) of one series; each bad line is refused by itself",
        asks: Asks::Scope(Scope::Ingest),
        query: &[
            (
                "series",
                "name and labels of the series, as in name{version=\"2\"}",
            ),
            (
                "divisor",
                "values are divided by it: 1000000 makes milliseconds of nanoseconds; 1 unless given",
            ),
        ],
        headers: &[("Content-Encoding", "gzip or zstd")],
        request: Some((&["text/plain"], text)),
        answers: &[(200, JSON, schema::<SamplesAnswer>)],
        problems: &[
            "empty_body",
            "invalid_parameter",
            "malformed_text",
            "too_many_samples",
        ],
        timed: false,
        handler: post(series::intervals),
    }
}

fn send_samples() -> Route {
    Route {
        path: "/v1/samples",
        method: "post",
        operation: "sendSamples",
        summary: "Send samples; each bad one is refused by itself",
        asks: Asks::Scope(Scope::Ingest),
        query: &[],
        headers: &[("Content-Encoding", "gzip or zstd")],
        request: Some((&["application/x-ndjson", JSON], sample)),
        answers: &[(200, JSON, schema::<SamplesAnswer>)],
        problems: &["empty_body", "too_many_samples"],
        timed: false,
        handler: post(samples::take),
    }
}
