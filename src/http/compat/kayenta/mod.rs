//! Kayenta's REST API, for those of its clients that start canaries and ask how they do: Argo Rollouts'
//! `kayenta` provider, Spinnaker's Orca and Gate, the remote judge of a Kayenta.
//!
//! Owns how Kayenta's words become davy's: a canary configuration is a plan, an execution an analysis,
//! a scope what a version is known by, `control` the baseline. The score is made of davy's decision,
//! so that no threshold of a caller can change what an answer promises. davy judges from the first
//! question on; how long is the plan's to say, or the request's where its plan is made of a configuration
//! in Kayenta's form. docs/kayenta.md says what is not here. Next: [`canary`], the executions;
//! [`standalone`]; `configured`, starts on such configurations, which [`kept`] takes and [`configs`]
//! reads; [`judge`].

pub mod canary;
pub mod configs;
mod configured;
pub mod judge;
pub mod kept;
mod result;
pub mod standalone;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::engine::AnalysisView;
use crate::http::Shared;
use crate::http::body::BodyLimit;
use crate::http::json as body;
use crate::http::problem::Problem;
use crate::model::{Decision, Timestamp};

/// The name of davy's only account, of each type that a client may name.
pub const ACCOUNT: &str = "davy";

/// A problem in Kayenta's form: its clients read `message`.
#[derive(Debug)]
pub struct Refused(pub Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Refused(problem) = self;
        let help = problem.help.clone().unwrap_or_default();
        let message = format!("{}: {}; {help}", problem.code, problem.detail);
        let body = json!({ "message": message.trim_end_matches("; ") });
        // Clients know 400 and 404 alone.
        let status = match problem.status {
            405..=428 => StatusCode::BAD_REQUEST,
            status => StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        };
        let mut response = problem.into_response();
        let told = (status, Json(body)).into_response();
        // What else the problem says, such as when to come again, stays.
        for name in ["content-type", "content-length"] {
            response.headers_mut().remove(name);
        }
        let (parts, body) = told.into_parts();
        response.headers_mut().extend(parts.headers);
        *response.status_mut() = status;
        *response.body_mut() = body;
        response
    }
}

/// Where a caller's score passes.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize, schemars::JsonSchema)]
pub struct Thresholds {
    /// Least score that passes.
    pub pass: f64,
    /// Least score that is marginal.
    pub marginal: f64,
}

/// What is asked of an execution later: its analysis, and where its caller's score passes. Who finds it
/// in a list knows nothing of a caller's.
#[derive(Debug, Clone, PartialEq)]
struct ExecutionId {
    analysis: String,
    thresholds: Option<Thresholds>,
}

// === impl Thresholds ===

impl Thresholds {
    /// Those of Kayenta's own examples.
    const USUAL: Thresholds = Thresholds {
        pass: 95.0,
        marginal: 75.0,
    };

    /// Thresholds that tell pass, marginal and fail apart.
    fn checked(self) -> Result<Thresholds, Problem> {
        let is_fit = |value: f64| (0.0..=100.0).contains(&value);
        if is_fit(self.pass) && is_fit(self.marginal) && self.marginal <= self.pass {
            return Ok(self);
        }
        let detail = "`thresholds` must be 0 <= marginal <= pass <= 100";
        Err(Problem::new("invalid_request", detail).help("give pass 95 and marginal 75"))
    }

    /// The score that each caller takes for the decision: also those that cut it to a whole number,
    /// and those to whom the marginal score itself is a fail.
    fn score_of(&self, decision: Decision) -> f64 {
        match decision {
            Decision::Promote => 100.0,
            // Between the two; where nothing is, on the safe side.
            Decision::Hold if self.pass > self.marginal => {
                let middle = (self.pass + self.marginal) / 2.0;
                if middle.floor() > self.marginal {
                    middle.floor()
                } else {
                    middle
                }
            }
            Decision::Hold => self.marginal - 1.0,
            Decision::Rollback if self.marginal > 0.0 => 0.0,
            Decision::Rollback => -1.0,
        }
    }

    fn classification(&self, decision: Decision) -> &'static str {
        match decision {
            Decision::Promote => "Pass",
            Decision::Hold if self.pass > self.marginal => "Marginal",
            Decision::Hold | Decision::Rollback => "Fail",
        }
    }
}

// === impl ExecutionId ===

