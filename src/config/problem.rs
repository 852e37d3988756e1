//! STUB
#![allow(missing_docs)]
#[derive(Debug, Clone)]
pub struct Problem {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub path: String,
    pub message: String,
    pub help: Option<String>,
}
#[derive(Debug, Clone)]
pub struct Problems(pub Vec<Problem>);
