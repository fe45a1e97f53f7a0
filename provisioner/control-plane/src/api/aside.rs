//! Work that computes for long, done where it keeps no other request waiting.

use std::future::Future;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

/// Bytes of objects that one request may read or write within its turn: they cost about a millisecond.
pub(crate) const HEAVY: usize = 64 << 10;
/// Heavy requests that compute at once: more would only take each other's processor, and hold their objects meanwhile.
const AT_ONCE: usize = 2;

/// The place for heavy requests.
pub(crate) struct Aside(Semaphore);

impl Default for Aside {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Aside {
    /// Does work that reads or writes so many `bytes`: what is heavy leaves this thread's other tasks to another thread.
    ///
    /// A runtime of one thread has no other.
    pub(crate) async fn run<T>(&self, bytes: usize, work: impl Future<Output = T>) -> T {
        if bytes < HEAVY {
            return work.await;
        }
        let handle = Handle::current();
        if handle.runtime_flavor() == RuntimeFlavor::CurrentThread {
            return work.await;
        }
        let _place = self.0.acquire().await.expect("the semaphore is never closed");
        block_in_place(|| handle.block_on(work))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// With one worker, nothing else would run while a task computes.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn other_tasks_go_on_beside_heavy_work() {
        let (done, other) = mpsc::channel();
        let heavy = tokio::spawn(async move {
            let aside = Aside::default();
            let work = async move {
                tokio::spawn(async move { done.send("the other") });
                other.recv_timeout(Duration::from_secs(60))
            };
            aside.run(HEAVY, work).await
        });
        assert_eq!(heavy.await.unwrap(), Ok("the other"));
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_does_it_in_its_turn() {
        assert_eq!(Aside::default().run(HEAVY, async { 1 }).await, 1);
    }
}
