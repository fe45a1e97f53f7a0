//! Plays the recorded lives of pods on a real kubelet against a cluster that `kprov up` made. Needs root.
//!
//! Each family's agreement is printed with the differences; less than the committed floor fails. `KPROV_LIVES` plays only
//! the lives whose ids begin with it, and all of them have to agree.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compare;
mod player;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::read::GzDecoder;
use futures::StreamExt;
use kprov::client::Client;
use kprov_tests::cluster::TestCluster;
use kprov_tests::images;
use player::Life;

/// Lives that are played at once: most of a life is waiting.
const AT_ONCE: usize = 6;

/// How many lives of a family agree at least. Every recorded family has a row.
const FLOORS: &[(&str, usize)] = &[
    ("cgroup", 1),
    ("env", 6),
    ("ephemeral", 1),
    ("gate", 1),
    ("hook", 3),
    ("image", 3),
    ("init", 3),
    ("net", 5),
    ("pid", 1),
    ("probe", 11),
    ("qos", 1),
    ("run", 13),
    ("security", 7),
    ("sidecar", 2),
    ("stop", 3),
    ("update", 2),
    ("volume", 11),
];

/// What a life with a volume of type `FileOrCreate` leaves on the machine.
const HOST_FILE: &str = "/tmp/reference-host-file";

/// How a family fared.
#[derive(Default)]
struct Tally {
    played: usize,
    agreed: usize,
}

fn lives() -> Vec<Life> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/pods.jsonl.gz");
    let lines = BufReader::new(GzDecoder::new(File::open(path).unwrap())).lines();
    lines.map(|line| serde_json::from_str::<Life>(&line.unwrap()).unwrap()).collect()
}

async fn play(cluster: &TestCluster, lives: Vec<Life>) -> BTreeMap<String, Tally> {
    let client = Client::from_kubeconfig(&cluster.kubeconfig()).await.unwrap().kube().clone();
    let played = lives.into_iter().enumerate().map(|(number, life)| {
        let client = client.clone();
        async move {
            let differences = player::play(client, &format!("life{number:03}"), &life).await;
            (life, differences.unwrap_or_else(|error| vec![format!("not played: {error:#}")]))
        }
    });
    let mut played = futures::stream::iter(played).buffer_unordered(AT_ONCE);
    let mut tallies = BTreeMap::<String, Tally>::new();
    while let Some((life, differences)) = played.next().await {
        let tally = tallies.entry(life.family().to_owned()).or_default();
        tally.played += 1;
        tally.agreed += usize::from(differences.is_empty());
        for difference in differences {
            println!("{}: {difference}", life.id);
        }
    }
    tallies
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_live_as_on_a_real_kubelet() {
    let only = std::env::var("KPROV_LIVES").unwrap_or_default();
    let mut lives = lives();
    let families: BTreeSet<&str> = lives.iter().map(Life::family).collect();
    assert_eq!(
        families,
        FLOORS.iter().map(|(family, _)| *family).collect(),
        "families recorded, and families with a floor"
    );
    lives.retain(|life| life.id.starts_with(&only));
    assert!(!lives.is_empty(), "no life begins with {only}");
    let cluster = TestCluster::up(env!("CARGO_BIN_EXE_kprov-under-test"), "lives", &[]).unwrap();
    let archive = images::archive("busybox", &Path::new(env!("CARGO_TARGET_TMPDIR")).join("images")).unwrap();
    cluster.kprov("image load", &[archive.to_str().unwrap()]).unwrap();
    let had_host_file = Path::new(HOST_FILE).exists();
    let tallies = play(&cluster, lives).await;
    if !had_host_file && Path::new(HOST_FILE).exists() {
        fs::remove_file(HOST_FILE).unwrap();
    }
    println!("{:<10}{:>7}{:>7}", "family", "lives", "agree");
    for (family, tally) in &tallies {
        println!("{family:<10}{:>7}{:>7}", tally.played, tally.agreed);
    }
    let floor = |family: &str| FLOORS.iter().find(|row| row.0 == family).map_or(0, |row| row.1);
    let least = |family: &str, tally: &Tally| if only.is_empty() { floor(family) } else { tally.played };
    let below: Vec<_> =
        tallies.iter().filter(|(family, tally)| tally.agreed < least(family, tally)).map(|row| row.0).collect();
    assert!(below.is_empty(), "below their floors: {below:?}");
}
