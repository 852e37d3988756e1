//! The file of tokens: its form, its writers, and what it never says.

use std::os::unix::fs::symlink;

use super::super::{Minted, TokenState};
use super::*;

const NOW: Timestamp = Timestamp(1_900_000_000_000);

fn minted(number: u8) -> Minted {
    Minted::of([number; 4], [number; 32])
}

fn token(number: u8, name: &str) -> Token {
    let minted = minted(number);
    Token {
        id: minted.id().to_owned(),
        name: name.to_owned(),
        scopes: vec![Scope::Read, Scope::Control],
        namespaces: Some(vec!["payments".to_owned()]),
        digest: minted.digest(),
        created_at: NOW,
        expires_at: Some(NOW.plus(86_400_000)),
        revoked_at: None,
    }
}

fn mode(path: &Path) -> u32 {
    let metadata = std::fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn what_was_written_is_read_and_the_token_is_not_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.toml");
    append(&path, &token(1, "one")).expect("made");
    append(&path, &token(2, "two")).expect("added");
    assert_eq!(mode(&path), 0o600);
    let loaded = load(&path).expect("read");
    assert_eq!(loaded.warning, None);
    assert!(!loaded.text.contains(&"01".repeat(32)), "{}", loaded.text);
    let [one, two] = &loaded.tokens[..] else {
        panic!("{:?}", loaded.tokens);
    };
    let named = (one.id.as_str(), one.name.as_str(), two.name.as_str());
    assert_eq!(named, ("01010101", "one", "two"));
    assert!(one.digest.equals(&Digest::of(minted(1).reveal())));
    assert_eq!(one.scopes, [Scope::Read, Scope::Control]);
    assert_eq!(
        one.namespaces.as_deref(),
        Some(&["payments".to_owned()][..])
    );
    assert_eq!(one.expires_at, Some(NOW.plus(86_400_000)));
    assert_eq!(two.state(NOW), TokenState::Valid);
    let files: Vec<_> = std::fs::read_dir(&folder).expect("a folder").collect();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn names_are_unique_among_those_that_are_not_revoked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.toml");
    append(&path, &token(1, "ci")).expect("made");
    let refused = append(&path, &token(2, "ci")).expect_err("it is taken");
    assert!(
        refused.to_string().contains("named \"ci\" already"),
        "{refused}"
    );
    append(&path, &token(1, "other")).expect_err("the id is taken");
    assert_eq!(revoke(&path, "ci", NOW).expect("revoked"), "01010101");
    append(&path, &token(2, "ci")).expect("it is free");
    assert_eq!(revoke(&path, "ci", NOW).expect("the second"), "02020202");
    let again = revoke(&path, "01010101", NOW).expect_err("already");
    assert!(again.to_string().contains("revoked already"), "{again}");
    let unknown = revoke(&path, minted(9).reveal(), NOW).expect_err("unknown");
    assert!(unknown.to_string().ends_with("davy_..\""), "{unknown}");
}

#[test]
fn revoking_keeps_comments_and_order_and_says_when() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.toml");
    append(&path, &token(1, "one")).expect("made");
    append(&path, &token(2, "two")).expect("added");
    let text = std::fs::read_to_string(&path).expect("text");
    let told = text.replace("name = \"one\"", "name = \"one\" # of the build");
    std::fs::write(&path, &told).expect("written");
    revoke(&path, "one", NOW).expect("revoked");
    let marked = "id = \"01010101\"\nrevoked_at = \"2030-03-17T17:46:40Z\"\n";
    let expected = told.replace("id = \"01010101\"\n", marked);
    assert_eq!(std::fs::read_to_string(&path).expect("text"), expected);
    let tokens = load(&path).expect("read").tokens;
    assert_eq!(tokens[0].revoked_at, Some(NOW));
    assert_eq!(tokens[1].revoked_at, None);
}

#[test]
fn an_entry_on_one_line_is_left_to_its_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.toml");
    let text = format!(
        "tokens = [{{ id = \"01010101\", name = \"one\", scopes = [\"read\"], sha256 = \"{}\", created_at = \"2030-01-01T00:00:00Z\" }}]\n",
        minted(1).digest()
    );
    std::fs::write(&path, &text).expect("written");
    let refused = revoke(&path, "one", NOW).expect_err("by hand");
    assert!(refused.to_string().contains("by hand"), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).expect("text"), text);
}

