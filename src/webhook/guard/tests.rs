//! Tests of the guard: every spelling of an address that is refused, and names that lead to one.

use std::sync::Mutex;

use super::*;

/// Every address of a metadata service, and the ends of the ranges.
const REFUSED_V4: [[u8; 4]; 9] = [
    [169, 254, 169, 254],
    [169, 254, 170, 2],
    [169, 254, 170, 23],
    [169, 254, 0, 0],
    [169, 254, 255, 255],
    [169, 254, 42, 42],
    [100, 100, 100, 200],
    [192, 0, 0, 192],
    [168, 63, 129, 16],
];
/// Their neighbours, and the operator's own networks.
const ALLOWED_V4: [[u8; 4]; 9] = [
    [169, 253, 255, 255],
    [169, 255, 0, 0],
    [100, 100, 100, 199],
    [168, 63, 129, 17],
    [127, 0, 0, 1],
    [10, 0, 0, 7],
    [172, 16, 0, 1],
    [192, 168, 1, 1],
    [93, 184, 216, 34],
];

/// Whether the host in an address is refused; it must be one that a URL can hold.
fn host(text: &str) -> bool {
    let url = reqwest::Url::parse(&format!("http://{text}/latest"));
    host_is_refused(&url.unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// The spellings of an IPv4 address that a URL takes, as the WHATWG's parser reads them.
fn spellings(v4: [u8; 4]) -> Vec<String> {
    let [a, b, c, d] = v4;
    let (whole, first) = (u32::from_be_bytes(v4), a.to_string());
    let (last_two, last_three) = (u16::from_be_bytes([c, d]), whole & 0x00ff_ffff);
    vec![
        format!("{a}.{b}.{c}.{d}"),
        format!("{a}.{b}.{c}.{d}."),
        format!("{whole}"),
        format!("{whole:#x}"),
        format!("0X{whole:08X}"),
        format!("0{whole:o}"),
        format!("{a}.{b}.{last_two}"),
        format!("{a}.{last_three}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("0x{a:x}.{b}.0{c:o}.{d}"),
        format!("%{:02X}{}.{b}.{c}.{d}", first.as_bytes()[0], &first[1..]),
    ]
}

/// The IPv6 addresses that lead to an IPv4 one.
fn wrapped(v4: [u8; 4]) -> Vec<String> {
    let [a, b, c, d] = v4;
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    vec![
        format!("::ffff:{a}.{b}.{c}.{d}"),
        format!("::FFFF:{high:X}:{low:X}"),
        format!("0:0:0:0:0:ffff:{high:04x}:{low:04x}"),
        format!("::{high:x}:{low:x}"),
        format!("::ffff:0:{high:x}:{low:x}"),
        format!("64:ff9b::{a}.{b}.{c}.{d}"),
        format!("64:ff9b:1::{high:x}:{low:x}"),
        format!("64:ff9b:1:{high:x}:{c:x}:{:x}::", u16::from(d) << 8),
        format!("2002:{high:x}:{low:x}::1"),
        format!("2001:0:4136:e378:8000:63bf:{:x}:{:x}", !high, !low),
        format!("2001:db8::5efe:{high:x}:{low:x}"),
        format!("fd12::200:5efe:{a}.{b}.{c}.{d}"),
    ]
}

#[test]
fn metadata_services_are_refused_in_every_spelling_and_wrapping() {
    for v4 in REFUSED_V4 {
        for text in spellings(v4) {
            assert!(host(&text), "{text}");
        }
        for text in wrapped(v4) {
            assert!(host(&format!("[{text}]")), "{text}");
        }
    }
    for text in [
        "fe80::1",
        "febf:ffff::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "FD00:0EC2:0:0:0:0:0:254",
        "fd20:ce::254",
        "fd00:42::42",
    ] {
        assert!(host(&format!("[{text}]")), "{text}");
    }
}

#[test]
fn the_own_network_and_the_neighbours_are_allowed() {
    for v4 in ALLOWED_V4 {
        for text in spellings(v4) {
            assert!(!host(&text), "{text}");
        }
        for text in wrapped(v4) {
            assert!(!host(&format!("[{text}]")), "{text}");
        }
    }
    for text in [
        "[::1]",
        "[fec0::1]",
        "[fd00:ec3::254]",
        "[2001:db8::1]",
        "example.org",
    ] {
        assert!(!host(text), "{text}");
    }
}

#[test]
fn an_address_with_a_zone_is_no_url() {
    for text in [
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[::ffff:169.254.169.254%1]",
    ] {
        let url = reqwest::Url::parse(&format!("http://{text}/"));
        assert!(url.is_err(), "{text}");
    }
}

/// A resolver that gives one list after the other.
struct Fake(Mutex<Vec<Vec<SocketAddr>>>);

impl Resolve for Fake {
    fn resolve(&self, _: Name) -> Resolving {
        let mut answers = self.0.lock().expect("no panic");
        let next = answers.remove(0);
        let addresses: Addrs = Box::new(next.into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[tokio::test]
async fn a_name_is_checked_each_time_it_is_resolved() {
    let answers = vec![
        vec![at("127.0.0.1:80")],
        vec![at("169.254.169.254:80")],
        vec![
            at("169.254.169.254:80"),
            at("10.0.0.1:80"),
            at("[fe80::1]:80"),
        ],
        vec![],
    ];
    let guarded = GuardedResolver::of(Fake(Mutex::new(answers)));
    let resolve = async || {
        let name: Name = "rebound.example".parse().expect("a name");
        let found = guarded.resolve(name).await;
        found.map(Iterator::collect::<Vec<SocketAddr>>)
    };
    assert_eq!(resolve().await.expect("allowed"), [at("127.0.0.1:80")]);
    let refused = resolve().await.expect_err("it is another one now");
    assert!(refused.to_string().contains("rebound.example"), "{refused}");
    assert_eq!(resolve().await.expect("one is"), [at("10.0.0.1:80")]);
    resolve().await.expect_err("nothing is found");
}

#[tokio::test]
async fn the_system_s_answers_are_guarded() {
    let resolve = async |text: &str| {
        let name: Name = text.parse().expect("a name");
        let found = GuardedResolver::of(SystemResolver).resolve(name).await;
        found.map(Iterator::count)
    };
    assert!(resolve("169.254.169.254").await.is_err());
    assert_eq!(resolve("127.0.0.1").await.expect("resolves"), 1);
}
