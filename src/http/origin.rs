//! Who sent a browser here.
//!
//! Owns the guard against web pages. davy listens on loopback without asking who calls, and every
//! page can make its reader's browser call loopback: directly, or, with a name of its own that it
//! lets point to 127.0.0.1, as if it were the same site (DNS rebinding). Programs send none of the
//! headers of a browser. It must not know what is asked.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderName, header};

use super::problem::Problem;

/// How a browser says where the page came from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what a page from elsewhere makes a browser ask. `host_names` are the names under which
/// davy may be called besides addresses and `localhost`; `None` takes every name.
///
/// # Errors
/// `cross_site` or `unknown_host`.
pub fn check(request: &Request, host_names: Option<&[String]>) -> Result<(), Problem> {
    let text = |name| {
        let value = request.headers().get(name);
        value.map(|value| value.to_str().unwrap_or("?"))
    };
    let host = text(header::HOST);
    let sent_from_elsewhere = matches!(text(FETCH_SITE), Some("cross-site" | "same-site"));
    // `null` is the origin of what has none of its own, such as a sandboxed frame.
    let is_foreign = |origin: &str| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        !authority
            .zip(host)
            .is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
    };
    if sent_from_elsewhere || text(header::ORIGIN).is_some_and(is_foreign) {
        let detail = "a page of another site made a browser ask this";
        return Err(
            Problem::new("cross_site", detail).help("davy answers programs; call it from one")
        );
    }
    let (Some(host), Some(names)) = (host, host_names) else {
        return Ok(());
    };
    if is_local(host, names) {
        return Ok(());
    }
    let shown: String = host.chars().take(80).collect();
    let detail = format!("davy listens on loopback and was called as {shown:?}");
    Err(Problem::new("unknown_host", detail)
        .help("call it as 127.0.0.1 or localhost, or add the name to server.host_names"))
}

fn is_local(host: &str, names: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    let known = |known: &String| known.eq_ignore_ascii_case(name);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok()
        || names.iter().any(known)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn code(headers: &[(&str, &str)], names: Option<&[String]>) -> &'static str {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("valid");
        check(&request, names).map_or_else(|problem| problem.code, |()| "answered")
    }

    #[test]
    fn what_a_page_from_elsewhere_asks_is_refused() {
        let cases: [(&[(&str, &str)], &str); 8] = [
            (&[("host", "127.0.0.1:8088")], "answered"),
            (&[("host", "h"), ("origin", "http://h")], "answered"),
            (&[("host", "h:80"), ("origin", "https://H:80")], "answered"),
            (&[("host", "h:80"), ("origin", "http://h:81")], "cross_site"),
            (&[("host", "h"), ("origin", "null")], "cross_site"),
            (&[("origin", "http://h")], "cross_site"),
            (
                &[("host", "h"), ("sec-fetch-site", "same-site")],
                "cross_site",
            ),
            (
                &[("host", "h"), ("sec-fetch-site", "same-origin")],
                "answered",
            ),
        ];
        for (headers, expected) in cases {
            assert_eq!(code(headers, None), expected, "{headers:?}");
        }
    }

    #[test]
    fn on_loopback_a_strange_name_is_refused() {
        let names = ["davy.example".to_owned()];
        for host in [
            "127.0.0.1",
            "127.0.0.1:8088",
            "[::1]:8088",
            "LocalHost:8088",
            "davy.example:80",
        ] {
            assert_eq!(code(&[("host", host)], Some(&names)), "answered", "{host}");
        }
        for host in [
            "rebound.example",
            "localhost.example",
            "127.0.0.1.example",
            "",
        ] {
            assert_eq!(
                code(&[("host", host)], Some(&names)),
                "unknown_host",
                "{host}"
            );
            assert_eq!(code(&[("host", host)], None), "answered", "{host}");
        }
    }
}
