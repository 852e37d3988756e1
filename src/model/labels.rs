//! A set of labels, held as flat bytes.
//!
//! Owns how a label set is laid out: one piece of memory for all its texts, so that a sample of
//! seven labels costs one allocation and not fifteen. Series' keys are laid out alike
//! ([`super::series`]). It must not know what labels mean.

use super::series::KEY_END;

/// Bytes that most label sets have room in.
const USUAL_BYTES: usize = 160;

/// A label set: names to values, sorted by name, no name twice.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels {
    /// `name KEY_END value KEY_END` for each label.
    bytes: Vec<u8>,
    /// Where the last label's name begins and ends.
    last: (usize, usize),
}

// === impl Labels ===

impl Labels {
    /// None.
    pub fn new() -> Labels {
        Labels::default()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Those laid out in `bytes`, as [`Labels::as_bytes`] gives them.
    pub(crate) fn of_sorted(bytes: &[u8]) -> Labels {
        let before = |end: usize| {
            let ends = bytes[..end].iter().rposition(|byte| *byte == KEY_END);
            ends.map_or(0, |at| at + 1)
        };
        // The last name stands before the last value, and each has its end behind it.
        let value = before(bytes.len().saturating_sub(1));
        let name_end = value.saturating_sub(1);
        Labels {
            bytes: bytes.to_vec(),
            last: (before(name_end), name_end),
        }
    }

    /// Texts and their ends, as they are laid out.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Bytes of names and values and their ends.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut texts = self.bytes.split(|&byte| byte == KEY_END);
        std::iter::from_fn(move || {
            let (name, value) = (texts.next()?, texts.next()?);
            // They were texts when they came.
            let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
            Some((text(name), text(value)))
        })
    }

    /// The value of a label.
    pub fn get(&self, wanted: &str) -> Option<&str> {
        // Only what is wanted is made a text of: every selector of every analysis asks.
        let mut texts = self.bytes.split(|&byte| byte == KEY_END);
        loop {
            let (name, value) = (texts.next()?, texts.next()?);
            if name == wanted.as_bytes() {
                return Some(std::str::from_utf8(value).unwrap_or_default());
            }
        }
    }

    /// Gives a label a value, in place of the one it has.
    pub fn insert(&mut self, name: &str, value: &str) {
        if self.is_empty() || name.as_bytes() > self.last_name() {
            return self.push(name, value);
        }
        // Senders sort their labels; this is for those that do not.
        let old = std::mem::take(self);
        let mut is_in = false;
        for (known, before) in old.iter() {
            if !is_in && name <= known {
                self.push(name, value);
                is_in = true;
            }
            if known != name {
                self.push(known, before);
            }
        }
    }

    fn last_name(&self) -> &[u8] {
        &self.bytes[self.last.0..self.last.1]
    }

    fn push(&mut self, name: &str, value: &str) {
        if self.is_empty() {
            // Where there is one there are several.
            self.bytes.reserve(USUAL_BYTES);
        }
        let from = self.bytes.len();
        self.last = (from, from + name.len());
        for text in [name, value] {
            self.bytes.extend_from_slice(text.as_bytes());
            self.bytes.push(KEY_END);
        }
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Labels {
        let mut labels = Labels::new();
        for (name, value) in pairs {
            labels.insert(name.as_ref(), value.as_ref());
        }
        labels
    }
}

impl std::fmt::Debug for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_that_were_laid_out_go_on_as_they_were() {
        for given in [vec![], vec![("b", "1")], vec![("a", ""), ("b", "2")]] {
            let labels: Labels = given.iter().copied().collect();
            let mut again = Labels::of_sorted(labels.as_bytes());
            assert_eq!(again, labels);
            again.insert("c", "3");
            again.insert("a", "4");
            let expected = given.iter().copied().filter(|(name, _)| *name != "a");
            let expected: Labels = expected.chain([("c", "3"), ("a", "4")]).collect();
            assert_eq!(again, expected);
        }
    }

    proptest! {
        #[test]
        fn a_label_set_is_a_map_of_its_labels(
            pairs in proptest::collection::vec(("[a-c]{0,2}", "[x-zÜ]{0,3}"), 0..8),
        ) {
            let map: BTreeMap<String, String> = pairs.iter().cloned().collect();
            let labels: Labels = pairs.iter().cloned().collect();
            let found: Vec<_> = labels.iter().collect();
            let wanted: Vec<_> = map.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            prop_assert_eq!(found, wanted);
            prop_assert_eq!(labels.len(), map.len());
            prop_assert_eq!(labels.is_empty(), map.is_empty());
            for name in ["", "a", "bb", "d"] {
                prop_assert_eq!(labels.get(name), map.get(name).map(String::as_str));
            }
            let again: Labels = map.into_iter().rev().collect();
            prop_assert_eq!(again, labels);
        }
    }
}
