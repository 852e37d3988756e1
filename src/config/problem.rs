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
impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for p in &self.0 {
            writeln!(
                f,
                "{}:{}:{}: error: {}",
                p.file, p.line, p.column, p.message
            )?;
        }
        Ok(())
    }
}
