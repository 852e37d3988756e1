//! What a disk holds after a power cut, from what `layer.c` noted.
//!
//! Owns the two states of a folder: as programs see it, and as it was synced. A cut may keep anything
//! between the two: an unsynced page is there or is not, and so is a name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::formats::recording::Chance;

/// What is written at once, or not at all.
const PAGE: usize = 4096;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Node {
    Folder,
    File(usize),
}

type Names = BTreeMap<PathBuf, Node>;

/// How much of what was not synced a cut leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cut {
    /// Nothing.
    Strict,
    /// Some of it, by chance.
    Torn,
}

/// The notes of one process.
#[derive(Debug)]
pub struct Book {
    /// As programs see it.
    seen: Names,
    /// As it was synced.
    synced: Names,
    /// Bytes of each file as of its last sync.
    files: Vec<Vec<u8>>,
}

impl Book {
    /// Before the process begins: all that is there is safe.
    pub fn of(folder: &Path) -> Book {
        let (mut seen, mut files) = (Names::new(), Vec::new());
        seen.insert(folder.to_owned(), Node::Folder);
        let mut ahead = vec![folder.to_owned()];
        while let Some(next) = ahead.pop() {
            for entry in std::fs::read_dir(next).expect("readable") {
                let path = entry.expect("readable").path();
                if path.is_dir() {
                    seen.insert(path.clone(), Node::Folder);
                    ahead.push(path);
                } else {
                    seen.insert(path.clone(), Node::File(files.len()));
                    files.push(std::fs::read(&path).expect("readable"));
                }
            }
        }
        let synced = seen.clone();
        Book {
            seen,
            synced,
            files,
        }
    }

    /// Reads what the layer noted in `notes`.
    pub fn read(&mut self, notes: &Path) {
        let journal = std::fs::read_to_string(notes.join("journal")).expect("a journal");
        let mut numbers = BTreeMap::new();
        // A line that the kill cut off was not answered to anybody.
        let whole = journal.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [what, id, one, other] = fields[..] else {
                panic!("no note: {line}");
            };
            let (one, other) = (PathBuf::from(one), PathBuf::from(other));
            match what {
                "made" => {
                    numbers.insert(id.to_owned(), self.files.len());
                    self.seen.insert(one, Node::File(self.files.len()));
                    self.files.push(Vec::new());
                }
                "known" => match self.seen.get(&one) {
                    Some(&Node::File(number)) => drop(numbers.insert(id.to_owned(), number)),
                    found => panic!("{} is {found:?}", one.display()),
                },
                "synced" => {
                    self.files[numbers[id]] = std::fs::read(notes.join(id)).expect("it was kept");
                }
                "named" => {
                    let is_in = |path: &PathBuf| path.parent() == Some(&one);
                    self.synced.retain(|path, _| !is_in(path));
                    let now = self.seen.iter().filter(|(path, _)| is_in(path));
                    self.synced
                        .extend(now.map(|(path, node)| (path.clone(), *node)));
                }
                "renamed" => {
                    let node = self.seen.remove(&one).expect("it was there");
                    assert_ne!(node, Node::Folder, "folders are not renamed");
                    self.seen.insert(other, node);
                }
                "removed" => drop(self.seen.remove(&one)),
                "folder" => drop(self.seen.insert(one, Node::Folder)),
                _ => panic!("no note: {line}"),
            }
        }
    }

    /// Puts in the folder's place what a cut leaves of it.
    pub fn cut(&self, folder: &Path, cut: Cut, chance: &mut Chance) {
        let mut left = Names::new();
        let folders = self.seen.iter().chain(&self.synced);
        let folders = folders.filter(|(_, node)| **node == Node::Folder);
        let folders: BTreeSet<&PathBuf> = folders.map(|(path, _)| path).collect();
        for within in folders {
            // A rename is whole or did not happen, so that names of a folder go together.
            let names = match cut == Cut::Torn && chance.below(2) == 0 {
                true => &self.seen,
                false => &self.synced,
            };
            let names = names
                .iter()
                .filter(|(path, _)| path.parent() == Some(within));
            left.extend(names.map(|(path, node)| (path.clone(), *node)));
        }
        let mut bytes = BTreeMap::new();
        for (path, node) in &self.seen {
            if let (Node::File(number), Cut::Torn) = (node, cut) {
                let now = std::fs::read(path).unwrap_or_default();
                bytes.insert(*number, torn(&self.files[*number], &now, chance));
            }
        }
        // A process that is killed while this goes on is none of ours.
        std::fs::remove_dir_all(folder).expect("removed");
        std::fs::create_dir(folder).expect("made");
        for (path, node) in &left {
            if !path.parent().is_some_and(Path::is_dir) {
                // What lies in a folder without a name is gone with it.
                continue;
            }
            match node {
                Node::Folder => std::fs::create_dir(path).expect("made"),
                Node::File(number) => {
                    let bytes = bytes.get(number).unwrap_or(&self.files[*number]);
                    std::fs::write(path, bytes).expect("written");
                }
            }
        }
    }
}

/// A file of which some pages were written since it was synced.
fn torn(synced: &[u8], now: &[u8], chance: &mut Chance) -> Vec<u8> {
    let longer = synced.len().max(now.len());
    let shorter = synced.len().min(now.len());
    let length = shorter + chance.below((longer - shorter) as u64 + 1) as usize;
    let mut left = vec![0; length];
    for (number, page) in left.chunks_mut(PAGE).enumerate() {
        let source = if chance.below(2) == 0 { synced } else { now };
        let source = source.get(number * PAGE..).unwrap_or_default();
        let known = source.len().min(page.len());
        page[..known].copy_from_slice(&source[..known]);
    }
    left
}
