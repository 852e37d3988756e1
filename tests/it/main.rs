//! The one integration-test binary: every test of the crate from outside is a module of it.
//!
//! One binary links once, where a file each under `tests/` would link as often as there are files.

mod architecture;
mod backtest;
mod calibrate;
mod calibration;
mod clients;
mod compare;
mod config;
mod config_webhooks;
mod daemon;
mod demo;
mod engine_life;
mod engine_reference;
mod events;
mod formats;
mod handing_over;
mod hdr_logs;
mod http;
mod http_refusals;
mod ingest;
mod judge;
mod limits_by_route;
mod limits_counted;
mod machine;
mod malformed;
mod mann_whitney;
mod native_histograms;
mod needs;
mod openapi;
mod plans;
mod prometheus;
mod pull;
mod replay;
mod replay_csv;
mod replay_increments;
mod replay_told;
mod series;
mod series_buckets;
mod series_whole;
mod shutdown;
mod side;
mod simulate;
mod support;
mod walkthrough;
mod webhook;
