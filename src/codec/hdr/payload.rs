//! One encoded histogram: base64, a cookie, perhaps zlib, a header, counts.
//!
//! Owns the encodings and the memory that histograms take turns to use. What a header asks for is
//! checked before anything is allocated for it, and the counts of V2 are then read by the crate
//! `hdrhistogram`; it knows neither V0 nor V1, whose words of fixed length are read here.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::{Decompress, FlushDecompress, Status};
use hdrhistogram::serialization::Deserializer;

use super::layout::Layout;
use super::{BadPayload, HdrCell, LOG_WORK_MAX, SPANNED_CELLS_MAX};
use crate::codec::Limits;

/// Bits of a cookie that give the length of a word.
const WORD_BITS: u32 = 0xf0;
const V0: u32 = 0x1c84_9308;
const V0_COMPRESSED: u32 = 0x1c84_9309;
const V1: u32 = 0x1c84_9301;
const V1_COMPRESSED: u32 = 0x1c84_9302;
const V2: u32 = 0x1c84_9303;
const V2_COMPRESSED: u32 = 0x1c84_9304;
const DOUBLES: u32 = 0x0c72_124e;
const DOUBLES_COMPRESSED: u32 = 0x0c72_124f;
/// What `hdrhistogram` takes for V2; other writers leave the bits of the word's length out.
const V2_EXPECTED: u32 = V2 | 0x10;

/// Bytes of the header of V1 and V2; that of V0 has fewer.
const HEADER_BYTES: usize = 40;
/// Bytes of the longest word: a count in V2.
const WORD_BYTES_MAX: usize = 9;
/// Bytes of the longest histogram, inflated.
const INFLATED_BYTES_MAX: usize = HEADER_BYTES + WORD_BYTES_MAX * SPANNED_CELLS_MAX;
/// Bytes inflated before more room is made.
const STEP_BYTES: usize = 4_096;
/// Counts of one histogram in all: doubles hold whole numbers up to there.
const TOTAL_MAX: u64 = 1 << 53;

/// Writers differ in whether they fill up to fours.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads one encoded histogram in base64, as a line of a log has it.
///
/// # Errors
/// [`BadPayload`].
pub fn read_payload(base64: &str, limits: &Limits) -> Result<Vec<HdrCell>, BadPayload> {
    Payloads::new(limits).read(base64)
}

/// Reads histograms, one at a time.
pub(super) struct Payloads {
    raw: Vec<u8>,
    inflated: Vec<u8>,
    decompress: Decompress,
    deserializer: Deserializer,
    cells_max: usize,
    work_left: u64,
}

/// What a header says.
struct Header {
    layout: Layout,
    /// Where in the histogram its counts are.
    counts: std::ops::Range<usize>,
}

/// Fields of a header, one after another.
struct Fields<'p>(&'p [u8]);

fn bad<T>(code: &'static str, message: impl Into<String>) -> Result<T, BadPayload> {
    let message = message.into();
    Err(BadPayload { code, message })
}

fn cut_off() -> BadPayload {
    BadPayload {
        code: "histogram_cut_off",
        message: "the histogram ends too early; send the whole line".into(),
    }
}

// === impl Fields ===

impl Fields<'_> {
    fn u32(&mut self) -> Result<u32, BadPayload> {
        let (field, rest) = self.0.split_first_chunk().ok_or_else(cut_off)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*field))
    }

    fn u64(&mut self) -> Result<u64, BadPayload> {
        let (field, rest) = self.0.split_first_chunk().ok_or_else(cut_off)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*field))
    }
}

// === impl Header ===

