//! Why a metric's samples were refused lately: senders of series log an answer at best, so it is told
//! where a person looks.
//!
//! Owns a count and the last words by code. It decides nothing and is no part of a recording.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::messages::RefusedView;

/// The refusals of one metric. Codes are few and fixed, which bounds it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Refusals {
    by_code: BTreeMap<Cow<'static, str>, (u64, String)>,
}

// === impl Refusals ===

impl Refusals {
    /// So many samples were refused for this reason.
    pub fn note(&mut self, code: &'static str, samples: u64, message: &str) {
        let (count, last) = self.by_code.entry(Cow::Borrowed(code)).or_default();
        *count = count.saturating_add(samples);
        // Most repeat the last words.
        if last != message {
            message.clone_into(last);
        }
    }

    /// As it is shown.
    pub fn view(&self) -> Vec<RefusedView> {
        let view = |(code, (samples, message)): (&Cow<'static, str>, &(u64, String))| RefusedView {
            code: code.clone(),
            samples: *samples,
            message: message.clone(),
        };
        self.by_code.iter().map(view).collect()
    }
}
