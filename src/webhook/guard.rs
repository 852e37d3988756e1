//! Which addresses a webhook may go to.
//!
//! Owns the list of addresses that are refused whoever asks: those where clouds hand out
//! credentials, and all that are link-local, for clouds keep more of them there. Everything else is
//! the operator's choice, the machine's own network included, because that is where deployment
//! controllers live. The check is made twice: on the address as written, and on every address a name
//! resolves to, which are the very ones that are dialled, so that a name cannot lead around it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Addresses of metadata services beyond the link: Alibaba (100.100.100.200), Oracle (192.0.0.192),
/// Azure (168.63.129.16).
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// The same in IPv6: Google, Scaleway.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// Whether nothing may ever be sent to this address.
pub fn is_refused(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_refused_v4(v4),
        IpAddr::V6(v6) => is_refused_v6(v6) || embedded_v4(v6).into_iter().any(is_refused_v4),
    }
}

/// 169.254.0.0/16 is the link: AWS, Azure, Google, OpenStack and others at .169.254, AWS ECS and EKS
/// at .170.2 and .170.23, Scaleway at .42.42, Tencent at .0.23.
fn is_refused_v4(v4: Ipv4Addr) -> bool {
    v4.is_link_local() || METADATA_V4.contains(&v4)
}

/// fe80::/10 is the link. AWS has fd00:ec2::/32 for services of the machine: EC2's and EKS' metadata
/// among them.
fn is_refused_v6(v6: Ipv6Addr) -> bool {
    let is_aws = v6.segments()[..2] == [0xfd00, 0xec2];
    v6.is_unicast_link_local() || is_aws || METADATA_V6.contains(&v6)
}

/// The IPv4 addresses that an IPv6 one may lead to: mapped (RFC 4291, 2.5.5.2), compatible
/// (2.5.5.1), translated (RFC 2765), NAT64 by the well-known prefix and by the local one, where the
/// address stands after 48 or after 96 bits (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380,
/// inverted) and ISATAP (RFC 5214).
fn embedded_v4(v6: Ipv6Addr) -> Vec<Ipv4Addr> {
    let words = v6.segments();
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    let last = from(words[6], words[7]);
    let mut found = match words {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => vec![last],
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => vec![last],
        [0x64, 0xff9b, 1, first, middle, end, ..] => {
            let ([_, third], [fourth, _]) = (middle.to_be_bytes(), end.to_be_bytes());
            vec![last, from(first, u16::from_be_bytes([third, fourth]))]
        }
        [0x2002, high, low, ..] => vec![from(high, low)],
        [0x2001, 0, ..] => vec![from(!words[6], !words[7])],
        _ => Vec::new(),
    };
    if matches!(words, [_, _, _, _, 0 | 0x200, 0x5efe, ..]) {
        found.push(last);
    }
    found
}

/// Whether an address's host is written as an IP address that is refused.
pub fn host_is_refused(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or("");
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok_and(is_refused)
}

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Addrs = Box::new(found.collect::<Vec<SocketAddr>>().into_iter());
            Ok(addresses)
        })
    }
}

/// A resolver without the addresses that are refused. What it gives is what is dialled, so a name
/// that resolves to something else the next time is checked the next time.
#[derive(Clone)]
pub struct GuardedResolver(Arc<dyn Resolve>);

// === impl GuardedResolver ===

impl GuardedResolver {
    /// Guards another resolver.
    pub fn of(inner: impl Resolve + 'static) -> GuardedResolver {
        GuardedResolver(Arc::new(inner))
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let message = format!("{} resolves to no address that is allowed", name.as_str());
        let resolving = self.0.resolve(name);
        Box::pin(async move {
            let found = resolving.await?;
            let allowed: Vec<SocketAddr> = found.filter(|a| !is_refused(a.ip())).collect();
            if allowed.is_empty() {
                return Err(message.into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests;