impl Header {
    /// Reads the header of V0, V1 or V2.
    fn read(cookie_base: u32, histogram: &[u8]) -> Result<Header, BadPayload> {
        let mut fields = Fields(histogram);
        fields.u32()?;
        if cookie_base == V0 {
            let (digits, lowest, highest) = (fields.u32()?, fields.u64()?, fields.u64()?);
            // Its total is the sum of the counts; it has no length, all that follows are counts.
            fields.u64()?;
            return Ok(Header {
                layout: Layout::new(digits, lowest, highest)?,
                counts: histogram.len() - fields.0.len()..histogram.len(),
            });
        }
        let (length, offset) = (fields.u32()?, fields.u32()?);
        let (digits, lowest, highest) = (fields.u32()?, fields.u64()?, fields.u64()?);
        let ratio = f64::from_bits(fields.u64()?);
        if offset != 0 || ratio != 1.0 {
            let message = "the histogram is shifted or scaled, as one of doubles is inside; \
                           record whole numbers";
            return bad("histogram_of_doubles", message);
        }
        let counts = fields.0.get(..length as usize).ok_or_else(cut_off)?;
        let from = histogram.len() - fields.0.len();
        Ok(Header {
            layout: Layout::new(digits, lowest, highest)?,
            counts: from..from + counts.len(),
        })
    }
}

// === impl Payloads ===

impl Payloads {
    pub fn new(limits: &Limits) -> Payloads {
        Payloads {
            raw: Vec::new(),
            inflated: Vec::new(),
            decompress: Decompress::new(true),
            deserializer: Deserializer::new(),
            cells_max: limits.values_per_sample_max,
            work_left: LOG_WORK_MAX,
        }
    }

    /// The cells of a histogram that are not empty, ascending.
    pub fn read(&mut self, base64: &str) -> Result<Vec<HdrCell>, BadPayload> {
        self.raw.clear();
        if let Err(error) = BASE64.decode_vec(base64, &mut self.raw) {
            return bad("bad_base64", format!("the histogram is no base64: {error}"));
        }
        let cookie = Fields(&self.raw).u32()?;
        match cookie & !WORD_BITS {
            V0 | V1 | V2 => {
                self.inflated.clear();
                self.inflated.extend_from_slice(&self.raw);
            }
            V0_COMPRESSED | V1_COMPRESSED | V2_COMPRESSED => self.inflate()?,
            _ if cookie == DOUBLES || cookie == DOUBLES_COMPRESSED => {
                let message = "a histogram of doubles; record whole numbers in a smaller unit";
                return bad("histogram_of_doubles", message);
            }
            _ => {
                let message = format!(
                    "the histogram begins with {cookie:#010x}, which is no encoding V0 to V2"
                );
                return bad("unknown_encoding", message);
            }
        }
        self.spend(self.inflated.len())?;
        let cookie = Fields(&self.inflated).u32()?;
        let base = cookie & !WORD_BITS;
        if ![V0, V1, V2].contains(&base) {
            let message = format!("inside is {cookie:#010x}, which is no encoding V0 to V2");
            return bad("unknown_encoding", message);
        }
        let header = Header::read(base, &self.inflated)?;
        self.spend(header.layout.cells)?;
        if base == V2 {
            return self.read_v2(&header);
        }
        self.read_words(&header, (cookie & WORD_BITS) >> 4)
    }

    fn spend(&mut self, work: usize) -> Result<(), BadPayload> {
        match self.work_left.checked_sub(work as u64) {
            Some(left) => {
                self.work_left = left;
                Ok(())
            }
            None => bad(
                "log_too_long",
                format!(
                    "the histograms of the log span more than {LOG_WORK_MAX} cells and bytes; send \
                     it in parts, each with its headers"
                ),
            ),
        }
    }

    fn inflate(&mut self) -> Result<(), BadPayload> {
        let mut fields = Fields(&self.raw);
        fields.u32()?;
        let length = fields.u32()? as usize;
        let mut rest = fields.0.get(..length).ok_or_else(cut_off)?;
        self.decompress.reset(true);
        self.inflated.clear();
        loop {
            let room = self.inflated.len().max(STEP_BYTES);
            self.inflated.reserve(room);
            let (read, written) = (self.decompress.total_in(), self.inflated.len());
            let flush = FlushDecompress::None;
            let status = self
                .decompress
                .decompress_vec(rest, &mut self.inflated, flush);
            let read = (self.decompress.total_in() - read) as usize;
            rest = rest.get(read..).unwrap_or_default();
            if self.inflated.len() > INFLATED_BYTES_MAX {
                let message = format!(
                    "the histogram takes more than {INFLATED_BYTES_MAX} bytes; record fewer digits \
                     or a smaller range"
                );
                return bad("too_many_cells", message);
            }
            match status {
                Ok(Status::StreamEnd) => return Ok(()),
                Ok(_) if read > 0 || self.inflated.len() > written => {}
                Ok(_) => return Err(cut_off()),
                Err(error) => {
                    let message = format!("the histogram cannot be inflated: {error}");
                    return bad("bad_deflate", message);
                }
            }
        }
    }

