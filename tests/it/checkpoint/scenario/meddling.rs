//! What controllers and people do to the analyses of a scenario.

use davy::engine::Input;
use davy::judge::verdict::OverrideTo;

use super::Making;

impl Making {
    /// What controllers and people do.
    pub(super) fn meddle(&mut self) {
        let analysis = format!("a{}", self.below(8));
        match self.below(9) {
            0..=2 => {
                let weight = self.one_in(2).then_some(12.5);
                let name = format!("{}%", self.below(100));
                self.push(Input::Step {
                    by: None,
                    analysis,
                    name,
                    weight,
                });
            }
            3 if self.one_in(3) => self.push(Input::Cancel {
                by: None,
                analysis,
                actor: Some("me".to_owned()),
                reason: None,
            }),
            4 | 5 => self.push(Input::Asked { analysis }),
            6 if self.one_in(3) => {
                let to = match self.one_in(2) {
                    true => OverrideTo::Promote,
                    false => OverrideTo::Rollback,
                };
                self.push(Input::Override {
                    by: None,
                    analysis,
                    to,
                    actor: Some("me".to_owned()),
                    reason: "so".to_owned(),
                });
            }
            _ => {}
        }
    }
}
