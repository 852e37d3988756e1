//! An identity provider of the test's own: it says where its keys are, and shows them, as it is told to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Bytes before the key in the PKCS#8 form of an RSA key of 2048 bits.
const PKCS8_HEAD: usize = 26;

/// A key of the issuer's, with its private half.
#[derive(Clone)]
pub struct Signer {
    pub id: String,
    pub algorithm: Algorithm,
    key: EncodingKey,
    public: Value,
}

impl Signer {
    /// The same RSA key for all tests: it takes a while to make.
    pub fn rsa(id: &str) -> Signer {
        static KEY: LazyLock<Vec<u8>> = LazyLock::new(rsa_key);
        Signer::of(id, Algorithm::RS256, EncodingKey::from_rsa_der(&KEY))
    }

    /// Another one.
    pub fn other_rsa(id: &str) -> Signer {
        static KEY: LazyLock<Vec<u8>> = LazyLock::new(rsa_key);
        Signer::of(id, Algorithm::RS256, EncodingKey::from_rsa_der(&KEY))
    }

    /// A fresh one.
    pub fn ec(id: &str) -> Signer {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("made");
        Signer::of(
            id,
            Algorithm::ES256,
            EncodingKey::from_ec_der(&key.serialize_der()),
        )
    }

    /// A fresh one.
    pub fn ed(id: &str) -> Signer {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("made");
        let x = URL_SAFE_NO_PAD.encode(key.public_key_raw());
        Signer {
            id: id.to_owned(),
            algorithm: Algorithm::EdDSA,
            key: EncodingKey::from_ed_der(&key.serialize_der()),
            public: json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
        }
    }

    fn of(id: &str, algorithm: Algorithm, key: EncodingKey) -> Signer {
        let public = Jwk::from_encoding_key(&key, algorithm).expect("a key");
        Signer {
            id: id.to_owned(),
            algorithm,
            key,
            public: serde_json::to_value(public).expect("JSON"),
        }
    }

    /// The public half.
    pub fn jwk(&self) -> Value {
        let mut jwk = self.public.clone();
        jwk["kid"] = self.id.as_str().into();
        jwk["use"] = "sig".into();
        jwk
    }

    pub fn header(&self) -> Header {
        Header {
            kid: Some(self.id.clone()),
            ..Header::new(self.algorithm)
        }
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header(), claims)
    }

    /// With another header.
    pub fn sign_as(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).expect("signed")
    }
}

fn rsa_key() -> Vec<u8> {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("made");
    key.serialize_der()[PKCS8_HEAD..].to_vec()
}

/// One part of a token.
pub fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A running provider; it ends with the test.
pub struct Provider {
    pub url: String,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    url: String,
    behaviour: Mutex<Behaviour>,
    fetches: AtomicUsize,
}

/// How it answers.
#[derive(Clone)]
pub struct Behaviour {
    pub keys: Value,
    pub status: StatusCode,
    /// What it says who it is; its address unless given.
    pub issuer: Option<String>,
    pub takes: Duration,
    /// The `Authorization` that it asks for.
    pub asks: Option<String>,
}

impl Provider {
    pub async fn start(signers: &[&Signer]) -> Provider {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shared = Arc::new(Shared {
            url: url.clone(),
            behaviour: Mutex::new(Behaviour {
                keys: key_set(signers),
                status: StatusCode::OK,
                issuer: None,
                takes: Duration::ZERO,
                asks: None,
            }),
            fetches: AtomicUsize::new(0),
        });
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .with_state(shared.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            let served = axum::serve(listener, app).with_graceful_shutdown(stopped);
            served.await.expect("served");
        });
        Provider {
            url,
            shared,
            _stop: stop.drop_guard(),
        }
    }

    /// From now on it does so.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.behaviour.lock().expect("sound"));
    }

    /// From now on it has these keys.
    pub fn rotate(&self, signers: &[&Signer]) {
        self.change(|behaviour| behaviour.keys = key_set(signers));
    }

    /// How often it was asked for keys.
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }
}

fn key_set(signers: &[&Signer]) -> Value {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({ "keys": keys })
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    let behaviour = shared.behaviour.lock().expect("sound").clone();
    let issuer = behaviour.issuer.unwrap_or_else(|| shared.url.clone());
    let keys = format!("{}/keys", shared.url);
    (
        behaviour.status,
        Json(json!({"issuer": issuer, "jwks_uri": keys})),
    )
        .into_response()
}

async fn keys(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    let behaviour = shared.behaviour.lock().expect("sound").clone();
    tokio::time::sleep(behaviour.takes).await;
    let given = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    if behaviour.asks.is_some() && behaviour.asks.as_deref() != given {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    (behaviour.status, Json(behaviour.keys)).into_response()
}
