//! Which keys are taken, and which tokens each of them may check.

use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm};
use serde_json::json;

use super::*;

/// Bytes before the key in the PKCS#8 form of an RSA key of 2048 bits.
const PKCS8_HEAD: usize = 26;

/// The public half of a fresh key, with fields laid over it.
fn jwk(algorithm: Algorithm, over: &Value) -> Value {
    let made = |of: &'static SignatureAlgorithm| KeyPair::generate_for(of).expect("made");
    let public = |key: &EncodingKey| {
        let jwk = Jwk::from_encoding_key(key, algorithm).expect("a key");
        serde_json::to_value(jwk).expect("JSON")
    };
    let mut jwk = match algorithm {
        Algorithm::RS256 => {
            let key = made(&PKCS_RSA_SHA256).serialize_der();
            public(&EncodingKey::from_rsa_der(&key[PKCS8_HEAD..]))
        }
        Algorithm::ES256 => {
            let key = made(&PKCS_ECDSA_P256_SHA256).serialize_der();
            public(&EncodingKey::from_ec_der(&key))
        }
        _ => {
            let x = URL_SAFE_NO_PAD.encode(made(&PKCS_ED25519).public_key_raw());
            json!({"kty": "OKP", "crv": "Ed25519", "x": x})
        }
    };
    jwk.as_object_mut().expect("an object").remove("alg");
    for (name, value) in over.as_object().expect("an object") {
        jwk[name] = value.clone();
    }
    jwk
}

fn set(keys: &[Value]) -> Result<(KeySet, usize), String> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

/// Whether a set has a key for a token that says this.
fn chosen(set: &KeySet, id: Option<&str>, algorithm: Algorithm) -> &'static str {
    match set.choose(id, algorithm) {
        Ok(_) => "key",
        Err(NoKey::Unknown) => "unknown",
        Err(NoKey::Unfit) => "unfit",
    }
}

#[test]
fn a_key_checks_the_algorithms_of_its_kind_and_no_others() {
    let keys = [
        jwk(Algorithm::RS256, &json!({"kid": "rsa"})),
        jwk(
            Algorithm::RS256,
            &json!({"kid": "rsa-256", "alg": "RS256", "use": "sig"}),
        ),
        jwk(
            Algorithm::ES256,
            &json!({"kid": "ec", "key_ops": ["verify"]}),
        ),
        jwk(Algorithm::EdDSA, &json!({"kid": "ed"})),
    ];
    let (set, left_out) = set(&keys).expect("a set");
    assert_eq!((set.count(), left_out), (4, 0));
    for (id, algorithm, expected) in [
        ("rsa", Algorithm::RS256, "key"),
        ("rsa", Algorithm::PS512, "key"),
        ("rsa", Algorithm::ES256, "unfit"),
        // The public key as the secret of an HMAC.
        ("rsa", Algorithm::HS256, "unfit"),
        ("rsa-256", Algorithm::RS256, "key"),
        ("rsa-256", Algorithm::RS512, "unfit"),
        ("rsa-256", Algorithm::PS256, "unfit"),
        ("ec", Algorithm::ES256, "key"),
        ("ec", Algorithm::ES384, "unfit"),
        ("ec", Algorithm::RS256, "unfit"),
        ("ed", Algorithm::EdDSA, "key"),
        ("ed", Algorithm::HS512, "unfit"),
        ("other", Algorithm::RS256, "unknown"),
        ("", Algorithm::RS256, "unknown"),
    ] {
        assert_eq!(
            chosen(&set, Some(id), algorithm),
            expected,
            "{id} {algorithm:?}"
        );
    }
    // Who names no key means the only one it could be.
    assert_eq!(chosen(&set, None, Algorithm::ES256), "key");
    assert_eq!(
        chosen(&set, None, Algorithm::RS256),
        "unfit",
        "there are two"
    );
    assert_eq!(chosen(&set, None, Algorithm::HS256), "unfit");
    assert_eq!(
        chosen(&KeySet::default(), None, Algorithm::RS256),
        "unknown"
    );
}

#[test]
fn what_is_no_public_key_for_signatures_is_left_out_by_itself() {
    let good = jwk(Algorithm::ES256, &json!({"kid": "good"}));
    let short = URL_SAFE_NO_PAD.encode([0xff; RSA_BYTES_MIN - 1]);
    let long = URL_SAFE_NO_PAD.encode([0xff; RSA_BYTES_MAX + 1]);
    let padded = URL_SAFE_NO_PAD.encode([&[0; 8][..], &[0xff; RSA_BYTES_MIN - 1]].concat());
    let bad = [
        json!({"kty": "oct", "kid": "x", "k": "c2VjcmV0", "alg": "HS256"}),
        jwk(Algorithm::ES256, &json!({"use": "enc"})),
        jwk(Algorithm::ES256, &json!({"key_ops": ["sign"]})),
        jwk(Algorithm::ES256, &json!({"crv": "P-521"})),
        jwk(Algorithm::ES256, &json!({"crv": "P-384"})),
        jwk(Algorithm::ES256, &json!({"x": "AAAA"})),
        jwk(Algorithm::ES256, &json!({"y": null})),
        jwk(Algorithm::EdDSA, &json!({"crv": "X25519"})),
        jwk(Algorithm::EdDSA, &json!({"x": "AAAA"})),
        json!({"kty": "RSA", "n": short, "e": "AQAB"}),
        json!({"kty": "RSA", "n": long, "e": "AQAB"}),
        json!({"kty": "RSA", "n": padded, "e": "AQAB"}),
        json!({"kty": "RSA", "n": "%%%", "e": "AQAB"}),
        json!({"kty": 7}),
        json!("no key"),
    ];
    for one in &bad {
        let (set, left_out) = set(&[one.clone(), good.clone()]).expect("a set");
        assert_eq!((set.count(), left_out), (1, 1), "{one}");
        assert_eq!(chosen(&set, Some("good"), Algorithm::ES256), "key");
    }
    let told = set(&bad).expect_err("none of them");
    assert!(told.starts_with("none of the 15 keys"), "{told}");
    for (text, words) in [
        ("", "not JSON"),
        ("{}", "no list"),
        ("{\"keys\":[]}", "none of the 0"),
    ] {
        let told = KeySet::parse(text.as_bytes()).expect_err("no set");
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn keys_are_bounded() {
    let key = jwk(Algorithm::ES256, &json!({}));
    let many = |count: usize| -> Vec<Value> {
        let numbered = |number: usize| {
            let mut key = key.clone();
            key["kid"] = number.to_string().into();
            key
        };
        (0..count).map(numbered).collect()
    };
    let (all, left_out) = set(&many(KEYS_MAX)).expect("a set");
    assert_eq!((all.count(), left_out), (KEYS_MAX, 0));
    let (cut, left_out) = set(&many(KEYS_MAX + 1)).expect("a set");
    assert_eq!((cut.count(), left_out), (KEYS_MAX, 1));
}
