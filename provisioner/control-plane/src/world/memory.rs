//! A world held by a test or a simulation: its disk can fail, tear writes or lose power, its clock stands still until
//! it is moved, its random numbers follow from a seed.

mod clock;
mod disk;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Rng, World};

pub use clock::ManualClock;
pub use disk::MemoryDisk;

/// The parts of a world, to hold on to.
#[derive(Clone, Debug)]
pub struct MemoryWorld {
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// Its random numbers.
    pub rng: Arc<SeededRng>,
    /// Its disk.
    pub disk: MemoryDisk,
}

impl MemoryWorld {
    /// A world that does the same things for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let rng = Arc::new(SeededRng::new(seed));
        Self { clock: Arc::default(), disk: MemoryDisk::new(rng.next_u64()), rng }
    }

    /// The world as everything takes it.
    #[must_use]
    pub fn world(&self) -> World {
        World { clock: self.clock.clone(), rng: self.rng.clone(), disk: Arc::new(self.disk.clone()) }
    }
}

/// Random numbers that follow from a seed.
///
/// Source: SplitMix64, Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#[derive(Debug)]
pub struct SeededRng(AtomicU64);

impl SeededRng {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(super) fn coin(&self) -> bool {
        self.next_u64() & 1 == 1
    }
}

impl Rng for SeededRng {
    fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
