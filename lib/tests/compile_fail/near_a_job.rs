//! A job has no labels of its own that others could look for.

use kprov::build::*;

fn main() {
    let job = Job::new("report", Container::new("nginx", "nginx:1.27"));
    let _ = Deployment::new("web", Container::new("nginx", "nginx:1.27")).near(&job, Topology::Host);
}