impl ExecutionId {
    fn read(text: &str) -> Result<ExecutionId, Problem> {
        let parts: Vec<&str> = text.split('~').collect();
        let number = |text: &str| text.parse::<f64>().ok();
        match parts[..] {
            [analysis, pass, marginal] => {
                let thresholds = number(pass).zip(number(marginal));
                thresholds.map(|(pass, marginal)| ExecutionId {
                    analysis: analysis.to_owned(),
                    thresholds: Some(Thresholds { pass, marginal }),
                })
            }
            // As it stands in davy's own API.
            [analysis] if !analysis.is_empty() => Some(ExecutionId {
                analysis: analysis.to_owned(),
                thresholds: None,
            }),
            _ => None,
        }
        .ok_or_else(|| Problem::analysis_not_found(text))
    }

    fn text(&self) -> String {
        match self.thresholds {
            Some(Thresholds { pass, marginal }) => format!("{}~{pass}~{marginal}", self.analysis),
            None => self.analysis.clone(),
        }
    }
}

/// The limit of a document that a remote judge is asked about: 20,000 metrics of some 20 points.
const JUDGED_LIMIT: BodyLimit = BodyLimit {
    bytes_max: 8 << 20,
    name: "judged_bytes",
    setting: None,
};

/// Reads a body as JSON. Kayenta leaves fields alone that it does not know, so its clients send some.
async fn read<T: DeserializeOwned>(
    shared: &Shared,
    headers: &HeaderMap,
    given: Body,
) -> Result<T, Refused> {
    Ok(body::read(shared, headers, given, None).await?)
}

/// A time as Kayenta writes it, twice.
fn times(name: &str, at: i64) -> [(String, Value); 2] {
    [
        (format!("{name}TimeMillis"), json!(at)),
        (format!("{name}TimeIso"), json!(iso(at))),
    ]
}

/// A time as RFC 3339.
fn iso(at: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(at);
    at.map(|at| at.to_string()).unwrap_or_default()
}

/// How long an analysis has lasted, as an ISO 8601 duration.
fn duration(view: &AnalysisView, now: Timestamp) -> String {
    let end = view.final_at.unwrap_or(now.millis());
    format!("PT{}S", ((end - view.started_at) / 1_000).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_takes_the_score_for_the_decision() {
        let all = [
            (95.0, 75.0),
            (90.0, 50.0),
            (100.0, 0.0),
            (50.0, 49.0),
            (75.0, 75.0),
            (0.0, 0.0),
        ];
        for (pass, marginal) in all {
            let thresholds = Thresholds { pass, marginal }.checked().expect("fit");
            let score = |decision| thresholds.score_of(decision);
            // Argo cuts the score, and takes the marginal one for inconclusive.
            let argo = |score: f64| match score.trunc() {
                score if score >= pass => Decision::Promote,
                score if score >= marginal => Decision::Hold,
                _ => Decision::Rollback,
            };
            // Orca cuts it too, and takes the marginal one for a fail.
            let orca = |score: f64| match score.trunc() {
                score if score <= marginal => Decision::Rollback,
                score if score < pass => Decision::Hold,
                _ => Decision::Promote,
            };
            assert_eq!(argo(score(Decision::Promote)), Decision::Promote);
            assert_eq!(
                argo(score(Decision::Rollback)),
                Decision::Rollback,
                "{thresholds:?}"
            );
            assert_eq!(orca(score(Decision::Rollback)), Decision::Rollback);
            assert_ne!(argo(score(Decision::Hold)), Decision::Promote);
            assert_ne!(orca(score(Decision::Hold)), Decision::Promote);
            if pass - marginal >= 2.0 {
                assert_eq!(
                    argo(score(Decision::Hold)),
                    Decision::Hold,
                    "{thresholds:?}"
                );
                assert_eq!(
                    orca(score(Decision::Hold)),
                    Decision::Hold,
                    "{thresholds:?}"
                );
            }
        }
        for (pass, marginal) in [(101.0, 75.0), (75.0, 95.0), (f64::NAN, 0.0)] {
            assert!(Thresholds { pass, marginal }.checked().is_err());
        }
    }

    #[test]
    fn an_execution_is_found_by_what_its_id_says() {
        let id = ExecutionId {
            analysis: "an_01".to_owned(),
            thresholds: Some(Thresholds {
                pass: 90.5,
                marginal: 50.0,
            }),
        };
        assert_eq!(ExecutionId::read(&id.text()).ok(), Some(id));
        for bad in ["", "an_01~9", "an_01~a~b", "an_01~1~2~3"] {
            assert!(ExecutionId::read(bad).is_err(), "{bad}");
        }
    }
}
