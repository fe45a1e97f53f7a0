//! A daemon set has as many pods as there are nodes.

use kprov::build::*;

fn main() {
    let agent = DaemonSet::new("agent", Container::new("agent", "agent:1"));
    let _ = HorizontalPodAutoscaler::new("agent", &agent, 1..=3);
}
