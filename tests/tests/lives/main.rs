//! Plays the recorded lives of pods on a real kubelet against a cluster that `kprov up` made. Needs root.
//!
//! Each family's agreement is printed with the differences; less than the committed floor fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compare;
mod player;

use std::collections::BTreeMap;
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

/// How many lives of a family agree at least. Families of what the node refuses have no row.
const FLOORS: &[(&str, usize)] = &[
    ("env", 6),
    ("hook", 3),
    ("image", 3),
    ("init", 3),
    ("net", 5),
    ("probe", 11),
    ("run", 13),
    ("sidecar", 2),
    ("stop", 3),
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
    let lives = lines.map(|line| serde_json::from_str::<Life>(&line.unwrap()).unwrap());
    lives.filter(|life| FLOORS.iter().any(|(family, _)| *family == life.family())).collect()
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
    let lives: Vec<Life> = lives().into_iter().filter(|life| life.id.starts_with(&only)).collect();
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
    let agreed = |family: &str| tallies.get(family).map_or(0, |tally| tally.agreed);
    let below: Vec<_> = FLOORS.iter().filter(|(family, floor)| only.is_empty() && agreed(family) < *floor).collect();
    assert!(below.is_empty(), "below their floors: {below:?}");
}
