//! What is being waited for, shown on a terminal and nowhere else.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use kprov::cluster::Report;

/// A line at the bottom of the terminal; silent when standard error is none.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}").expect("the template is valid"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    /// Lets `print` write without the line in its way.
    pub(crate) fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Report for Progress {
    fn says(&self, words: &str) {
        self.bar.set_message(words.to_owned());
    }

    /// Leaves a line that stays.
    fn done(&self, step: &str) {
        self.bar.suspend(|| {
            if std::io::stderr().is_terminal() {
                eprintln!("✓ {step}");
            }
        });
    }
}
