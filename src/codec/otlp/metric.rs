//! A metric of an export request, as protobuf.
//!
//! Owns what is said of all its points: name, unit, and what they are. The points themselves are
//! read in [`super::wire`].

use super::super::protobuf::{Fields, Malformed, messages};
use super::gather::{Data, Shape};

/// A `Metric`, without its points.
pub(super) struct Metric<'b> {
    pub name: &'b str,
    pub unit: &'b str,
    /// The last of the fields that hold data, only one of which may be set.
    pub data: Option<(u32, Data)>,
}

// === impl Metric ===

impl<'b> Metric<'b> {
    /// Reads one; its points are not looked at.
    ///
    /// # Errors
    /// [`Malformed`] where a field of it is.
    pub fn of(message: &'b [u8]) -> Result<Metric<'b>, Malformed> {
        let mut metric = Metric {
            name: "",
            unit: "",
            data: None,
        };
        for field in Fields::new(message) {
            let (field, value) = field?;
            let data = match field {
                1 => {
                    metric.name = value.text(1)?;
                    continue;
                }
                3 => {
                    metric.unit = value.text(3)?;
                    continue;
                }
                5 => Data::Gauge,
                7 => Data::Sum,
                9 => Data::Histogram,
                10 => Data::Exponential,
                11 => Data::Summary,
                _ => continue,
            };
            value.bytes(field)?;
            metric.data = Some((field, data));
        }
        Ok(metric)
    }

    /// Temporality and monotonicity stand behind the points, and in their own wire type: where
    /// points are malformed, these are found nevertheless.
    ///
    /// # Errors
    /// [`Malformed`] where one of the two is.
    pub fn shape(message: &[u8], field: u32, data: Data) -> Result<Shape, Malformed> {
        let (mut temporality, mut is_monotonic) = (0, false);
        if matches!(data, Data::Sum | Data::Histogram | Data::Exponential) {
            for part in messages(message, field).flatten() {
                for found in Fields::new(part) {
                    match found? {
                        (2, value) => temporality = value.varint(2)? as i64,
                        (3, value) if data == Data::Sum => is_monotonic = value.varint(3)? != 0,
                        _ => {}
                    }
                }
            }
        }
        Ok(Shape {
            data,
            temporality,
            is_monotonic,
        })
    }
}
