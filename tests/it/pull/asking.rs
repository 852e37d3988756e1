//! One source and how it is asked: limits, secrets, and what counts as an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, LOCATION, RETRY_AFTER};
use axum::response::IntoResponse;
use davy::clock::SystemClock;
use davy::config::sources::{BasicAuthentication, PrometheusSource};
use davy::model::Timestamp;
use davy::pull::Prometheus;
use davy::pull::answer::{Answer, Range};
use davy::pull::prometheus::{Blame, Unanswered};
use serde_json::json;

use super::fake::{Fake, matrix, plain};
use crate::prometheus::free_port;

const RANGE: Range = Range {
    start: Timestamp(1_700_000_000_999),
    step: 1_000,
    points: 3,
};

fn source(settings: &PrometheusSource) -> Prometheus {
    let built = Prometheus::build(settings, Arc::new(SystemClock));
    built.unwrap_or_else(|problems| panic!("{problems:?}"))
}

async fn ask(settings: &PrometheusSource) -> Result<Answer, Unanswered> {
    source(settings).query_range("up", &RANGE).await
}

#[tokio::test]
async fn a_query_is_posted_with_its_instants_and_headers() {
    let fake = Fake::start(|asked| asked.series(|secs| secs)).await;
    let mut settings = fake.settings();
    settings
        .headers
        .insert("X-Scope-OrgID".to_owned(), "payments".to_owned());
    let answer = ask(&settings).await.expect("an answer");
    assert_eq!(answer.points(), 3);
    assert_eq!(answer.series[0].points[2].0, RANGE.end());
    let asked = &fake.asked()[0];
    assert_eq!(asked.query(), "up");
    assert_eq!(asked.form["start"], "1700000000.999");
    assert_eq!(asked.form["end"], "1700000002.999");
    assert_eq!(asked.form["step"], "1.000");
    assert_eq!(asked.headers["x-scope-orgid"], "payments");
    assert!(!asked.headers.contains_key(AUTHORIZATION));
}

