//! Replays what a real Kubernetes answered against the API server in this process.
//!
//! A scenario is skipped as a whole when it needs a kind that upstream serves and kprov does not. Each family's
//! agreement is printed; less than the committed floor fails. So does a builder's kind or a family of what it answers
//! to writes that agrees less than is asked, or otherwise than `AGREEMENT.md` says. `KPROV_REFERENCE` names the families
//! to play, `KPROV_SCENARIO` a part of the names of the scenarios, `KPROV_SHOW` how many differences of a family are printed.
//!
//! Where it is known why answers differ, `DISAGREEMENTS.md` says so.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod agreement;
mod compare;
mod normal;
mod play;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agreement::{FAMILIES, Table};
use compare::Level;
use expect_test::expect_file;
use flate2::read::GzDecoder;
use futures::StreamExt;
use play::{Player, Scenario};

/// Watches that are played at once: each waits for its time to run out. Other scenarios share names, so take turns.
const WATCHES: usize = 32;

/// How many steps of a family agreed before: in code, in meaning, exactly. They never become fewer.
const FLOORS: &[(&str, [usize; 3])] = &[
    ("admission", [217, 217, 217]),
    ("apply", [1338, 1338, 1329]),
    ("bootstrap", [116, 115, 114]),
    ("crd", [139, 138, 135]),
    ("create", [1136, 1126, 1124]),
    ("discovery", [35, 31, 31]),
    ("error", [178, 178, 173]),
    ("page", [63, 63, 60]),
    ("patch", [1842, 1842, 1758]),
    ("select", [795, 795, 795]),
    ("subresource", [66, 66, 66]),
    ("table", [69, 69, 67]),
    ("update", [1742, 1742, 1736]),
    ("validation", [4277, 4276, 4206]),
    ("watch", [33, 33, 33]),
];

/// How a family fared.
#[derive(Default)]
struct Tally {
    levels: [usize; 4],
    skipped: usize,
    differences: Vec<String>,
}

impl Tally {
    fn played(&self) -> usize {
        self.levels.iter().sum()
    }

    /// How many steps reach each level.
    fn reached(&self) -> [usize; 3] {
        [1, 2, 3].map(|level| self.levels[level..].iter().sum::<usize>())
    }
}

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/api")
}

fn scenarios(family: &str) -> Vec<Scenario> {
    let file = File::open(recordings().join(format!("{family}.jsonl.gz"))).unwrap();
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

async fn play(player: &Arc<Player>, family: &str, part: Option<&str>, table: &mut Table) -> Tally {
    let mut tally = Tally::default();
    let wanted = |scenario: &Scenario| part.is_none_or(|part| scenario.is_called(part));
    let (served, unserved): (Vec<_>, Vec<_>) =
        scenarios(family).into_iter().filter(wanted).partition(Scenario::is_served);
    tally.skipped = unserved.len();
    let played = served.into_iter().map(|scenario| {
        let player = player.clone();
        async move { player.play(&scenario).await }
    });
    player.set_the_scene(family).await;
    let at_once = if family == "watch" { WATCHES } else { 1 };
    // What is less than this is shown; `KPROV_LEVEL=exact` shows everything that is not exact.
    let shown_below = if std::env::var("KPROV_LEVEL").is_ok() { Level::Exact } else { Level::Meaning };
    let mut played = futures::stream::iter(played).buffered(at_once);
    while let Some(steps) = played.next().await {
        for step in steps {
            tally.levels[step.level as usize] += 1;
            table.add(family, &step);
            if step.level < shown_below {
                tally.differences.push(step.why);
            }
        }
    }
    tally
}

#[tokio::test(flavor = "multi_thread")]
async fn agrees_with_the_recorded_answers() {
    let only = std::env::var("KPROV_REFERENCE").unwrap_or_default();
    let part = std::env::var("KPROV_SCENARIO").ok();
    let shown: usize = std::env::var("KPROV_SHOW").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let folder = tempfile::tempdir().unwrap();
    let player = Arc::new(Player::start(folder.path()).await);
    let (mut tallies, mut table) = (BTreeMap::new(), Table::default());
    for (family, floor) in FLOORS.iter().filter(|(family, _)| only.is_empty() || only.contains(family)) {
        let tally = play(&player, family, part.as_deref(), &mut table).await;
        for difference in tally.differences.iter().take(shown) {
            println!("{difference}");
        }
        tallies.insert(*family, (tally, *floor));
    }
    assert!(tallies.values().any(|(tally, _)| tally.played() > 0), "nothing was played: no such family or scenario");
    println!("{:<14}{:>8}{:>7}{:>8}{:>9}{:>8}", "family", "skipped", "steps", "code", "meaning", "exact");
    let mut below = Vec::new();
    for (family, (tally, floor)) in &tallies {
        let reached = tally.reached();
        let [code, meaning, exact] = reached;
        println!("{family:<14}{:>8}{:>7}{code:>8}{meaning:>9}{exact:>8}", tally.skipped, tally.played());
        if part.is_none() && reached.iter().zip(floor).any(|(reached, floor)| reached < floor) {
            below.push(format!("{family}: {reached:?} is below {floor:?}"));
        }
    }
    if part.is_none() && FAMILIES.iter().all(|family| tallies.contains_key(family)) {
        expect_file!["AGREEMENT.md"].assert_eq(&table.to_markdown());
        below.extend(table.below());
    }
    assert!(below.is_empty(), "{below:#?}");
}
