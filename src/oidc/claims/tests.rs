//! Which claims are good, at which instant, and what they allow.

use serde_json::json;

use super::*;
use crate::config::oidc::Grant;

const NOW: Timestamp = Timestamp(1_900_000_000_000);
const SECS: i64 = 1_900_000_000;
/// Of the rules of these tests.
const LEEWAY: i64 = 30;

fn grant(value: &str, scopes: &[GrantedScope], namespaces: Option<&[&str]>) -> Grant {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Grant {
        value: value.to_owned(),
        scopes: scopes.to_vec(),
        namespaces: namespaces.map(owned),
    }
}

fn rules(change: impl FnOnce(&mut Oidc)) -> Rules {
    let grants = vec![
        grant("ci", &[GrantedScope::Control], None),
        grant("ops", &[GrantedScope::Admin], None),
        grant(
            "pay",
            &[GrantedScope::Control],
            Some(&["payments", "search"]),
        ),
    ];
    let mut settings = Oidc::of("https://id.example", "davy", grants);
    change(&mut settings);
    Rules::of(&settings)
}

/// Good claims with others laid over them; null takes one away.
fn claims(over: &Value) -> Value {
    let mut claims =
        json!({"iss": "https://id.example", "aud": "davy", "sub": "ci", "exp": SECS + 60});
    for (name, value) in over.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

fn reason(read: &Result<Identity, Unfit>) -> &'static str {
    match read {
        Ok(_) => "good",
        Err(Unfit::Issuer) => "issuer",
        Err(Unfit::Audience) => "audience",
        Err(Unfit::Expired) => "expired",
        Err(Unfit::NotYet) => "not yet",
        Err(Unfit::Claim(_)) => "claim",
    }
}

#[test]
fn a_token_is_from_the_issuer_for_davy_and_of_now() {
    let rules = rules(|_| ());
    for (over, expected) in [
        (json!({}), "good"),
        (json!({"iss": "https://id.example/"}), "issuer"),
        (json!({"iss": ["https://id.example"]}), "issuer"),
        (json!({"iss": null}), "issuer"),
        (json!({"aud": ["other", "davy"]}), "good"),
        (json!({"aud": "davy2"}), "audience"),
        (json!({"aud": ["other"]}), "audience"),
        (json!({"aud": {"davy": 1}}), "audience"),
        (json!({"aud": null}), "audience"),
        (json!({"exp": SECS - LEEWAY + 1}), "good"),
        (json!({"exp": SECS - LEEWAY}), "expired"),
        (json!({"exp": 0}), "expired"),
        (json!({"exp": SECS as f64 + 0.5}), "good"),
        (json!({"exp": "2030-01-01"}), "claim"),
        (json!({"exp": (SECS + 60).to_string()}), "claim"),
        (json!({"exp": null}), "claim"),
        (json!({"nbf": SECS + LEEWAY}), "good"),
        (json!({"nbf": SECS + LEEWAY + 1}), "not yet"),
        (json!({"nbf": "now"}), "claim"),
        (json!({"sub": null}), "claim"),
        (json!({"sub": 7}), "claim"),
        (json!({"sub": ""}), "claim"),
        (json!({"sub": "a\nb"}), "claim"),
        (json!({"sub": "x".repeat(SUBJECT_BYTES_MAX)}), "good"),
        (json!({"sub": "x".repeat(SUBJECT_BYTES_MAX + 1)}), "claim"),
    ] {
        assert_eq!(reason(&rules.read(&claims(&over), NOW)), expected, "{over}");
    }
    for none in [json!(null), json!([]), json!("sub")] {
        assert_eq!(reason(&rules.read(&none, NOW)), "issuer");
    }
}

/// What each grant allows: scopes and namespaces.
fn granted(rules: &Rules, over: &Value) -> Vec<(Vec<Scope>, Option<Vec<String>>)> {
    let identity = rules.read(&claims(over), NOW).expect("good");
    let names = |names: Arc<[String]>| names.to_vec();
    let pair = |one: Granted| (one.scopes, one.namespaces.map(names));
    identity.grants.into_iter().map(pair).collect()
}

#[test]
fn a_value_allows_what_its_grant_says_letter_by_letter() {
    let control = (vec![Scope::Control], None);
    let admin = (vec![Scope::Admin], None);
    let by_sub = rules(|_| ());
    assert_eq!(granted(&by_sub, &json!({})), std::slice::from_ref(&control));
    for sub in ["CI", "ci ", "ci ops", "c", "none"] {
        assert_eq!(granted(&by_sub, &json!({"sub": sub})), [], "{sub:?}");
    }
    let by_list = rules(|settings| settings.scope_claim = "groups".to_owned());
    let both = granted(&by_list, &json!({"groups": ["ops", 7, "ci"]}));
    assert_eq!(both, [control.clone(), admin.clone()]);
    assert_eq!(granted(&by_list, &json!({"groups": "ci ops"})), []);
    assert_eq!(granted(&by_list, &json!({})), []);
    let by_words = rules(|settings| settings.scope_claim = "scope".to_owned());
    assert_eq!(
        granted(&by_words, &json!({"scope": "x ci ops"})),
        [control.clone(), admin]
    );
    let by_path = rules(|settings| settings.scope_claim = "/realm.access/roles".to_owned());
    let nested = json!({"realm.access": {"roles": ["ci"]}});
    assert_eq!(granted(&by_path, &nested), [control]);
}

#[test]
fn namespaces_come_from_the_grant_and_the_claim_and_never_widen() {
    let names = |names: &[&str]| -> Option<Vec<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    };
    let of_grant = granted(&rules(|_| ()), &json!({"sub": "pay"}));
    assert_eq!(of_grant[0].1, names(&["payments", "search"]));
    let limited = rules(|settings| settings.namespaces_claim = Some("/k8s.io/ns".to_owned()));
    let of_both = |sub: &str, claim: Value| {
        let over = json!({"sub": sub, "k8s.io": {"ns": claim}});
        granted(&limited, &over)[0].1.clone()
    };
    assert_eq!(of_both("ci", json!("search")), names(&["search"]));
    assert_eq!(of_both("ci", json!(["a", "b"])), names(&["a", "b"]));
    assert_eq!(of_both("pay", json!(["search", "x"])), names(&["search"]));
    assert_eq!(of_both("pay", json!("x")), names(&[]));
    assert_eq!(of_both("ci", json!("not a name")), names(&[]));
    // Whoever has no such claim is limited to nothing, not to everything.
    assert_eq!(of_both("ci", json!(null)), names(&[]));
    assert_eq!(granted(&limited, &json!({}))[0].1, names(&[]));
}

#[test]
fn values_are_bounded() {
    let by_list = rules(|settings| settings.scope_claim = "groups".to_owned());
    let groups = |count: usize| json!({"groups": vec!["ci"; count]});
    assert_eq!(
        reason(&by_list.read(&claims(&groups(VALUES_MAX)), NOW)),
        "good"
    );
    assert_eq!(
        reason(&by_list.read(&claims(&groups(VALUES_MAX + 1)), NOW)),
        "claim"
    );
}
