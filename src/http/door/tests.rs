//! Who is let in, and what the others are told.

use axum::http::HeaderValue;

use super::*;
use crate::tokens::Minted;

const NOW: Timestamp = Timestamp(1_900_000_000_000);

fn minted(number: u8) -> Minted {
    Minted::of([number; 4], [number; 32])
}

fn token(number: u8, scopes: &[Scope]) -> Token {
    let minted = minted(number);
    Token {
        id: minted.id().to_owned(),
        name: format!("t{number}"),
        scopes: scopes.to_vec(),
        namespaces: None,
        digest: minted.digest(),
        created_at: NOW,
        expires_at: None,
        revoked_at: None,
    }
}

fn headers(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        let value = HeaderValue::from_str(value).expect("a value");
        headers.append(header::AUTHORIZATION, value);
    }
    headers
}

fn bearer(number: u8) -> HeaderMap {
    headers(&[&format!("Bearer {}", minted(number).reveal())])
}

fn basic(plain: &str) -> String {
    format!("Basic {}", STANDARD.encode(plain))
}

fn reason(door: &Door, asks: Asks, given: &HeaderMap) -> &'static str {
    let admitted = door.admit(asks, given, NOW);
    admitted.map_or_else(|refusal| refusal.reason(), |_| "let in")
}

#[test]
fn credentials_come_as_a_bearer_or_as_a_password_of_anybody() {
    let door = Door::with(vec![token(1, &[Scope::Read])], Settings::default());
    let own = minted(1);
    let own = own.reveal();
    let other = minted(2);
    // Of the right id, and another secret.
    let forged = own.replace("_0101010101", "_0101010102");
    let cases = [
        (format!("Bearer {own}"), "let in"),
        (format!("bearer   {own} "), "let in"),
        (basic(&format!("any:{own}")), "let in"),
        (basic(&format!(":{own}")), "let in"),
        (basic(own), "malformed"),
        (basic(&format!("{own}:")), "malformed"),
        (basic(&format!("a:b:{own}")), "malformed"),
        ("Basic %%%".to_owned(), "malformed"),
        (own.to_owned(), "malformed"),
        ("Bearer".to_owned(), "malformed"),
        ("Bearer ".to_owned(), "malformed"),
        (format!("Bearer {own}0"), "malformed"),
        (format!("Bearer {}", own.to_uppercase()), "malformed"),
        (format!("Digest {own}"), "malformed"),
        (format!("Bearer {}", other.reveal()), "unknown"),
        (format!("Bearer {forged}"), "unknown"),
        (basic(&format!("x:{}", other.reveal())), "unknown"),
    ];
    let asks = Asks::Scope(Scope::Read);
    for (value, expected) in &cases {
        assert_eq!(
            reason(&door, asks, &headers(&[value])),
            *expected,
            "{value}"
        );
    }
    assert_eq!(reason(&door, asks, &HeaderMap::new()), "missing");
    let twice = headers(&[&cases[0].0, &cases[0].0]);
    assert_eq!(reason(&door, asks, &twice), "malformed");
}

#[test]
fn nobody_learns_which_ids_there_are() {
    let door = Door::with(vec![token(1, &[Scope::Read])], Settings::default());
    let own = minted(1);
    let forged = own.reveal().replace("_0101010101", "_0101010102");
    let told = [forged, minted(2).reveal().to_owned()].map(|text| {
        let given = headers(&[&format!("Bearer {text}")]);
        let refusal = door.admit(Asks::Scope(Scope::Read), &given, NOW);
        let problem = Problem::from(refusal.expect_err("not ours"));
        serde_json::to_string(&problem).expect("JSON")
    });
    assert_eq!(told[0], told[1]);
}

