//! The queries of one analysis, with its variables filled in.

use crate::engine::matching::ArmSelectors;
use crate::engine::messages::*;
use crate::engine::pull::PullQuery;
use crate::model::Arm;
use crate::plan::Pulled;

/// The queries of a metric about both arms.
pub(super) fn of(
    source: &Pulled,
    start: &Start,
    selectors: Option<&ArmSelectors>,
) -> Result<Vec<PullQuery>, Refusal> {
    let refuse = |message: String, help: &str| Refusal {
        code: RefusalCode::ArmVariableMissing,
        message,
        help: Some(help.to_owned()),
    };
    let Some(selectors) = selectors else {
        let message = "the plan's queries ask for {{arm}}, and the plan has no arms".to_owned();
        return Err(refuse(
            message,
            "write the plan's arms: with label matchers",
        ));
    };
    let mut queries = Vec::new();
    for arm in Arm::BOTH {
        for (part, template) in source.parts() {
            let text = template.fill(selectors.of(arm), &start.arms);
            let text = text.map_err(|missing| {
                refuse(missing.to_string(), "name it under \"arms\" in the request")
            })?;
            queries.push(PullQuery { arm, part, text });
        }
    }
    Ok(queries)
}
