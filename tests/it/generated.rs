//! Requests that schemathesis makes up from the OpenAPI document, thousands of them: none is answered
//! with a server's error, every answer is what the document says, and no route opens without a token.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::clients::python;
use crate::door::{Keys, text};

/// Longest run, in seconds.
const PATIENCE: &str = "240";
/// Requests of each kind an operation.
const EXAMPLES: &str = "25";
/// What is held against every answer. Not among them is that whatever fits a schema is taken: a plan's
/// text, a time, an address are more than their schema can say.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,ignored_auth,\
                      unsupported_method,missing_required_header";
/// A stream has no end, and it cannot make up protobuf: [`crate::malformed`] does.
const LEFT_OUT: &str = "events$|api/v1/write$";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_document_allows_is_answered_as_it_says() {
    let Some(python) = python() else {
        let _ = writeln!(
            std::io::stderr(),
            "left out: requests made up by schemathesis, which is not installed; tools/python-packages does that"
        );
        return;
    };
    let keys = Keys::new();
    let daemon = keys.daemon().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(python.with_file_name("schemathesis"));
    command
        .current_dir(folder.path())
        .arg("run")
        .arg(format!("{}/v1/openapi.json", daemon.url))
        .args(["--header", &format!("Authorization: Bearer {}", text(0))])
        .args(["--checks", CHECKS, "--max-examples", EXAMPLES])
        .args(["--exclude-path-regex", LEFT_OUT])
        .args(["--seed", "1", "--request-timeout", "40", "--no-color"])
        .args(["--max-time", PATIENCE])
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null());
    let ran = tokio::task::spawn_blocking(move || command.output()).await;
    let ran = ran.expect("it ends").expect("schemathesis runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}");
    let generated = said.lines().find_map(|line| {
        let (count, _) = line.trim().split_once(" generated")?;
        count.parse::<u32>().ok()
    });
    assert!(generated.is_some_and(|count| count > 500), "{said}");
    daemon.stop().await;
}
