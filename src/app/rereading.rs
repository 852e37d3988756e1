//! Files that are read again while the daemon runs: of tokens, of webhooks' secrets, of TLS, of plans.
//!
//! Owns when they are read, and what is new. A change is seen by what a file says, not by its time:
//! where a folder is swapped below a link, as Kubernetes does, times need not move. What is done with
//! what they say is for who watches them: `doorkeeping`, `secretkeeping`, `certificates`, `planning`.

use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// How often files are looked at: so long a revoked token is good at most.
pub const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// Something that files say, and what is done where they say something else.
pub(super) trait Watched: Send + 'static {
    /// What they say.
    type Said;

    /// Reads and checks them. It waits for the disk.
    ///
    /// # Errors
    /// A sentence that names the file, and the place where there is one.
    fn read(&self) -> Result<(Mark, Self::Said), String>;

    /// Goes on with this.
    fn take(&mut self, said: Self::Said);

    /// Tells and counts that they cannot be used. What was before stays.
    fn complain(&self, fault: &str);
}

/// By which what files say is told from what they said before; nothing of it can be had back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark([u8; 32]);

// === impl Mark ===

impl Mark {
    /// Of these parts, in this order.
    pub(super) fn of<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> Mark {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(Sha256::digest(part));
        }
        Mark(hash.finalize().into())
    }
}

/// Looks at all of them for as long as the daemon runs.
#[derive(Default)]
pub(super) struct Rereading {
    /// Each for itself: a disk that hangs below one keeps no other from being looked at.
    watches: Vec<Arc<Mutex<Box<dyn Look>>>>,
    bell: Arc<Notify>,
}

// === impl Rereading ===

impl Rereading {
    /// Watches one more, which was read by now: what was said then carries this mark.
    pub(super) fn add(&mut self, watched: impl Watched, mark: Mark) {
        self.push(watched, Ok(mark));
    }

    /// Watches one more, and takes what it says at the first look.
    pub(super) fn add_unread(&mut self, watched: impl Watched) {
        self.push(watched, Err(String::new()));
    }

    fn push(&mut self, watched: impl Watched, seen: Result<Mark, String>) {
        let watch: Box<dyn Look> = Box::new(Watch { watched, seen });
        self.watches.push(Arc::new(Mutex::new(watch)));
    }

    /// Rung when the files are to be looked at now; `None` where there are none.
    pub(super) fn bell(&self) -> Option<Arc<Notify>> {
        (!self.watches.is_empty()).then(|| self.bell.clone())
    }

    /// Looks until it is aborted.
    pub(super) async fn run(self) {
        let Some(bell) = self.bell() else { return };
        let mut looks = tokio::time::interval(LOOKS_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                _ = looks.tick() => false,
                () = bell.notified() => true,
            };
            for watch in &self.watches {
                let watch = watch.clone();
                let looking = tokio::task::spawn_blocking(move || match watch.try_lock() {
                    Ok(mut watch) => watch.look(is_asked),
                    Err(TryLockError::Poisoned(watch)) => watch.into_inner().look(is_asked),
                    // The look before waits for the disk still.
                    Err(TryLockError::WouldBlock) => {}
                });
                tokio::spawn(tell_of_panic(looking));
            }
        }
    }
}

async fn tell_of_panic(looking: JoinHandle<()>) {
    if looking.await.is_err_and(|error| error.is_panic()) {
        tracing::error!(
            "a file that is read again could not be looked at; this should not have happened"
        );
    }
}

/// A watch whatever it is that files say.
trait Look: Send {
    /// Takes what is new; says so, too, where somebody asked and nothing is.
    fn look(&mut self, is_asked: bool);
}

struct Watch<W> {
    watched: W,
    /// What came of the last look.
    seen: Result<Mark, String>,
}

// === impl Watch ===

