//! A cron job needs a schedule.

use kprov::build::*;

fn main() {
    let _ = CronJob::new("backup", Container::new("nginx", "nginx:1.27"));
}
