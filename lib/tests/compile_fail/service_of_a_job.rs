//! A job has no labels of its own that a service could select.

use kprov::build::*;

fn main() {
    let job = Job::new("once", Container::new("hello", "busybox"));
    let _ = Service::new("once", &job);
}