    fn read_v2(&mut self, header: &Header) -> Result<Vec<HdrCell>, BadPayload> {
        // A run of 2^63 zeros, nine such bytes, has no positive counterpart. Where it is made of
        // two words they are counts past any limit too.
        let counts = &self.inflated[header.counts.clone()];
        if memchr::memmem::find(counts, &[0xff; WORD_BYTES_MAX]).is_some() {
            return bad(
                "bad_count",
                "a count or a run of zeros does not fit 63 bits",
            );
        }
        self.inflated[..4].copy_from_slice(&V2_EXPECTED.to_be_bytes());
        let histogram = self
            .deserializer
            .deserialize::<u64, _>(&mut self.inflated.as_slice());
        let histogram = match histogram {
            Ok(histogram) => histogram,
            Err(error) => {
                let message = format!("the counts cannot be read: {error}");
                return bad("bad_count", message);
            }
        };
        let mut cells = Cells::new(self.cells_max);
        for recorded in histogram.iter_recorded() {
            let highest = recorded.value_iterated_to();
            cells.add(HdrCell {
                lowest: histogram.lowest_equivalent(highest),
                highest,
                count: recorded.count_at_value(),
            })?;
        }
        Ok(cells.cells)
    }

    /// Reads counts of fixed length: V0 and V1.
    fn read_words(&self, header: &Header, word_bits: u32) -> Result<Vec<HdrCell>, BadPayload> {
        let counts = &self.inflated[header.counts.clone()];
        // The lowest bit says something else.
        let word = match word_bits & 0xe {
            word @ (2 | 4 | 8) => word as usize,
            word => {
                let message = format!("counts of {word} bytes; there are those of 2, 4 and 8");
                return bad("bad_histogram_header", message);
            }
        };
        if !counts.len().is_multiple_of(word) {
            return Err(cut_off());
        }
        let mut cells = Cells::new(self.cells_max);
        for (cell, bytes) in counts.chunks_exact(word).enumerate() {
            let sign = if bytes[0] >= 0x80 { -1 } else { 0 };
            let count = bytes
                .iter()
                .fold(sign, |count: i64, byte| count << 8 | i64::from(*byte));
            if count == 0 {
                continue;
            }
            if count < 0 || cell >= header.layout.cells {
                let message = format!(
                    "the count {count} of cell {cell}: counts are not negative, and there are {} \
                     cells",
                    header.layout.cells
                );
                return bad("bad_count", message);
            }
            let (lowest, highest) = header.layout.values(cell);
            let count = count.unsigned_abs();
            cells.add(HdrCell {
                lowest,
                highest,
                count,
            })?;
        }
        Ok(cells.cells)
    }
}

/// Cells within limits.
struct Cells {
    cells: Vec<HdrCell>,
    total: u64,
    cells_max: usize,
}

// === impl Cells ===

impl Cells {
    fn new(cells_max: usize) -> Cells {
        Cells {
            cells: Vec::new(),
            total: 0,
            cells_max,
        }
    }

    fn add(&mut self, cell: HdrCell) -> Result<(), BadPayload> {
        if self.cells.len() == self.cells_max {
            let message = format!(
                "a histogram of more than {} cells; record fewer digits, or raise \
                 limits.values_per_sample_max",
                self.cells_max
            );
            return bad("too_many_cells", message);
        }
        self.total = self.total.saturating_add(cell.count);
        if self.total > TOTAL_MAX {
            let message = format!("more than {TOTAL_MAX} values in one histogram");
            return bad("bad_count", message);
        }
        self.cells.push(cell);
        Ok(())
    }
}
