//! What is said of settings of TLS and of an identity provider that cannot be meant.

use std::collections::BTreeMap;

use davy::config::listening::ClientAuth;
use davy::config::oidc::{Algorithm, GrantedScope};
use davy::config::{Config, Sources};

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment: BTreeMap<String, String> = environment.iter().map(owned).collect();
    let sources = Sources {
        files: vec![("davy.toml".to_owned(), text.to_owned())],
        environment,
        overrides: Vec::new(),
    };
    let told = Config::load(&sources);
    told.map_err(|problems| problems.items.iter().map(ToString::to_string).collect())
}

/// Fails unless there is one problem, which says all of this.
fn assert_told(text: &str, words: &[&str]) {
    let found = load(text, &[]).expect_err(text);
    assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    for word in words {
        assert!(found[0].contains(word), "{word} is not in {found:#?}");
    }
}

const TLS: &str = "[server.tls]\ncertificate_file = \"c\"\nkey_file = \"k\"\n";

#[test]
fn tls_has_two_files_and_clients_certificates_a_third() {
    let config = load(TLS, &[]).expect("sound");
    let tls = config.server.tls.expect("set");
    assert_eq!(
        (tls.handshake_timeout_secs, tls.asked_of_clients()),
        (10, None)
    );
    let with_ca = format!("{TLS}client_ca_file = \"ca\"\n");
    let asked = |environment: &[(&str, &str)]| {
        let tls = load(&with_ca, environment)
            .expect("sound")
            .server
            .tls
            .expect("set");
        tls.asked_of_clients().is_some()
    };
    assert!(asked(&[]), "a CA that is named is asked for");
    assert!(!asked(&[("DAVY_SERVER__TLS__CLIENT_AUTH", "off")]));
    let required = load(&format!("{with_ca}client_auth = \"required\"\n"), &[]).expect("sound");
    let required = required.server.tls.expect("set");
    assert_eq!(required.client_auth, Some(ClientAuth::Required));
    assert_told("[server.tls]\nkey_file = \"k\"\n", &["certificate_file"]);
    assert_told(
        &TLS.replace("\"k\"", "\"\""),
        &["server.tls.key_file", "no name"],
    );
    let no_ca = format!("{TLS}client_auth = \"required\"\n");
    assert_told(&no_ca, &["server.tls.client_auth", "no CA is named"]);
    let late = format!("{TLS}handshake_timeout_secs = 301\n");
    assert_told(&late, &["handshake_timeout_secs", "300"]);
    let unknown = format!("{TLS}client_auth = \"optional\"\n");
    assert_told(&unknown, &["client_auth", "required"]);
}

const OIDC: &str = "[auth.oidc]\nissuer = \"https://id.example\"\naudience = [\"davy\"]\n\
                    algorithms = [\"ES256\"]\n";
const GRANT: &str = "[[auth.oidc.grants]]\nvalue = \"Ci/A.b:c\"\nscopes = [\"control\"]\n";

#[test]
fn an_identity_provider_is_who_is_asked_and_davy_may_listen_anywhere() {
    let text = format!("[server]\nlisten_address = \"0.0.0.0\"\n{OIDC}{GRANT}");
    let config = load(&text, &[]).expect("sound");
    assert!(config.auth.asks());
    let oidc = config.auth.oidc.expect("set");
    assert_eq!(oidc.algorithms, [Algorithm::ES256]);
    assert_eq!(oidc.grants[0].value, "Ci/A.b:c", "letter by letter");
    assert_eq!(oidc.grants[0].scopes, [GrantedScope::Control]);
    assert_eq!((oidc.scope_claim.as_str(), oidc.leeway_secs), ("sub", 30));
    let open = format!("[server]\nallow_unauthenticated = true\n{OIDC}{GRANT}");
    assert_told(&open, &["allow_unauthenticated", "asks everybody"]);
    let local = format!("{OIDC}{GRANT}").replace("https://id.example", "http://127.0.0.1:1");
    assert!(load(&local, &[]).is_ok(), "on this machine");
}

#[test]
fn secrets_that_both_sides_share_no_signature_and_keys_in_clear_are_refused() {
    let text = format!("{OIDC}{GRANT}");
    for algorithm in ["none", "HS256", "HS384", "HS512", "rs256", "ES512"] {
        let text = text.replace("\"ES256\"", &format!("\"{algorithm}\""));
        assert_told(&text, &["auth.oidc.algorithms[0]"]);
    }
    for issuer in [
        "http://id.example",
        "ftp://id.example",
        "id.example",
        "http://127.0.0.1.example",
    ] {
        let text = text.replace("https://id.example", issuer);
        assert_told(&text, &["auth.oidc.issuer", "without TLS", "https"]);
    }
    let keys = text.replace(
        "audience",
        "keys_url = \"http://id.example/keys\"\naudience",
    );
    assert_told(&keys, &["auth.oidc.keys_url", "without TLS"]);
}

#[test]
fn grants_say_who_and_what_and_no_more_than_can_be_held() {
    assert_told(OIDC, &["grants"]);
    assert_told(&format!("{OIDC}grants = []\n"), &["auth.oidc.grants"]);
    let with = |from: &str, to: &str| format!("{OIDC}{GRANT}").replace(from, to);
    assert_told(&with("[\"davy\"]", "[]"), &["auth.oidc.audience"]);
    assert_told(&with("[\"davy\"]", "[\"\"]"), &["auth.oidc.audience[0]"]);
    assert_told(&with("Ci/A.b:c", ""), &["grants[0].value", "for nobody"]);
    assert_told(&with("[\"control\"]", "[]"), &["grants[0].scopes"]);
    assert_told(
        &with("[\"control\"]", "[\"root\"]"),
        &["grants[0].scopes[0]", "admin"],
    );
    assert_told(
        &format!("{OIDC}{GRANT}{GRANT}"),
        &["grants[1].value", "two grants"],
    );
    for (scope, is_fine) in [
        ("ingest", false),
        ("admin", false),
        ("read", true),
        ("control", true),
    ] {
        let scoped = with("control", scope);
        let of_grant = format!("{scoped}namespaces = [\"payments\"]\n");
        let of_claim = scoped.replace("audience", "namespaces_claim = \"ns\"\naudience");
        for text in [of_grant, of_claim] {
            if is_fine {
                assert!(load(&text, &[]).is_ok(), "{text}");
            } else {
                assert_told(&text, &["grants[0].scopes", "cannot be limited"]);
            }
        }
    }
    assert_told(
        &format!("{OIDC}{GRANT}namespaces = []\n"),
        &["no namespace at all"],
    );
    assert_told(
        &with("audience", "scope_claim = \"\"\naudience"),
        &["auth.oidc.scope_claim"],
    );
}
