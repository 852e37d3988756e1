//! Bytes in a file that know whether they are whole.
//!
//! Owns the form: length (4 bytes, little end first), CRC-32 of length and bytes (4 bytes), the bytes.

use std::io::{self, Read};

/// Bytes before each frame.
pub const HEAD_BYTES: usize = 8;

/// What stands before these bytes.
///
/// # Panics
/// From 4 GiB on: one input, and one block of lines, are far below.
pub fn head(bytes: &[u8]) -> [u8; HEAD_BYTES] {
    let length = u32::try_from(bytes.len()).expect("far below 4 GiB");
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..].copy_from_slice(&checksum(&length.to_le_bytes(), bytes).to_le_bytes());
    head
}

fn checksum(length: &[u8], bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(bytes);
    hasher.finalize()
}

/// Reads the next frame into `frame`, of which there are so many bytes `left` in the file; whether it
/// is whole.
///
/// # Errors
/// What the system says.
pub fn read(from: &mut impl Read, left: u64, frame: &mut Vec<u8>) -> io::Result<bool> {
    let mut head = [0; HEAD_BYTES];
    if left < HEAD_BYTES as u64 {
        return Ok(false);
    }
    from.read_exact(&mut head)?;
    let (length, sum) = head.split_at(size_of::<u32>());
    let bytes = u64::from(little_end_first(length));
    // Space that was given and never written to holds zeros.
    if bytes == 0 || bytes > left - HEAD_BYTES as u64 {
        return Ok(false);
    }
    frame.resize(bytes as usize, 0);
    from.read_exact(frame)?;
    Ok(checksum(length, frame) == little_end_first(sum))
}

fn little_end_first(bytes: &[u8]) -> u32 {
    let digits = bytes.iter().rev();
    digits.fold(0, |number, &byte| number << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_whole_or_known_not_to_be() {
        let frame = b"what was acknowledged";
        let mut written = head(frame).to_vec();
        written.extend_from_slice(frame);
        let is_whole = |bytes: &[u8]| {
            let mut found = Vec::new();
            let read = read(&mut &*bytes, bytes.len() as u64, &mut found);
            read.expect("memory") && found == frame
        };
        assert!(is_whole(&written));
        for end in 0..written.len() {
            assert!(!is_whole(&written[..end]), "{end}");
        }
        for place in 0..written.len() {
            for bit in 0..8 {
                let mut other = written.clone();
                other[place] ^= 1 << bit;
                assert!(!is_whole(&other), "byte {place}, bit {bit}");
            }
        }
        assert!(!is_whole(&[0; 64]));
    }
}
