//! Cuts a JSON array into its items without reading them.
//!
//! Owns the boundaries between items and nothing else: it looks at strings, brackets and commas
//! only, so that an item that is not JSON (`NaN`, `1e`) costs itself and not its neighbours.

use super::lines::first_quote;

/// Why an array could not be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadArray {
    /// It is not an array of items.
    Malformed {
        /// Where, in bytes from the start.
        offset: usize,
        /// What is wrong.
        message: &'static str,
    },
    /// It has more items than were asked for.
    TooLong,
}

/// First byte at or after `at` that is not JSON white space.
pub(super) fn skip_space(bytes: &[u8], at: usize) -> usize {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    at + bytes[at..].iter().take_while(|b| is_space(b)).count()
}

/// Cuts the array whose `[` stands at `start`: the items' ranges and the offset past its `]`. Ends
/// at the first item past `items_max`: an item may have one byte, and its range has sixteen.
///
/// # Errors
/// [`BadArray`] when the brackets do not close, an item is empty or there are too many.
pub(super) fn split_array(
    bytes: &[u8],
    start: usize,
    items_max: usize,
) -> Result<(Vec<std::ops::Range<usize>>, usize), BadArray> {
    let mut items = Vec::new();
    let mut at = skip_space(bytes, start + 1);
    if bytes.get(at) == Some(&b']') {
        return Ok((items, at + 1));
    }
    loop {
        let begin = skip_space(bytes, at);
        let end = item_end(bytes, begin)?;
        let trimmed = bytes[begin..end].trim_ascii_end().len();
        if trimmed == 0 {
            let message = "an item is missing before this place";
            return Err(BadArray::Malformed {
                offset: end,
                message,
            });
        }
        if items.len() == items_max {
            return Err(BadArray::TooLong);
        }
        items.push(begin..begin + trimmed);
        if bytes[end] == b']' {
            return Ok((items, end + 1));
        }
        at = end + 1;
    }
}

/// Bytes at which something begins or ends; most are none of them.
const IS_MARK: [bool; 256] = {
    let mut is_mark = [false; 256];
    let marks = b"\"{}[],";
    let mut nth = 0;
    while nth < marks.len() {
        is_mark[marks[nth] as usize] = true;
        nth += 1;
    }
    is_mark
};

/// Offset of the `,` or `]` that ends the item at `begin`.
fn item_end(bytes: &[u8], begin: usize) -> Result<usize, BadArray> {
    let mut depth = 0_usize;
    let mut at = begin;
    while let Some(&byte) = bytes.get(at) {
        if !IS_MARK[byte as usize] {
            at += 1;
            continue;
        }
        match byte {
            b'"' => at = string_end(bytes, at)?,
            b'[' => match flat_end(&bytes[at + 1..]) {
                Some(end) => at += 1 + end,
                None => depth += 1,
            },
            b'{' => depth += 1,
            b',' | b']' if depth == 0 => return Ok(at),
            b'}' if depth == 0 => {
                let message = "a closing brace without its opening one";
                return Err(BadArray::Malformed {
                    offset: at,
                    message,
                });
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    Err(BadArray::Malformed {
        offset: bytes.len(),
        message: "the array is not closed",
    })
}

/// Offset of the `]` that closes an array, given what follows its `[`, where nothing begins or ends
/// in between: numbers, as a rule hundreds of them. It looks no further than the next `[`, so that an
/// array of arrays is not read over and over.
fn flat_end(rest: &[u8]) -> Option<usize> {
    let end = memchr::memchr3(b']', b'[', b'"', rest)?;
    let is_flat = rest[end] == b']' && memchr::memchr2(b'{', b'}', &rest[..end]).is_none();
    is_flat.then_some(end)
}

/// Offset of the quote that closes the string opened at `open`.
fn string_end(bytes: &[u8], open: usize) -> Result<usize, BadArray> {
    let mut at = open + 1;
    while let Some(rest) = bytes.get(at..) {
        at += first_quote(rest);
        match bytes.get(at) {
            Some(b'"') => return Ok(at),
            Some(_) => at += 2,
            None => break,
        }
    }
    Err(BadArray::Malformed {
        offset: open,
        message: "a string is not closed",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items(text: &str) -> Vec<&str> {
        let (ranges, end) = split_array(text.as_bytes(), 0, usize::MAX).expect("closed");
        assert_eq!(end, text.trim_end().len());
        ranges.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn items_are_cut_at_top_level_commas_only() {
        assert_eq!(items("[]"), Vec::<&str>::new());
        assert_eq!(items("[ ]"), Vec::<&str>::new());
        assert_eq!(
            items(r#"[1, {"a":[2,3]} ,"x,]\"" ]"#),
            ["1", r#"{"a":[2,3]}"#, r#""x,]\"""#]
        );
        assert_eq!(items("[NaN,1e]"), ["NaN", "1e"]);
    }

    #[test]
    fn what_does_not_close_is_refused_with_its_place() {
        for (text, offset) in [("[1", 2), ("[\"a", 1), ("[1,]", 3), ("[,1]", 1), ("[1}", 2)] {
            match split_array(text.as_bytes(), 0, 2) {
                Err(BadArray::Malformed { offset: found, .. }) => {
                    assert_eq!(found, offset, "{text}")
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn cutting_ends_at_the_first_item_past_the_limit() {
        let cut = |text: &str| split_array(text.as_bytes(), 0, 2).map(|(items, _)| items.len());
        assert_eq!(cut("[1,2]"), Ok(2));
        assert_eq!(cut("[1,2,3]"), Err(BadArray::TooLong));
        // The array is not closed: its end was never looked for.
        assert_eq!(
            cut("[1,2,3"),
            Err(BadArray::Malformed {
                offset: 6,
                message: "the array is not closed"
            })
        );
        assert_eq!(cut("[1,2,3,"), Err(BadArray::TooLong));
    }

    proptest! {
        #[test]
        fn cutting_agrees_with_a_json_reader(values in proptest::collection::vec(
            proptest::sample::select(vec!["1", "null", "\"a,b\"", "{\"k\":[1,{}]}", "{\"k\":[1,2]}", "[[1,\"]\"],2]", "[]", "\"\\\\\""]),
            0..8,
        )) {
            let text = format!("[{}]", values.join(" ,\n"));
            let whole: Vec<serde_json::Value> = serde_json::from_str(&text).expect("valid");
            prop_assert_eq!(whole.len(), items(&text).len());
            prop_assert_eq!(items(&text), values);
        }

        #[test]
        fn any_bytes_are_cut_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut text = vec![b'['];
            text.extend(bytes);
            if let Ok((ranges, end)) = split_array(&text, 0, usize::MAX) {
                prop_assert!(end <= text.len());
                prop_assert!(ranges.iter().all(|r| !r.is_empty() && r.end < end));
            }
        }
    }
}
