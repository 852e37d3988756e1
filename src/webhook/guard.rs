//! Which addresses a webhook may go to.
//!
//! Owns the list of addresses that are refused whoever asks: those where clouds hand out
//! credentials. Everything else is the operator's choice, the machine's own network included,
//! because that is where deployment controllers live. The check is made twice: on the address as
//! written, and on every address a name resolves to, so that a name cannot lead around it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Addresses of metadata services: AWS, Azure, Google, OpenStack (169.254.169.254), AWS ECS
/// (169.254.170.2), AWS EKS (169.254.170.23), Alibaba (100.100.100.200), Oracle (192.0.0.192).
const METADATA_V4: [Ipv4Addr; 5] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The same in IPv6: AWS EC2, AWS EKS, Google.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// Whether nothing may ever be sent to this address.
pub fn is_refused(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => {
            METADATA_V6.contains(&v6) || embedded_v4(v6).is_some_and(|v4| METADATA_V4.contains(&v4))
        }
    }
}

/// The IPv4 address inside an IPv6 one: mapped (RFC 4291, 2.5.5.2), compatible (2.5.5.1),
/// NAT64 (RFC 6052, 64:ff9b::/96) and 6to4 (RFC 3056, 2002::/16).
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let words = v6.segments();
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match words {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(from(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(from(high, low)),
        [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

/// Whether an address's host is written as an IP address that is refused.
pub fn host_is_refused(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or("");
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok_and(is_refused)
}

/// The system's resolver without the addresses that are refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct GuardedResolver;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|a| !is_refused(a.ip())).collect();
            if allowed.is_empty() {
                let message = format!("{} resolves to no address that is allowed", name.as_str());
                return Err(message.into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_services_are_refused_in_every_spelling() {
        for host in [
            "169.254.169.254",
            "[::ffff:169.254.169.254]",
            "[fd00:ec2::254]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:a9fe:a9fe::1]",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "100.100.100.200",
        ] {
            let url = reqwest::Url::parse(&format!("http://{host}/latest")).expect("a URL");
            assert!(host_is_refused(&url), "{host} read as {url}");
        }
    }

    #[test]
    fn the_own_network_is_allowed() {
        for host in [
            "127.0.0.1",
            "[::1]",
            "10.0.0.7",
            "192.168.1.1",
            "169.254.1.1",
            "example.org",
        ] {
            let url = reqwest::Url::parse(&format!("http://{host}/")).expect("a URL");
            assert!(!host_is_refused(&url), "{host}");
        }
    }

    #[tokio::test]
    async fn a_name_is_checked_after_it_is_resolved() {
        let name: Name = "169.254.169.254".parse().expect("a name");
        assert!(GuardedResolver.resolve(name).await.is_err());
        let name: Name = "127.0.0.1".parse().expect("a name");
        assert_eq!(
            GuardedResolver
                .resolve(name)
                .await
                .expect("resolves")
                .count(),
            1
        );
    }
}
