//! davy tells a deployment controller, while a canary runs, whether it is worse than its baseline.
//!
//! The crate is laid out in floors. A file uses only its own floor or a lower one; the test
//! `tests/it/architecture.rs` reads the sources and enforces it.
//!
//! 1. **Words and numbers** (pure): [`model`], [`stats`].
//! 2. **Judging** (pure): [`plan`], [`window`], [`judge`].
//! 3. **The machine and the codecs** (pure): [`engine`], [`codec`], [`backoff`].
//! 4. **Configuration and ports**: [`config`], [`clock`], [`log`], [`store`].
//! 5. **Adapters**: [`webhook`], [`pull`], [`oidc`], [`telemetry`], [`tls`], [`tokens`].
//! 6. **Surfaces**: [`http`].
//! 7. **Composition**: [`app`], [`cli`], `main`.
//!
//! Start reading at [`engine::apply`], which every driver shares, then [`judge`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]
// The library is documented for those who work on it: a link may lead into a private room.
#![allow(rustdoc::private_intra_doc_links)]

// Floor 1: words and numbers.
pub mod model;
pub mod stats;
// Floor 2: judging.
pub mod judge;
pub mod plan;
pub mod window;
// Floor 3: the machine and the codecs.
pub mod backoff;
pub mod codec;
pub mod engine;
// Floor 4: configuration and ports.
pub mod clock;
pub mod config;
pub mod log;
pub mod store;
// Floor 5: adapters.
pub mod oidc;
pub mod pull;
pub mod telemetry;
pub mod tls;
pub mod tokens;
pub mod webhook;
// Floor 6: surfaces.
pub mod http;
// Floor 7: composition.
pub mod app;
pub mod cli;
