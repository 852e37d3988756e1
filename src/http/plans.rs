//! The plans that analyses are started on by their names.
//!
//! Owns that a request sees those of one moment. Where they come from is `app::planning`'s.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::plan::Plan;

/// Plans by name, which may change while davy runs.
#[derive(Debug, Default)]
pub struct Plans(RwLock<Arc<BTreeMap<String, Arc<Plan>>>>);

// === impl Plans ===

impl Plans {
    /// These.
    pub fn new(plans: BTreeMap<String, Arc<Plan>>) -> Plans {
        Plans(RwLock::new(Arc::new(plans)))
    }

    /// Those of now.
    pub fn current(&self) -> Arc<BTreeMap<String, Arc<Plan>>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Others from now on.
    pub fn replace(&self, plans: BTreeMap<String, Arc<Plan>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plans);
    }
}
