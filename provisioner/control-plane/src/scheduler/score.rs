//! Which of the nodes that a pod can be on is best.

use super::domain::Rules;
use super::node::{NodeInfo, Nodes};
use super::pod::PodInfo;
use crate::controllers::machinery::taint::tolerated;

/// The best score of one scorer.
const BEST: i64 = 100;

/// How raw scores of nodes become 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// They are already.
    None,
    /// By the highest.
    Highest,
    /// By the highest, the lowest being best.
    HighestReversed,
    /// Between lowest and highest.
    Range,
    /// As upstream scales spreading: the lowest is best, nothing is worst only beside something.
    Spread,
}

/// A scorer.
pub struct Score {
    /// Upstream's name of the plugin.
    pub name: &'static str,
    /// How much it counts.
    pub weight: i64,
    /// Whether it has an opinion on a pod at all.
    pub applies: fn(&PodInfo, &Rules<'_>) -> bool,
    /// The raw score of a node.
    pub raw: fn(&PodInfo, &NodeInfo, &Rules<'_>, &Nodes) -> i64,
    /// How raw scores are brought to one scale.
    pub scale: Scale,
}

/// All scorers with upstream's weights.
pub const SCORES: &[Score] = &[
    Score {
        name: "TaintToleration",
        weight: 3,
        applies: |_, _| true,
        raw: taint_toleration,
        scale: Scale::HighestReversed,
    },
    Score {
        name: "NodeAffinity",
        weight: 2,
        applies: |pod, _| !pod.preferred_nodes.is_empty(),
        raw: node_affinity,
        scale: Scale::Highest,
    },
    Score { name: "NodeResourcesFit", weight: 1, applies: |_, _| true, raw: least_allocated, scale: Scale::None },
    Score {
        name: "PodTopologySpread",
        weight: 2,
        applies: |_, rules| !rules.soft.is_empty(),
        raw: pod_topology_spread,
        scale: Scale::Spread,
    },
    Score {
        name: "InterPodAffinity",
        weight: 2,
        applies: |_, rules| !rules.preferred.is_empty(),
        raw: |_, node, rules, _| rules.preference(node),
        scale: Scale::Range,
    },
    Score {
        name: "NodeResourcesBalancedAllocation",
        weight: 1,
        applies: |_, _| true,
        raw: balanced_allocation,
        scale: Scale::None,
    },
    Score { name: "ImageLocality", weight: 1, applies: |_, _| true, raw: image_locality, scale: Scale::None },
];

/// The best of the slots; of equal ones the first.
#[must_use]
pub fn best(pod: &PodInfo, feasible: &[usize], rules: &Rules<'_>, nodes: &Nodes) -> Option<usize> {
    let mut totals = vec![0_i64; feasible.len()];
    for score in SCORES.iter().filter(|score| (score.applies)(pod, rules)) {
        let raw = |slot: &usize| nodes.at(*slot).map_or(0, |node| (score.raw)(pod, node, rules, nodes));
        let mut scores: Vec<i64> = feasible.iter().map(raw).collect();
        rescale(&mut scores, score.scale);
        for (total, score_here) in totals.iter_mut().zip(scores) {
            *total += score.weight * score_here;
        }
    }
    let highest = *totals.iter().max()?;
    totals.iter().position(|total| *total == highest).map(|at| feasible[at])
}

fn rescale(scores: &mut [i64], scale: Scale) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    // Nodes that a spreading rule does not count have no score.
    let lowest = scores.iter().copied().filter(|score| scale != Scale::Spread || *score != i64::MIN).min().unwrap_or(0);
    for score in scores {
        *score = match scale {
            Scale::None => *score,
            Scale::Highest if highest == 0 => 0,
            Scale::Highest => *score * BEST / highest,
            Scale::HighestReversed if highest == 0 => BEST,
            Scale::HighestReversed => BEST - *score * BEST / highest,
            Scale::Range if highest == lowest => 0,
            Scale::Range => (*score - lowest) * BEST / (highest - lowest),
            Scale::Spread if *score == i64::MIN => 0,
            Scale::Spread if highest == 0 => BEST,
            Scale::Spread => BEST * (highest + lowest - *score) / highest,
        };
    }
}

fn taint_toleration(pod: &PodInfo, node: &NodeInfo, _: &Rules<'_>, _: &Nodes) -> i64 {
    let soft = node.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
    i64::try_from(soft.filter(|taint| !tolerated(&pod.tolerations, taint)).count()).unwrap_or(i64::MAX)
}

fn node_affinity(pod: &PodInfo, node: &NodeInfo, _: &Rules<'_>, _: &Nodes) -> i64 {
    pod.preferred_nodes
        .iter()
        .filter(|(_, term)| term.holds(&node.name, |key| node.label(key)))
        .map(|(weight, _)| weight)
        .sum()
}

fn least_allocated(pod: &PodInfo, node: &NodeInfo, _: &Rules<'_>, _: &Nodes) -> i64 {
    let free = |has: i64, used: i64| if has == 0 || used > has { 0 } else { (has - used) * BEST / has };
    let parts = [
        (node.allocatable.milli_cpu, node.assumed.milli_cpu + pod.assumed.milli_cpu),
        (node.allocatable.memory, node.assumed.memory + pod.assumed.memory),
    ];
    let known = parts.iter().filter(|(has, _)| *has > 0).count();
    let sum: i64 = parts.iter().map(|(has, used)| free(*has, *used)).sum();
    if known == 0 { 0 } else { sum / i64::try_from(known).unwrap_or(1) }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "shares of a node, then 0 to 100")]
