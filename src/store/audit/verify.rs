//! Whether rows are what was written, all of it, in its order.
//!
//! Owns what is found and how it is told. It takes the rows one after the other, as they come: from
//! a database, or from an export.

use serde::{Deserialize, Serialize};

use super::{ANCHOR, Anchor, GENESIS, Row};

/// The last row at some time, kept elsewhere: what shows that later rows were cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Head {
    /// Its number; 0 where there was none.
    pub sequence: u64,
    /// Its hash.
    pub hash: String,
}

impl Head {
    /// That of a log whose last row is this one.
    pub fn of(last: Option<Row>) -> Head {
        match last {
            Some(row) => Head {
                sequence: row.sequence,
                hash: row.hash,
            },
            None => Head {
                sequence: 0,
                hash: GENESIS.to_owned(),
            },
        }
    }
}

/// What is wrong first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Its hash is not that of what it says.
    #[error("row {0} was edited: its hash is not that of what it says")]
    Edited(u64),
    /// A column holds what davy never writes.
    #[error("row {sequence} was edited: its {column} is nothing that davy writes")]
    Damaged {
        /// Its number, which may be the one that was edited.
        sequence: i64,
        /// The column.
        column: &'static str,
    },
    /// It does not follow the row before it.
    #[error(
        "row {0} was inserted, or the one before it was replaced: it does not hold that one's hash"
    )]
    Inserted(u64),
    /// Its number was there before, or a higher one.
    #[error("row {sequence} is out of order: it comes after row {after}")]
    OutOfOrder {
        /// Its number.
        sequence: u64,
        /// The one before it.
        after: u64,
    },
    /// Rows are gone, and no anchor tells of them.
    #[error("rows {from} to {to} are missing, and no row of kind retention.anchor tells of them")]
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// The exported head is further than the last row.
    #[error("the tail is cut: the exported head is row {head}, and the last row is {last}")]
    CutTail {
        /// The exported head.
        head: u64,
        /// The last row there is.
        last: u64,
    },
    /// The row of the exported head is another.
    #[error("row {0} is not the one that was exported as head: the chain was written anew")]
    OtherHead(u64),
    /// The row of the exported head is deleted.
    #[error(
        "the exported head is row {head}, and rows before {first} are deleted: nothing can be said of it; verify with a newer one"
    )]
    OldHead {
        /// The exported head.
        head: u64,
        /// The first row there is.
        first: u64,
    },
}

/// Rows that are what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many.
    pub rows: u64,
    /// Number of the first one; 0 without any.
    pub first: u64,
    /// The last one.
    pub head: Head,
}

/// Rows as far as they have been seen.
#[derive(Debug)]
pub struct Chain {
    exported: Option<Head>,
    /// Number of the first row, and the hash of the one before it.
    first: Option<(u64, String)>,
    last: Head,
    /// Not the newest only: rows that it tells of may have gone while these were read.
    anchors: Vec<Anchor>,
}

// === impl Chain ===

impl Chain {
    /// None yet. `exported` is a head that was kept elsewhere.
    pub fn new(exported: Option<Head>) -> Chain {
        Chain {
            exported,
            first: None,
            last: Head::of(None),
            anchors: Vec::new(),
        }
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&mut self, row: &Row) -> Result<(), Wrong> {
        let (sequence, last) = (row.sequence, &self.last);
        let is_first = self.first.is_none();
        if sequence <= last.sequence {
            let after = last.sequence;
            return Err(Wrong::OutOfOrder { sequence, after });
        }
        if row.own_hash() != row.hash {
            return Err(Wrong::Edited(sequence));
        }
        if !is_first && sequence > last.sequence + 1 {
            return Err(Wrong::Missing {
                from: last.sequence + 1,
                to: sequence - 1,
            });
        }
        if sequence == last.sequence + 1 && row.previous != last.hash {
            return Err(Wrong::Inserted(sequence));
        }
        let exported = self.exported.as_ref();
        if exported.is_some_and(|head| head.sequence == sequence && head.hash != row.hash) {
            return Err(Wrong::OtherHead(sequence));
        }
        if row.entry.kind == ANCHOR {
            // One that tells of nothing explains no gap.
            self.anchors
                .extend(serde_json::from_str::<Anchor>(&row.entry.detail));
        }
        self.first
            .get_or_insert_with(|| (sequence, row.previous.clone()));
        self.last = Head {
            sequence,
            hash: row.hash.clone(),
        };
        Ok(())
    }

    /// There are no more.
    ///
    /// # Errors
    /// What is wrong with both ends.
    pub fn finish(self) -> Result<Verified, Wrong> {
        if let Some((first, previous)) = &self.first {
            let (to, hash) = (first - 1, previous);
            let tells = |anchor: &Anchor| anchor.deleted_through == to && anchor.hash == *hash;
            if to > 0 && !self.anchors.iter().any(tells) {
                let before = self.anchors.iter().map(|anchor| anchor.deleted_through);
                let from = before.filter(|&through| through < to).max().unwrap_or(0) + 1;
                return Err(Wrong::Missing { from, to });
            }
        }
        let first = self.first.as_ref().map_or(0, |(first, _)| *first);
        let last = self.last.sequence;
        if let Some(head) = &self.exported {
            if head.sequence > last {
                let head = head.sequence;
                return Err(Wrong::CutTail { head, last });
            }
            if head.sequence > 0 && head.sequence < first {
                let head = head.sequence;
                return Err(Wrong::OldHead { head, first });
            }
        }
        Ok(Verified {
            rows: if first == 0 { 0 } else { last + 1 - first },
            first,
            head: self.last,
        })
    }
}
