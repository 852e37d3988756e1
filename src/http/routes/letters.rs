//! The routes of notifications that were given up.

use axum::routing::{get, post};

use super::{JSON, Route, schema};
use crate::http::dead_letters::{self, DeadLettersAnswer, RedeliveryAnswer};
use crate::http::door::Asks;
use crate::tokens::Scope;

pub(super) fn routes() -> Vec<Route> {
    vec![list(), redeliver_one(), redeliver_all()]
}

fn list() -> Route {
    Route {
        path: "/v1/dead-letters",
        method: "get",
        operation: "listDeadLetters",
        summary: "List notifications that were given up, newest first",
        asks: Asks::Scope(Scope::Read),
        query: &[
            ("endpoint", "only those to the webhook of this name"),
            ("limit", "letters on a page, 1 to 200; 50 unless given"),
            ("cursor", "`next` of the page before"),
        ],
        headers: &[],
        request: None,
        answers: &[(200, JSON, schema::<DeadLettersAnswer>)],
        problems: &["store_failed"],
        timed: true,
        handler: get(dead_letters::list),
    }
}

fn redeliver_one() -> Route {
    Route {
        path: "/v1/dead-letters/{id}/redeliver",
        method: "post",
        operation: "redeliver",
        summary: "Send a notification again that was given up, under its id; twice is once",
        asks: Asks::Scope(Scope::Control),
        query: &[],
        headers: &[],
        request: None,
        answers: &[(200, JSON, schema::<RedeliveryAnswer>)],
        problems: &[
            "dead_letter_not_found",
            "webhook_not_configured",
            "webhook_queue_full",
            "store_failed",
        ],
        timed: false,
        handler: post(dead_letters::redeliver_one),
    }
}

fn redeliver_all() -> Route {
    Route {
        path: "/v1/dead-letters/redeliver",
        operation: "redeliverAll",
        summary: "Send all notifications to a webhook again that were given up",
        query: &[("endpoint", "name of the webhook; it must be given")],
        problems: &["webhook_not_configured", "store_failed"],
        handler: post(dead_letters::redeliver_all),
        ..redeliver_one()
    }
}