#[tokio::test]
async fn what_is_no_answer_says_why_and_whose_it_is() {
    let fake = Fake::start(|_| plain(200, "")).await;
    let settings = fake.settings();
    let parse_error = r#"{"status":"error","errorType":"bad_data","error":"1:4: parse error"}"#;
    for (status, body, outcome, said) in [
        (
            400,
            parse_error,
            "refused",
            "answered 400: bad_data: 1:4: parse error",
        ),
        (422, parse_error, "refused", "answered 422"),
        (500, "<html>", "unavailable", "answered 500"),
        (503, "", "unavailable", "answered 503"),
        (403, "", "unauthorized", "check the token"),
        (404, "", "unavailable", "is the address right?"),
        (200, "<html>", "malformed", "is the address right?"),
        (200, "", "malformed", "is the address right?"),
        (200, parse_error, "refused", "bad_data"),
    ] {
        fake.answer(move |_| plain(status, body));
        let error = ask(&settings).await.expect_err("no answer");
        assert_eq!(error.blame.outcome(), outcome, "{status} {error}");
        assert!(error.message.contains(said), "{error}");
        assert!(!error.message.contains("127.0.0.1"), "{error}");
    }
    for (body, said) in [
        (
            json!({"status": "success", "isPartial": true, "data": {"resultType": "matrix", "result": []}}),
            "partial",
        ),
        (
            json!({"status": "success", "data": {"resultType": "vector", "result": []}}),
            "is a vector",
        ),
        (
            json!({"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "2"]]}]}}),
            "not asked for",
        ),
    ] {
        fake.answer(move |_| axum::Json(body.clone()).into_response());
        let error = ask(&settings).await.expect_err("no answer");
        assert!(error.message.contains(said), "{error}");
        assert_eq!(error.blame.outcome(), "malformed");
    }
}

#[tokio::test]
async fn retry_after_is_heard_and_redirects_are_not_followed() {
    let fake =
        Fake::start(|_| (plain(429, "").status(), [(RETRY_AFTER, "7")]).into_response()).await;
    let error = ask(&fake.settings()).await.expect_err("throttled");
    let retry_after = Some(Duration::from_secs(7));
    let outcome = "throttled";
    assert_eq!(
        error.blame,
        Blame::Source {
            outcome,
            retry_after
        }
    );
    let elsewhere = Fake::start(|asked| asked.series(|secs| secs)).await;
    let url = format!("{}api/v1/query_range", elsewhere.url);
    fake.answer(move |_| (plain(307, "").status(), [(LOCATION, url.clone())]).into_response());
    let error = ask(&fake.settings()).await.expect_err("redirected");
    assert!(
        error.message.contains("redirects are not followed"),
        "{error}"
    );
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn an_answer_that_takes_too_long_or_never_comes_is_a_failure() {
    let fake = Fake::start(|asked| asked.series(|secs| secs)).await;
    fake.take(Duration::from_secs(5));
    let mut settings = fake.settings();
    settings.timeout_ms = 100;
    let error = ask(&settings).await.expect_err("too slow");
    assert_eq!(error.blame.outcome(), "timeout");
    assert!(error.message.contains("100 ms"), "{error}");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let error = ask(&PrometheusSource::at(&nobody)).await;
    let error = error.expect_err("nobody listens");
    assert_eq!(error.blame.outcome(), "unreachable", "{error}");
}

#[tokio::test]
async fn bytes_and_series_are_taken_to_the_limit_and_not_past_it() {
    let body =
        json!({"status": "success", "data": {"resultType": "matrix", "result": []}}).to_string();
    let pad = " ".repeat(2_000 - body.len());
    let body = format!("{body}{pad}");
    let fake = Fake::start(move |_| plain(200, &body)).await;
    let mut settings = fake.settings();
    settings.response_bytes_max = 2_000;
    assert!(ask(&settings).await.is_ok());
    settings.response_bytes_max = 1_999;
    let error = ask(&settings).await.expect_err("too long");
    assert_eq!(error.blame, Blame::Limit("pull_response_bytes"));
    assert!(error.message.contains("response_bytes_max"), "{error}");
    fake.answer(|_| matrix(json!([{"metric": {"a": "1"}}, {"metric": {"a": "2"}}])));
    let mut settings = fake.settings();
    settings.series_per_query_max = 2;
    assert_eq!(ask(&settings).await.expect("fits").series.len(), 2);
    settings.series_per_query_max = 1;
    let error = ask(&settings).await.expect_err("one too many");
    assert_eq!(error.blame, Blame::Limit("series_per_query"));
}

#[tokio::test]
async fn a_secret_comes_from_its_file_and_is_read_anew_when_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "first-token\n").expect("written");
    // It takes the second token only, and repeats in its error what it was given.
    let fake = Fake::start(|asked| {
        let given = asked.headers[AUTHORIZATION]
            .to_str()
            .expect("text")
            .to_owned();
        if given == "Bearer second-token" {
            return asked.series(|secs| secs);
        }
        let body = json!({"status": "error", "error": format!("no {given}")});
        (plain(401, "").status(), axum::Json(body)).into_response()
    })
    .await;
    let mut settings = fake.settings();
    settings.bearer_token_file = Some(file.clone());
    let source = source(&settings);
    let error = source.query_range("up", &RANGE).await.expect_err("refused");
    assert_eq!(error.blame.outcome(), "unauthorized");
    assert!(
        error.message.contains("(secret)") && !error.message.contains("first-token"),
        "{error}"
    );
    assert_eq!(fake.asked().len(), 1, "the file holds the same still");
    std::fs::write(&file, "second-token").expect("written");
    source.query_range("up", &RANGE).await.expect("an answer");
    source.query_range("up", &RANGE).await.expect("an answer");
    assert_eq!(fake.asked().len(), 4);
}

/// What is shown of a source's answers that repeat `secret` in every place where words are kept,
/// also where these are cut short within it.
async fn shown_of(source: &Prometheus, fake: &Fake, secret: &str) -> Vec<String> {
    let words = format!("{} {secret}", "x".repeat(199 - secret.len() / 2));
    let mut shown = Vec::new();
    for (status, body) in [
        (
            401,
            json!({"status": "error", "errorType": secret, "error": &words}),
        ),
        (422, json!({"status": "error", "error": &words})),
        (503, json!({"status": &words})),
        (200, json!({"status": "error", "error": secret})),
        (
            200,
            json!({"status": "success", "data": {"resultType": secret, "result": []}}),
        ),
        (
            200,
            json!({"status": "success", "data": {"resultType": "matrix", "result": secret}}),
        ),
        (200, json!({"status": "success", "data": secret})),
    ] {
        fake.answer(move |_| {
            let status = plain(status, "").status();
            (status, axum::Json(body.clone())).into_response()
        });
        let error = source.query_range("up", &RANGE).await;
        shown.push(error.expect_err("no answer").message);
    }
    let warned = json!({"status": "success", "warnings": [words],
        "data": {"resultType": "matrix", "result": []}});
    fake.answer(move |_| axum::Json(warned.clone()).into_response());
    let answer = source.query_range("up", &RANGE).await.expect("an answer");
    shown.push(answer.warning.expect("it warned"));
    shown
}

#[tokio::test]
async fn what_a_source_repeats_of_secrets_is_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    // JSON writes the quotes as something else than they are sent.
    let (first, second) = ("first-\"secret\"-token", "second-\"secret\"-token");
    std::fs::write(&file, first).expect("written");
    let fake = Fake::start(|asked| asked.series(|secs| secs)).await;
    let mut bearer = fake.settings();
    bearer.bearer_token_file = Some(file.clone());
    let of_header = "Key header-\"secret\"-key";
    let headers = &mut bearer.headers;
    headers.insert("X-Api-Key".to_owned(), of_header.to_owned());
    let mut basic = fake.settings();
    basic.basic = Some(BasicAuthentication {
        username: "davy".to_owned(),
        password_file: file.clone(),
    });
    let (bearer, basic) = (source(&bearer), source(&basic));
    let encoded = "ZGF2eTpmaXJzdC0ic2VjcmV0Ii10b2tlbg==";
    let bearer_echoes = [first, of_header, &of_header[4..]];
    let asked = [(&bearer, &bearer_echoes[..]), (&basic, &[first, encoded])];
    let check = async |source: &Prometheus, echo: &str| {
        for shown in shown_of(source, &fake, echo).await {
            let parts = [
                "secret\"",
                "secret\\\"",
                "-token",
                "-key",
                "Z2V0",
                &echo[..8],
            ];
            let is_shown = parts.iter().any(|part| shown.contains(part));
            let is_told = shown.contains("(secret)") || shown.contains("stands there");
            assert!(!is_shown && is_told, "{echo}: {shown}");
        }
    };
    for (source, echoes) in asked {
        for echo in echoes {
            check(source, echo).await;
        }
    }
    // The source takes another one from now on, and still repeats the one before.
    std::fs::write(&file, second).expect("written");
    for source in [&bearer, &basic] {
        fake.answer(|_| plain(401, ""));
        source.query_range("up", &RANGE).await.expect_err("refused");
        for echo in [first, second] {
            check(source, echo).await;
        }
    }
    check(&basic, encoded).await;
}

