//! Tells changes of a collection as they come.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use kprov_schema::{Kind, Revision, Status};

use crate::api::core::Core;
use crate::api::errors;
use crate::api::query::ListOptions;
use crate::api::target::{Selector, Target};
use crate::store::{Change, CommitError, Moved, Prefix, ReadError, Stored};

/// Changes read from the store at once.
const BATCH: usize = 256;
/// Seconds between bookmarks.
const BOOKMARK_SECONDS: i64 = 60;
/// A watch shorter than this ends without a bookmark.
const SHORT_SECONDS: i64 = 2;
/// The least and the additional most seconds that a watch lives which names no time.
const LIFE_SECONDS: (u64, u64) = (1800, 1800);

/// What happened to an object, as a selection sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Added,
    Modified,
    Deleted,
}

/// One line of a watch.
pub(crate) enum Told {
    /// A change.
    Change(What, Arc<Stored>),
    /// Everything up to here has been told.
    Bookmark {
        /// The revision.
        revision: Revision,
        /// Whether it ends what was there at the beginning.
        initial: bool,
    },
    /// The watch ends with this.
    Failed(Status),
}

struct Watcher {
    core: Arc<Core>,
    places: Prefix,
    selector: Selector,
    cursor: Revision,
    moved: Moved,
    ready: VecDeque<Told>,
    bookmarks: bool,
    next_bookmark: Timestamp,
    begun: Timestamp,
    end: Timestamp,
    over: bool,
    kind: Arc<Kind>,
    registry: tokio::sync::watch::Receiver<u64>,
}

/// Starts a watch.
pub(crate) fn watch(
    core: &Arc<Core>,
    target: &Target,
    options: &ListOptions,
) -> Result<BoxStream<'static, Told>, Status> {
    let selector = Selector::read(&target.kind, options)?;
    let places = target.places(selector.only_name());
    let now = core.world.clock.now();
    let life = options
        .timeout_seconds
        .filter(|seconds| *seconds > 0)
        .unwrap_or_else(|| LIFE_SECONDS.0 + core.world.rng.next_u64() % LIFE_SECONDS.1);
    let mut watcher = Watcher {
        core: core.clone(),
        moved: core.store.moved_in(&places),
        places,
        selector,
        cursor: options.from.unwrap_or_default(),
        ready: VecDeque::new(),
        bookmarks: options.bookmarks,
        next_bookmark: after(now, BOOKMARK_SECONDS),
        begun: now,
        end: after(now, i64::try_from(life).unwrap_or(i64::MAX)),
        over: false,
        kind: target.kind.clone(),
        registry: core.registry_moved(),
    };
    let from_scratch = options.from.is_none_or(|revision| revision.0 == 0);
    if options.initial_events.unwrap_or(from_scratch) {
        watcher.begin()?;
    } else if from_scratch {
        watcher.cursor = core.store.head();
    }
    Ok(stream::unfold(watcher, |mut watcher| async { Some((watcher.next().await?, watcher)) }).boxed())
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

impl Watcher {
    /// What is there already, told as if it were new.
    fn begin(&mut self) -> Result<(), Status> {
        let page = self.core.store.list(&self.places, None, None, None).map_err(errors::unreadable)?;
        let items = page.items.into_iter().map(|stored| self.selector.served(stored));
        let selected = items.filter(|stored| self.selector.selects(&stored.object));
        self.ready.extend(selected.map(|stored| Told::Change(What::Added, stored)));
        self.cursor = page.revision;
        if self.bookmarks {
            self.ready.push_back(Told::Bookmark { revision: page.revision, initial: true });
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.ready.pop_front() {
                return Some(told);
            }
            // What is defined anew is another kind: its clients begin anew too.
            if self.over || !self.core.registry().serves(&self.kind) {
                return None;
            }
            match self.core.store.since(self.cursor, &self.places, BATCH) {
                Ok(read) => {
                    let told = read.events.iter().filter_map(|change| tell(change, &self.selector));
                    self.ready.extend(told);
                    let moved = read.upto > self.cursor;
                    self.cursor = self.cursor.max(read.upto);
                    if self.ready.is_empty() && (read.events.is_empty() || !moved) {
                        self.wait(self.cursor).await;
                    }
                }
                // Asked for before it has come: silence until then.
                Err(ReadError::Ahead { asked, .. }) => self.wait(Revision(asked.0 - 1)).await,
                Err(ReadError::Compacted { asked, oldest }) => {
                    self.over = true;
                    let message = format!("too old resource version: {asked} ({oldest})");
                    self.ready.push_back(Told::Failed(errors::expired(message)));
                }
            }
        }
    }

    /// Completes when there may be more, or when a bookmark or the end is due.
    async fn wait(&mut self, seen: Revision) {
        let wake = if self.bookmarks { self.end.min(self.next_bookmark) } else { self.end };
        let due = tokio::select! {
            biased;
            moved = self.moved.beyond(seen) => {
                if moved.is_err() {
                    self.end_with_the_store();
                }
                false
            }
            () = self.core.stopping() => {
                self.over = true;
                false
            }
            // The core holds the sender, so an error can't be.
            Ok(()) = self.registry.changed() => {
                self.over |= !self.core.registry().serves(&self.kind);
                false
            }
            () = self.core.world.clock.sleep_until(wake) => true,
        };
        if !due {
            return;
        }
        let now = self.core.world.clock.now();
        self.over |= now >= self.end;
        // A watch of a moment has nothing to tell that its client does not know.
        let long = after(self.begun, SHORT_SECONDS) <= now;
        if self.bookmarks && long && self.cursor <= self.core.store.head() {
            self.next_bookmark = after(now, BOOKMARK_SECONDS);
            self.ready.push_back(Told::Bookmark { revision: self.cursor, initial: false });
        }
    }
}

impl Watcher {
    /// The store tells nothing more: tidily when it was closed, else with what broke it.
    fn end_with_the_store(&mut self) {
        self.over = true;
        match self.core.store.failure() {
            None | Some(CommitError::Closed) => {}
            Some(error) => self.ready.push_back(Told::Failed(errors::uncommitted(&error))),
        }
    }
}

/// A change as the selection sees it; `None` when it does not.
fn tell(change: &Arc<Change>, selector: &Selector) -> Option<Told> {
    let face = |stored: &Option<Arc<Stored>>| stored.clone().map(|stored| selector.served(stored));
    let selected = |stored: &Arc<Stored>| selector.is_everything() || selector.selects(&stored.object);
    let (was, is) = (face(&change.old).filter(selected), face(&change.new).filter(selected));
    let what = match (was.is_some(), is.is_some()) {
        (false, true) => What::Added,
        (true, true) => What::Modified,
        (true, false) => What::Deleted,
        (false, false) => return None,
    };
    let stored = is.or_else(|| change.last().cloned().map(|last| selector.served(last)));
    Some(Told::Change(what, stored?))
}
