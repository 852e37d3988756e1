//! What a source's settings must satisfy, alone and together with plans.
//!
//! Owns the one list of rules, which `davy check` tells and without which `davy serve` does not
//! start. It must not open files: a configuration can be checked where its secrets are not.

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::config::daemon::Config;
use crate::config::layers::Places;
use crate::config::quantity::duration_text;
use crate::config::sources::PrometheusSource;
use crate::config::{Problem, Severity};
use crate::model::Millis;
use crate::plan::Plan;

/// Headers that belong to HTTP or to davy.
const OWN_HEADERS: [&str; 6] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "accept-encoding",
];
/// What is put behind the address.
const PATH: &str = "api/v1/query_range";

/// Something wrong with the settings of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// The key, such as `headers.Authorization`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// Settings that satisfy the rules, as far as they are needed for a request.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Where range queries go.
    pub url: Url,
    /// Headers of every request.
    pub headers: HeaderMap,
}

/// Checks the settings by themselves.
///
/// # Errors
/// Every [`SettingProblem`] at once.
pub fn settings(source: &PrometheusSource) -> Result<Checked, Vec<SettingProblem>> {
    let mut problems = Vec::new();
    let mut tell = |key: &str, message: &str, help: &str| {
        problems.push(SettingProblem {
            key: key.to_owned(),
            message: message.to_owned(),
            help: help.to_owned(),
        });
    };
    let url = match url(&source.url) {
        Ok(url) => Some(url),
        Err((message, help)) => {
            tell("url", message, help);
            None
        }
    };
    if source.bearer_token_file.is_some() && source.basic.is_some() {
        let message = "bearer_token_file and basic are both given";
        tell("basic", message, "keep one of the two");
    }
    if let Some(basic) = &source.basic
        && basic.username.contains([':', '\n', '\r'])
    {
        let message = "the name holds a colon, which ends it";
        tell("basic.username", message, "give another name");
    }
    if source.tls.cert_file.is_some() != source.tls.key_file.is_some() {
        let message = "a certificate of one's own needs its key, and a key its certificate";
        tell("tls", message, "give cert_file and key_file, or neither");
    }
    if source.backoff_max_ms < source.backoff_initial_ms {
        let message = "the longest wait is shorter than the first";
        tell("backoff_max_ms", message, "at least backoff_initial_ms");
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &source.headers {
        if let Err((message, help)) = header(name, value, &mut headers) {
            tell(&format!("headers.{name}"), message, help);
        }
    }
    match url {
        Some(url) if problems.is_empty() => Ok(Checked { url, headers }),
        _ => Err(problems),
    }
}

/// The address of range queries. Messages never repeat it: it may hold a secret by mistake.
fn url(text: &str) -> Result<Url, (&'static str, &'static str)> {
    let help = "write http://host:port, with the path in front of /api/v1 where there is one";
    let Ok(mut url) = Url::parse(text) else {
        return Err(("this is not an address", help));
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(("the address is not http or https", help));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let help = "use basic = { username = .., password_file = .. }";
        return Err(("the address holds a user name or password", help));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(("the address holds a query", help));
    }
    let path = url.path().trim_end_matches('/');
    if path.ends_with("/api/v1") || path.contains("/api/v1/query") {
        let help = "leave /api/v1 and what follows out; davy puts it behind the address";
        return Err(("the address goes on into the HTTP API", help));
    }
    let path = format!("{path}/{PATH}");
    url.set_path(&path);
    Ok(url)
}

fn header(
    name: &str,
    value: &str,
    into: &mut HeaderMap,
) -> Result<(), (&'static str, &'static str)> {
    let Ok(key) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(("this is not a header's name", "letters, digits and -"));
    };
    if key == AUTHORIZATION {
        let help = "use bearer_token_file or basic, so that no secret stands here";
        return Err(("a secret does not belong into the configuration", help));
    }
    if OWN_HEADERS.contains(&key.as_str()) {
        return Err(("davy sets this header itself", "remove it"));
    }
    let Ok(mut value) = HeaderValue::from_str(value) else {
        let help = "write visible ASCII characters and blanks";
        return Err(("the value holds characters a header cannot", help));
    };
    value.set_sensitive(true);
    into.insert(key, value);
    Ok(())
}

/// Every problem of the configuration's sources, by themselves and with the daemon's plans, where
/// these are known; located.
pub fn check<'p>(
    config: &Config,
    places: &Places,
    plans: impl IntoIterator<Item = &'p Plan>,
) -> Vec<Problem> {
    let mut found = Vec::new();
    let source = config.sources.prometheus.as_ref();
    if let Some(problems) = source.and_then(|source| settings(source).err()) {
        found.extend(problems.into_iter().map(|problem| {
            let path = format!("sources.prometheus.{}", problem.key);
            places.problem(&path, problem.message, &problem.help)
        }));
    }
    found.extend(misfits(config, places, plans));
    found
}

/// What of these plans does not fit the configuration's source; located.
pub fn misfits<'p>(
    config: &Config,
    places: &Places,
    plans: impl IntoIterator<Item = &'p Plan>,
) -> impl Iterator<Item = Problem> {
    let source = config.sources.prometheus.as_ref();
    let misfits = plans.into_iter().filter_map(move |plan| fit(plan, source));
    misfits.map(|misfit| Problem {
        severity: misfit.severity,
        ..places.problem(misfit.path, misfit.message, &misfit.help)
    })
}

/// A plan that does not fit the source it is to be pulled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Whether it cannot work, or may not.
    pub severity: Severity,
    /// The setting that it is about.
    pub path: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// Whether a plan's pulled metrics can be had from this source, in time.
pub fn fit(plan: &Plan, source: Option<&PrometheusSource>) -> Option<Misfit> {
    let pulls = |plan: &Plan| plan.metrics.iter().any(|m| m.source.pulled().is_some());
    if !pulls(plan) {
        return None;
    }
    let name = &plan.name;
    let Some(source) = source else {
        return Some(Misfit {
            severity: Severity::Error,
            path: "sources.prometheus",
            message: format!("the plan `{name}` pulls metrics, and there is no source"),
            help: "set sources.prometheus.url".to_owned(),
        });
    };
    let millis = |ms: u64| Millis::try_from(ms).unwrap_or(Millis::MAX);
    let (delay, timeout) = (millis(source.delay_ms), millis(source.timeout_ms));
    let lateness = duration_text(plan.lateness);
    if delay >= plan.lateness {
        return Some(Misfit {
            severity: Severity::Error,
            path: "sources.prometheus.delay_ms",
            message: format!(
                "the plan `{name}` closes a tick {lateness} after its end (lateness), and it is \
                 asked for {} after it: every answer would be too late",
                duration_text(delay)
            ),
            help: "lengthen the plan's lateness, or shorten delay_ms".to_owned(),
        });
    }
    (delay + timeout > plan.lateness).then(|| Misfit {
        severity: Severity::Warning,
        path: "sources.prometheus.delay_ms",
        message: format!(
            "the plan `{name}` closes a tick {lateness} after its end (lateness), and a query may \
             take until {} after it: a slow answer would be too late",
            duration_text(delay + timeout)
        ),
        help: "lengthen the plan's lateness, or shorten delay_ms or timeout_ms".to_owned(),
    })
}