#[tokio::test]
async fn a_tenant_may_be_the_label_of_a_series() {
    let fake = Fake::start(|_| matrix(json!([{"metric": {"tenant": "payments"}}]))).await;
    let mut settings = fake.settings();
    let headers = &mut settings.headers;
    headers.insert("X-Scope-OrgID".to_owned(), "payments".to_owned());
    let answer = ask(&settings).await.expect("an answer");
    assert_eq!(answer.series[0].labels["tenant"], "payments");
}

#[tokio::test]
async fn a_name_and_a_password_make_a_basic_header() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "opensesame").expect("written");
    let fake = Fake::start(|asked| asked.series(|secs| secs)).await;
    let mut settings = fake.settings();
    settings.basic = Some(BasicAuthentication {
        username: "davy".to_owned(),
        password_file: file,
    });
    ask(&settings).await.expect("an answer");
    assert_eq!(
        fake.asked()[0].headers[AUTHORIZATION],
        "Basic ZGF2eTpvcGVuc2VzYW1l"
    );
}

#[test]
fn files_that_are_not_there_or_hold_no_certificate_are_told_before_anything_is_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "no certificate").expect("written");
    let mut settings = PrometheusSource::at("https://localhost");
    let told = |settings: &PrometheusSource| {
        let problems = Prometheus::build(settings, Arc::new(SystemClock)).err();
        problems.map(|problems| (problems[0].key.clone(), problems[0].message.clone()))
    };
    assert_eq!(told(&settings), None);
    settings.tls.ca_file = Some(file.clone());
    let (key, message) = told(&settings).expect("refused");
    assert!(key == "tls" && message.contains("ca.pem"), "{message}");
    settings.tls.ca_file = None;
    settings.bearer_token_file = Some(folder.path().join("none"));
    assert_eq!(told(&settings).expect("refused").0, "bearer_token_file");
}
