//! What controllers and people do to the analyses of a scenario.

use davy::engine::Input;
use davy::engine::audit::Requester;
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
                let steps_follow = [None, Some(true), Some(false)][self.below(3) as usize];
                let by = self.somebody();
                self.push(Input::Step {
                    by,
                    analysis,
                    name,
                    weight,
                    steps_follow,
                });
            }
            3 if self.one_in(3) => {
                let by = self.somebody();
                self.push(Input::Cancel {
                    by,
                    analysis,
                    actor: Some("me".to_owned()),
                    reason: None,
                });
            }
            4 | 5 => self.push(Input::Asked { analysis }),
            6 if self.one_in(3) => {
                let to = match self.one_in(2) {
                    true => OverrideTo::Promote,
                    false => OverrideTo::Rollback,
                };
                let by = self.somebody();
                self.push(Input::Override {
                    by,
                    analysis,
                    to,
                    actor: Some("me".to_owned()),
                    reason: "so".to_owned(),
                });
            }
            _ => {}
        }
    }
    /// The holder of a token, where one is asked for.
    fn somebody(&mut self) -> Option<Requester> {
        self.one_in(2).then(|| Requester {
            token: format!("{:08x}", self.below(3)),
            name: "ci".to_owned(),
        })
    }
}
