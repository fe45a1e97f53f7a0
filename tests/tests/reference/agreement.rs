//! How far the kinds that builders make agree, as the table that `AGREEMENT.md` shows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::Resource as _;
use kprov_schema::Resource;
use regex::{Captures, Regex};

use crate::play::Played;

/// The families whose answers depend on what a kind is.
pub(crate) const FAMILIES: [&str; 5] = ["create", "validation", "update", "patch", "apply"];

/// What is asked of each family, and of each kind over all of them, in percent: code, meaning, exact.
const ASKED: [usize; 3] = [99, 97, 92];

macro_rules! builders {
    ($($name:ident)*) => {
        /// What each builder makes: its name, with the group, version and plural of the objects.
        pub(crate) const BUILT: &[(&str, &str, &str, &str)] = &[$({
            type One = kprov::build::$name;
            (stringify!($name), One::GROUP, One::VERSION, One::URL_PATH_SEGMENT)
        }),*];
    };
}

builders! {
    ClusterRole ClusterRoleBinding ConfigMap CronJob DaemonSet Deployment EndpointSlice HorizontalPodAutoscaler Ingress
    IngressClass Job LimitRange Namespace NetworkPolicy PersistentVolume PersistentVolumeClaim Pod PodDisruptionBudget
    PriorityClass ReplicaSet ResourceQuota Role RoleBinding Secret Service ServiceAccount StatefulSet StorageClass
}

/// How many steps there were, and how many of them agree in code, in meaning and exactly.
#[derive(Clone, Copy, Default)]
struct Count {
    steps: usize,
    reached: [usize; 3],
}

impl Count {
    fn add(&mut self, step: &Played) {
        self.steps += 1;
        for (level, reached) in self.reached.iter_mut().enumerate() {
            *reached += usize::from(step.level as usize > level);
        }
    }

    fn join(&mut self, other: Self) {
        self.steps += other.steps;
        self.reached.iter_mut().zip(other.reached).for_each(|(one, other)| *one += other);
    }

    /// Whether it reaches what is asked.
    fn suffices(&self) -> bool {
        self.reached.iter().zip(ASKED).all(|(reached, asked)| reached * 100 >= self.steps * asked)
    }

    /// As a cell: the number of steps, or of those that are missing on each level.
    fn cell(&self) -> String {
        let steps = self.steps;
        if steps == 0 {
            return String::new();
        }
        match self.reached.map(|reached| steps - reached) {
            [0, 0, 0] => format!("{steps}"),
            [code, meaning, exact] => format!("{steps} −{code} −{meaning} −{exact}"),
        }
    }

    fn percent(&self) -> String {
        let percent = self.reached.map(|reached| format!("{:.1}", 100.0 * ratio(reached, self.steps)));
        percent.join(" / ")
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    let number = |count: usize| f64::from(u32::try_from(count).unwrap());
    if whole == 0 { 1.0 } else { number(part) / number(whole) }
}

/// Agreement by builder and family.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<(&'static str, &'static str), Count>);

impl Table {
    /// Counts a step, if it is about what a builder makes.
    pub(crate) fn add(&mut self, family: &str, step: &Played) {
        let family = FAMILIES.iter().find(|one| **one == family);
        let built = step.resource.as_ref().and_then(builder);
        if let (Some(family), Some(built)) = (family, built) {
            self.0.entry((built, family)).or_default().add(step);
        }
    }

    fn sum(&self, wanted: impl Fn(&str, &str) -> bool) -> Count {
        let mut sum = Count::default();
        self.0.iter().filter(|((built, family), _)| wanted(built, family)).for_each(|(_, count)| sum.join(*count));
        sum
    }

    /// The kinds and families that reach less than is asked.
    pub(crate) fn below(&self) -> Vec<String> {
        let families = FAMILIES.iter().map(|family| (*family, self.sum(|_, one| one == *family)));
        let built = BUILT.iter().map(|(name, ..)| (*name, self.sum(|one, _| one == *name)));
        let below = families.chain(built).filter(|(_, count)| !count.suffices());
        below.map(|(name, count)| format!("{name}: {}", count.percent())).collect()
    }

    /// The table as Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = HEAD.to_owned();
        let _ = writeln!(text, "| kind | {} | of all, % |", FAMILIES.join(" | "));
        let _ = writeln!(text, "|---|{}---|", "---|".repeat(FAMILIES.len()));
        for (name, ..) in BUILT {
            let cells = FAMILIES.map(|family| self.0.get(&(*name, family)).map(Count::cell).unwrap_or_default());
            let all = self.sum(|one, _| one == *name);
            let _ = writeln!(text, "| {name} | {} | {} |", cells.join(" | "), all.percent());
        }
        let sums = FAMILIES.map(|family| self.sum(|_, one| one == family));
        let _ = writeln!(text, "| all | {} | |", sums.map(|sum| sum.cell()).join(" | "));
        let whole = self.sum(|_, _| true).percent();
        let _ = writeln!(text, "| of all, % | {} | {whole} |", sums.map(|sum| sum.percent()).join(" | "));
        text
    }
}

fn builder(resource: &Resource) -> Option<&'static str> {
    let is = |group: &str, version: &str, plural: &str| {
        resource.group == group && resource.version == version && resource.plural == plural
    };
    BUILT.iter().find(|(_, group, version, plural)| is(group, version, plural)).map(|(name, ..)| *name)
}

const HEAD: &str = "\
# How far the kinds that builders make agree with the recording

What a real Kubernetes answered, replayed against the API server in process (`tests/tests/reference`). A cell is the number of
answers that were compared; where some don't agree, it is followed by how many miss each level: the same code, the same
meaning (reason and causes of an error, or the object without its managed fields), exactly the same. The percentages are
those that agree: code / meaning / exact. Each family and each kind is held to 99 / 97 / 92. Why the others differ stands in
[DISAGREEMENTS.md](DISAGREEMENTS.md). `UPDATE_EXPECT=1 cargo test -p kprov-tests --test reference` rewrites this file.

";

#[test]
fn names_every_builder_of_an_object() {
    let mut declared: Vec<String> = Vec::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../lib/src/build")];
    // A service's type has a parameter, so it is declared without the macro.
    let head = Regex::new(r"(?m)^(?:    (?:namespaced|cluster) (\w+)\(|pub struct (Service)<)").unwrap();
    let name = |found: Captures<'_>| found.iter().skip(1).flatten().map(|name| name.as_str().to_owned()).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(path).unwrap();
                declared.extend(head.captures_iter(&text).map(name).collect::<Vec<String>>());
            }
        }
    }
    declared.sort();
    let named: Vec<&str> = BUILT.iter().map(|(name, ..)| *name).collect();
    assert_eq!(declared, named);
}