#[test]
fn what_a_token_lacks_is_told_to_its_holder() {
    let mut expired = token(2, &[Scope::Admin]);
    expired.expires_at = Some(NOW);
    let mut revoked = token(3, &[Scope::Admin]);
    revoked.revoked_at = Some(NOW);
    let mut limited = token(4, &[Scope::Control]);
    limited.namespaces = Some(vec!["payments".to_owned()]);
    let tokens = vec![token(1, &[Scope::Ingest]), expired, revoked, limited];
    let door = Door::with(tokens, Settings::default());
    let cases = [
        (1, Asks::Scope(Scope::Ingest), "let in"),
        (1, Asks::Within(Scope::Read), "scope"),
        (1, Asks::Metrics, "scope"),
        (1, Asks::Nothing, "let in"),
        (2, Asks::Scope(Scope::Read), "expired"),
        (2, Asks::Nothing, "let in"),
        (3, Asks::Scope(Scope::Read), "revoked"),
        (4, Asks::Within(Scope::Read), "let in"),
        (4, Asks::Within(Scope::Control), "let in"),
        (4, Asks::Within(Scope::Ingest), "scope"),
        (4, Asks::Scope(Scope::Read), "namespace"),
        (4, Asks::Metrics, "namespace"),
    ];
    for (number, asks, expected) in cases {
        let given = bearer(number);
        assert_eq!(reason(&door, asks, &given), expected, "{number} {asks:?}");
        if let Err(refusal) = door.admit(asks, &given, NOW) {
            let id = minted(number).id().to_owned();
            let problem = Problem::from(refusal);
            assert!(problem.detail.contains(&id), "{}", problem.detail);
        }
    }
    let caller = door.admit(Asks::Within(Scope::Read), &bearer(4), NOW);
    let caller = caller.expect("let in");
    assert!(caller.sees(Some("payments")));
    assert!(!caller.sees(Some("search")) && !caller.sees(None));
    assert!(Caller::default().sees(None) && Caller::default().sees(Some("search")));
}

#[test]
fn without_a_file_of_tokens_everybody_is_let_in_and_with_an_empty_one_nobody() {
    let asks = Asks::Scope(Scope::Admin);
    assert_eq!(reason(&Door::open(), asks, &HeaderMap::new()), "let in");
    let empty = Door::with(Vec::new(), Settings::default());
    assert_eq!(reason(&empty, asks, &HeaderMap::new()), "missing");
    assert_eq!(reason(&empty, asks, &bearer(1)), "unknown");
    assert_eq!(reason(&empty, Asks::Metrics, &HeaderMap::new()), "missing");
    let metrics_open = Settings {
        metrics_open: true,
        ..Settings::default()
    };
    let open = Door::with(Vec::new(), metrics_open);
    assert_eq!(reason(&open, Asks::Metrics, &HeaderMap::new()), "let in");
    assert_eq!(reason(&open, asks, &HeaderMap::new()), "missing");
}

#[test]
fn a_token_asks_so_often_a_second_whatever_the_clock_does() {
    let settings = Settings {
        requests_per_second_max: 4,
        ..Settings::default()
    };
    let both = || vec![token(1, &[Scope::Read]), token(2, &[Scope::Read])];
    let door = Door::with(both(), settings);
    let asked = |number: u8, millis: i64| {
        let now = NOW.plus(millis);
        let admitted = door.admit(Asks::Scope(Scope::Read), &bearer(number), now);
        match admitted {
            Ok(_) => true,
            Err(refusal) => {
                assert_eq!(refusal.reason(), "too_fast");
                assert_eq!(Problem::from(refusal).code, "busy");
                false
            }
        }
    };
    let first: Vec<bool> = (0..6).map(|_| asked(1, 0)).collect();
    assert_eq!(first, [true, true, true, true, false, false]);
    assert!(asked(2, 0), "each token has its own");
    assert!(!asked(1, 249) && asked(1, 250) && !asked(1, 250));
    // The file was read again; what it has asked is remembered.
    door.replace(both());
    assert!(!asked(1, 499) && asked(1, 500));
    // A clock that was set back by a day costs a second at most.
    let day = -86_400_000;
    assert!(!asked(1, day) && asked(1, day + 250));
    let later: Vec<bool> = (0..6).map(|_| asked(1, 60_000)).collect();
    assert_eq!(later, first, "no more is saved up than a second's");
}
