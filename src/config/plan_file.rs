//! STUB
/// p
pub struct Parsed {
    /// p
    pub plan: crate::plan::Plan,
}
/// p
pub fn parse_plan(_s: &str, t: &str) -> Result<Parsed, String> {
    serde_json::from_str(t)
        .map(|plan| Parsed { plan })
        .map_err(|e| e.to_string())
}
