//! How a source answers about one metric, and that it has nothing of it.
//!
//! Owns the words for people. What an answer adds is its parent's.

use serde::{Deserialize, Serialize};

use crate::engine::pull::{PullQuery, PulledPart, PulledView};
use crate::model::{Arm, Timestamp};

/// Characters kept of what a source said.
const SAID_CHARS_MAX: usize = 300;
/// Characters shown of a query.
const QUERY_CHARS_MAX: usize = 200;

/// One metric.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Health {
    view: PulledView,
    /// By arm, a query about it for as long as none of them has matched a series.
    unmatched: [Option<Box<str>>; 2],
}

// === impl Health ===

impl Health {
    /// Nothing asked yet.
    pub fn new(metric: &str, queries: &[PullQuery]) -> Health {
        // The last one, all of a ratio: that there are no bad events is no mistake.
        let of = |arm: Arm| queries.iter().rfind(|query| query.arm == arm);
        let text = |arm| of(arm).map(|query| one_line(&query.text, QUERY_CHARS_MAX).into());
        Health {
            view: PulledView {
                metric: metric.to_owned(),
                ..PulledView::default()
            },
            unmatched: Arm::BOTH.map(text),
        }
    }

    /// As it is shown.
    pub fn view(&self) -> PulledView {
        self.view.clone()
    }

    pub fn fail(&mut self, why: &str) {
        self.view.failures = self.view.failures.saturating_add(1);
        self.view.last_error = Some(one_line(why, SAID_CHARS_MAX));
    }

    pub fn succeed(&mut self, answers: &[PulledPart], warning: Option<&str>, now: Timestamp) {
        self.view.last_success = Some(now.millis());
        self.view.failures = 0;
        self.view.last_error = None;
        self.view.warning = warning.map(|warning| one_line(warning, SAID_CHARS_MAX));
        for answer in answers.iter().filter(|answer| !answer.batch.is_empty()) {
            self.unmatched[answer.arm.index()] = None;
        }
    }

    /// That a source which answers has not had a series of an arm: nothing fails then, and nothing
    /// comes.
    pub fn hint(&self) -> Option<String> {
        self.view.last_success?;
        let about = match &self.unmatched {
            [Some(_), Some(_)] => "either arm",
            [Some(_), None] => "the baseline",
            [None, Some(_)] => "the canary",
            [None, None] => return None,
        };
        let query = self.unmatched.iter().flatten().next_back()?;
        Some(format!(
            "the source answers, and its queries about {about} have returned no series so far: {query}; check the names in it and the plan's arms"
        ))
    }
}

fn one_line(text: &str, chars_max: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(chars_max).collect()
}