#[test]
fn a_broken_file_is_told_by_its_line_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.toml");
    append(&path, &token(1, "one")).expect("made");
    append(&path, &token(2, "two")).expect("added");
    let good = std::fs::read_to_string(&path).expect("text");
    let secret = minted(3);
    let secret = secret.reveal();
    let cases = [
        ("id = \"02020202\"", "id = 2".to_owned(), "invalid type"),
        ("id = \"02020202\"", "id = \"01010101\"".to_owned(), "twice"),
        (
            "id = \"02020202\"",
            format!("id = {secret:?}"),
            "8 hexadecimal digits",
        ),
        ("name = \"two\"", "name = \"a b\"".to_owned(), "is no name"),
        (
            "name = \"two\"",
            "nam = \"two\"".to_owned(),
            "unknown field",
        ),
        ("name = \"two\"", format!("{secret} = 1"), "unknown field"),
        ("name = \"two\"", format!("name = {secret:?}"), "is no name"),
        (
            "name = \"two\"",
            format!("name = [{secret:?}]"),
            "invalid type",
        ),
        (
            "name = \"two\"\nscopes = [\"read\", \"control\"]",
            "name = \"two\"\nscopes = []".to_owned(),
            "no scope",
        ),
        (
            "name = \"two\"\nscopes = [\"read\"",
            "name = \"two\"\nscopes = [\"write\"".to_owned(),
            "is no scope",
        ),
        (
            "name = \"two\"\nscopes = [\"read\"",
            format!("name = \"two\"\nscopes = [{secret:?}"),
            "is no scope",
        ),
        (
            "name = \"two\"\nscopes = [\"read\"",
            "name = \"two\"\nscopes = [\"admin\"".to_owned(),
            "cannot be limited",
        ),
        ("name = \"two\"", format!("name = {secret}"), ""),
    ];
    for (from, to, expected) in cases {
        let broken = good.replace(from, &to);
        assert_ne!(broken, good, "{from}");
        std::fs::write(&path, &broken).expect("written");
        let told = load(&path).expect_err("broken");
        let FileError::Broken { line, message, .. } = &told else {
            panic!("{told}");
        };
        assert!(*line >= 11, "{told}");
        assert!(message.contains(expected), "{to}: {told}");
        assert!(!told.to_string().contains(&"03".repeat(4)), "{told}");
        append(&path, &token(4, "four")).expect_err("nobody adds to it");
        assert_eq!(std::fs::read_to_string(&path).expect("text"), broken);
    }
}

#[test]
fn who_may_write_the_file_is_looked_at_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.toml");
    append(&path, &token(1, "one")).expect("made");
    for wide in [0o622, 0o660, 0o606] {
        set_mode(&path, wide);
        let refused = load(&path).expect_err("others may write it");
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }
    set_mode(&path, 0o644);
    assert!(load(&path).expect("read").warning.is_some());
    set_mode(&path, 0o640);
    assert_eq!(load(&path).expect("read").warning, None);
    append(&path, &token(2, "two")).expect("added");
    assert_eq!(mode(&path), 0o640, "the group reads on");
}

#[test]
fn behind_a_link_the_file_is_replaced_and_not_the_link() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, link) = (folder.path().join("kept.toml"), folder.path().join("link"));
    append(&path, &token(1, "one")).expect("made");
    symlink(&path, &link).expect("linked");
    append(&link, &token(2, "two")).expect("added");
    assert!(link.is_symlink());
    assert_eq!(load(&path).expect("read").tokens.len(), 2);
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.toml");
    const WRITERS: u8 = 16;
    std::thread::scope(|scope| {
        for number in 0..WRITERS {
            let path = &path;
            scope
                .spawn(move || append(path, &token(number, &format!("t{number}"))).expect("added"));
        }
    });
    assert_eq!(
        load(&path).expect("read").tokens.len(),
        usize::from(WRITERS)
    );
}

#[test]
fn a_file_that_is_not_there_or_too_long_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.toml");
    assert!(matches!(load(&path), Err(FileError::Unusable { .. })));
    assert!(matches!(
        revoke(&path, "x", NOW),
        Err(FileError::Unusable { .. })
    ));
    let at = usize::try_from(FILE_BYTES_MAX).expect("small");
    for (bytes, fits) in [(at, true), (at + 1, false)] {
        std::fs::write(&path, "#".repeat(bytes)).expect("written");
        set_mode(&path, 0o600);
        assert_eq!(load(&path).is_ok(), fits, "{bytes}");
    }
}
