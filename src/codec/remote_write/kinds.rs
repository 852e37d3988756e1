//! What a sender says its series are.
//!
//! Owns the metric types of the protocol, and how a series finds its family in a 1.0 request, which
//! describes families and not series. It must not know of points.

use crate::codec::protobuf::{Fields, Malformed};
use crate::model::series::SeriesKind;

/// Endings of the series that a family of each kind is made of.
const ENDINGS: [(&str, &[SeriesKind]); 4] = [
    ("_total", &[SeriesKind::Counter]),
    ("_bucket", &[SeriesKind::Histogram]),
    ("_sum", &[SeriesKind::Histogram, SeriesKind::Summary]),
    ("_count", &[SeriesKind::Histogram, SeriesKind::Summary]),
];
/// The type of histograms whose buckets go up and down; the same number in both messages.
pub(super) const GAUGE_HISTOGRAM: u64 = 4;

/// The kind of a series by its metric type: the numbers are the same in both messages.
pub(super) fn kind_of_type(metric_type: u64) -> SeriesKind {
    match metric_type {
        1 => SeriesKind::Counter,
        // Parts of gauge histograms, infos and states of a set go up and down.
        2 | GAUGE_HISTOGRAM | 6 | 7 => SeriesKind::Gauge,
        3 => SeriesKind::Histogram,
        5 => SeriesKind::Summary,
        _ => SeriesKind::Unknown,
    }
}

/// The metric type in a 2.0 series' `Metadata`. Unit and help decide nothing.
pub(super) fn metric_type(metadata: &[u8]) -> Result<u64, Malformed> {
    let mut metric_type = 0;
    for field in Fields::new(metadata) {
        if let (1, value) = field? {
            metric_type = value.varint(1)?;
        }
    }
    Ok(metric_type)
}

/// Metric types by family, of the `MetricMetadata` of a 1.0 request. Most senders send them in
/// requests of their own; here they are looked up where they come with the series.
#[derive(Debug, Default)]
pub(super) struct Families<'b>(Vec<(&'b str, u64)>);

// === impl Families ===

impl<'b> Families<'b> {
    /// Bytes that one takes.
    pub const BYTES_EACH: u64 = size_of::<(&str, u64)>() as u64;

    /// Of the first `count` messages. One that cannot be read describes nothing.
    pub fn new(messages: impl Iterator<Item = &'b [u8]>, count: usize) -> Families<'b> {
        let mut families = Vec::with_capacity(count);
        families.extend(
            messages
                .take(count)
                .filter_map(|message| family(message).ok()),
        );
        families.sort_unstable();
        Families(families)
    }

    /// As [`Families::metric_type`], of a name that was not looked at yet.
    pub fn metric_type_of_bytes(&self, series: &[u8]) -> u64 {
        if self.0.is_empty() {
            return 0;
        }
        std::str::from_utf8(series).map_or(0, |series| self.metric_type(series))
    }

    /// The metric type of a series: that of the family of its name, or of its name without the
    /// ending that parts of such a family have.
    pub fn metric_type(&self, series: &str) -> u64 {
        if self.0.is_empty() {
            return 0;
        }
        let of = |family: &str| {
            let at = self.0.partition_point(|(name, _)| *name < family);
            self.0.get(at).filter(|(name, _)| *name == family)
        };
        if let Some((_, metric_type)) = of(series) {
            return *metric_type;
        }
        let parts = ENDINGS.iter().find_map(|(ending, kinds)| {
            let (_, metric_type) = of(series.strip_suffix(ending)?)?;
            kinds
                .contains(&kind_of_type(*metric_type))
                .then_some(*metric_type)
        });
        parts.unwrap_or(0)
    }
}

fn family(message: &[u8]) -> Result<(&str, u64), Malformed> {
    let (mut name, mut metric_type) = ("", 0);
    for field in Fields::new(message) {
        match field? {
            (1, value) => metric_type = value.varint(1)?,
            (2, value) => name = value.text(2)?,
            _ => {}
        }
    }
    Ok((name, metric_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_families_are_found_by_their_endings() {
        let entries: [(&str, u8); 5] = [
            ("latency", 3),
            ("requests", 1),
            ("size_sum", 2),
            ("size", 5),
            ("up", 2),
        ];
        let messages: Vec<Vec<u8>> = entries
            .iter()
            .map(|(name, metric_type)| {
                let mut message = vec![0x08, *metric_type, 0x12, name.len() as u8];
                message.extend(name.as_bytes());
                message.extend(b"\x22\x04help\x2a\x01s");
                message
            })
            .collect();
        let bad = [0x12, 9];
        let all = messages.iter().map(Vec::as_slice).chain([&bad[..]]);
        let families = Families::new(all, 6);
        let kind = |name: &str| kind_of_type(families.metric_type(name));
        for name in ["latency", "latency_bucket", "latency_sum", "latency_count"] {
            assert_eq!(kind(name), SeriesKind::Histogram, "{name}");
        }
        for name in ["requests", "requests_total"] {
            assert_eq!(kind(name), SeriesKind::Counter, "{name}");
        }
        for name in ["size", "size_count"] {
            assert_eq!(kind(name), SeriesKind::Summary, "{name}");
        }
        for name in ["size_sum", "up"] {
            assert_eq!(kind(name), SeriesKind::Gauge, "{name}");
        }
        for name in [
            "requests_sum",
            "up_total",
            "latency_total",
            "size_bucket",
            "",
            "z",
        ] {
            assert_eq!(kind(name), SeriesKind::Unknown, "{name}");
        }
    }

    #[test]
    fn types_have_the_kinds_of_their_points() {
        let kinds: Vec<_> = (0..9).map(kind_of_type).collect();
        use SeriesKind::{Counter, Gauge, Histogram, Summary, Unknown};
        let expected = [
            Unknown, Counter, Gauge, Histogram, Gauge, Summary, Gauge, Gauge, Unknown,
        ];
        assert_eq!(kinds, expected);
        assert_eq!(metric_type(&[0x08, 3, 0x18, 1, 0x20, 2]), Ok(3));
        assert_eq!(metric_type(&[]), Ok(0));
        assert!(metric_type(&[0x0a, 0]).is_err());
    }
}