fn balanced_allocation(pod: &PodInfo, node: &NodeInfo, _: &Rules<'_>, _: &Nodes) -> i64 {
    let share = |has: i64, used: i64| (has > 0).then(|| (used as f64 / has as f64).min(1.0));
    let cpu = share(node.allocatable.milli_cpu, node.requested.milli_cpu + pod.requests.milli_cpu);
    let memory = share(node.allocatable.memory, node.requested.memory + pod.requests.memory);
    match (cpu, memory) {
        (Some(cpu), Some(memory)) => ((1.0 - (cpu - memory).abs() / 2.0) * BEST as f64) as i64,
        _ => BEST,
    }
}

fn image_locality(pod: &PodInfo, node: &NodeInfo, _: &Rules<'_>, nodes: &Nodes) -> i64 {
    const MEGABYTE: i64 = 1024 * 1024;
    if node.images.is_empty() {
        return 0;
    }
    let total = i64::try_from(nodes.len()).unwrap_or(i64::MAX).max(1);
    let sizes = pod.images.iter().filter_map(|image| Some(node.images.get(image)? / total * nodes.with_image(image)));
    let (least, most) = (23 * MEGABYTE, 1000 * MEGABYTE * i64::try_from(pod.images.len()).unwrap_or(1).max(1));
    let sum = sizes.sum::<i64>().clamp(least, most);
    BEST * (sum - least) / (most - least)
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "upstream's formula on small counts")]
fn pod_topology_spread(_: &PodInfo, node: &NodeInfo, rules: &Rules<'_>, nodes: &Nodes) -> i64 {
    let mut sum = 0.0;
    for rule in &rules.soft {
        let Some(there) = rule.tally.at(node, &rule.spread.topology) else {
            if rule.spread.needs_label {
                return i64::MIN;
            }
            continue;
        };
        let domains = rule.domains().max(1).min(nodes.len());
        sum += there as f64 * ((domains + 2) as f64).ln() + (rule.spread.max_skew - 1) as f64;
    }
    sum.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_brought_to_one_scale() {
        let check = |scale, raw: &[i64], wanted: &[i64]| {
            let mut scores = raw.to_vec();
            rescale(&mut scores, scale);
            assert_eq!(scores, wanted, "{scale:?}");
        };
        check(Scale::Highest, &[0, 5, 10], &[0, 50, 100]);
        check(Scale::HighestReversed, &[0, 5, 10], &[100, 50, 0]);
        check(Scale::HighestReversed, &[0, 0], &[100, 100]);
        check(Scale::Range, &[-10, 0, 10], &[0, 50, 100]);
        check(Scale::Spread, &[2, 4], &[100, 50]);
    }
}