impl<W: Watched> Look for Watch<W> {
    fn look(&mut self, is_asked: bool) {
        let (seen, said) = match self.watched.read() {
            Ok((mark, said)) => (Ok(mark), Some(said)),
            Err(fault) => (Err(fault), None),
        };
        if !is_asked && self.seen == seen {
            return;
        }
        match (said, &seen) {
            (Some(said), _) => self.watched.take(said),
            (None, Err(fault)) => self.watched.complain(fault),
            (None, Ok(_)) => {}
        }
        self.seen = seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read next, what was taken, what was complained of.
    #[derive(Default)]
    struct Script {
        next: Mutex<Option<Result<&'static str, &'static str>>>,
        log: Mutex<Vec<String>>,
    }

    impl Script {
        fn note(&self, line: String) {
            self.log.lock().expect("no panic").push(line);
        }
    }

    struct Played(Arc<Script>);

    impl Watched for Played {
        type Said = &'static str;

        fn read(&self) -> Result<(Mark, &'static str), String> {
            let next = self.0.next.lock().expect("no panic").expect("set");
            let said = next.map_err(str::to_owned)?;
            Ok((Mark::of([said.as_bytes()]), said))
        }

        fn take(&mut self, said: &'static str) {
            self.0.note(format!("took {said}"));
        }

        fn complain(&self, fault: &str) {
            self.0.note(format!("told {fault}"));
        }
    }

    #[test]
    fn what_is_new_is_taken_and_told_once_and_again_where_somebody_asks() {
        let script = Arc::new(Script::default());
        let mut watch = Watch {
            watched: Played(script.clone()),
            seen: Ok(Mark::of([b"a".as_slice()])),
        };
        for (next, is_asked, expected) in [
            (Ok("a"), false, None),
            (Ok("a"), true, Some("took a")),
            (Ok("b"), false, Some("took b")),
            (Err("x"), false, Some("told x")),
            (Err("x"), false, None),
            (Err("x"), true, Some("told x")),
            (Err("y"), false, Some("told y")),
            (Ok("b"), false, Some("took b")),
            (Ok("b"), false, None),
        ] {
            *script.next.lock().expect("no panic") = Some(next);
            watch.look(is_asked);
            let mut log = script.log.lock().expect("no panic");
            assert_eq!(log.pop().as_deref(), expected, "{next:?} {is_asked}");
        }
    }

    /// Waits for the disk until it is let go.
    struct Hanging(Mutex<std::sync::mpsc::Receiver<()>>);

    impl Watched for Hanging {
        type Said = ();

        fn read(&self) -> Result<(Mark, ()), String> {
            let released = self.0.lock().expect("no panic").recv();
            released.map_err(|error| error.to_string())?;
            Ok((Mark::of([]), ()))
        }

        fn take(&mut self, (): ()) {}

        fn complain(&self, _: &str) {}
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_that_hangs_below_one_keeps_no_other_from_being_looked_at() {
        let (release, held) = std::sync::mpsc::channel();
        let script = Arc::new(Script::default());
        *script.next.lock().expect("no panic") = Some(Ok("a"));
        let mut rereading = Rereading::default();
        rereading.add_unread(Hanging(Mutex::new(held)));
        rereading.add_unread(Played(script.clone()));
        let bell = rereading.bell().expect("two are watched");
        let running = tokio::spawn(rereading.run());
        for said in ["a", "b"] {
            *script.next.lock().expect("no panic") = Some(Ok(said));
            let taken = async {
                let expected = format!("took {said}");
                while script.log.lock().expect("no panic").last() != Some(&expected) {
                    bell.notify_one();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let taken = tokio::time::timeout(Duration::from_secs(20), taken).await;
            taken.expect("it is not held up");
        }
        running.abort();
        drop(release);
    }

    #[test]
    fn a_mark_tells_where_one_part_ends() {
        let of = |parts: &[&'static str]| Mark::of(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab"]), of(&["ab", ""]));
    }
}
