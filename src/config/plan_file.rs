//! STUB
#![allow(missing_docs)]
use super::problem::{Problem, Problems};
pub struct Parsed {
    pub plan: crate::plan::Plan,
    pub warnings: Vec<Problem>,
}
pub fn parse_plan(source_name: &str, text: &str) -> Result<Parsed, Problems> {
    serde_json::from_str(text)
        .map(|plan| Parsed {
            plan,
            warnings: vec![],
        })
        .map_err(|e| {
            Problems(vec![Problem {
                file: source_name.into(),
                line: e.line(),
                column: e.column(),
                path: String::new(),
                message: e.to_string(),
                help: None,
            }])
        })
}
pub fn parse_plan_value(value: &serde_json::Value) -> Result<Parsed, Problems> {
    parse_plan("plan", &value.to_string())
}
