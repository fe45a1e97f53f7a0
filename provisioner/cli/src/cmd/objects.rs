//! What the commands about manifests share: reading them, reaching the cluster, and a line for each object.

use std::fmt::Display;

use anyhow::bail;
use kprov::Bundle;
use kprov::client::{Access, Client, ClientError, Did, Kubeconfig, Outcome, Progress, Report};
use kprov::cluster::Report as _;

use crate::args::{Files, Target};
use crate::cmd::validate::is_colourful;
use crate::progress::Progress as Bottom;

/// The objects of files and folders, or all that is wrong with them.
pub(super) fn read(files: &Files, name: &str) -> anyhow::Result<Bundle> {
    match Bundle::read(name, &files.files, files.recursive) {
        Ok(bundle) => Ok(bundle),
        Err(problems) => {
            let all: Vec<String> = problems.iter().map(|problem| problem.render(false)).collect();
            bail!("{}", all.join("\n"))
        }
    }
}

/// The cluster that is meant.
pub(super) async fn connect(target: &Target) -> anyhow::Result<Client> {
    let access = if target.kubeconfig.is_none() && target.context.is_none() {
        Access::default_chain()
    } else {
        let mut file = Kubeconfig::new();
        if let Some(path) = &target.kubeconfig {
            file = file.path(path);
        }
        if let Some(context) = &target.context {
            file = file.context(context);
        }
        file.into()
    };
    let client = Client::connect(access).await?;
    Ok(match &target.namespace {
        Some(namespace) => client.in_namespace(namespace),
        None => client,
    })
}

/// Prints a line an object, in colours on a terminal, and what is waited for at its bottom.
pub(super) struct Lines {
    bottom: Bottom,
    colours: bool,
    dry_run: bool,
}

impl Lines {
    pub(super) fn new(dry_run: bool) -> Self {
        Self { bottom: Bottom::new(), colours: is_colourful(), dry_run }
    }

    pub(super) fn hear(&self, progress: &Progress<'_>) {
        match progress {
            Progress::Did(did) => self.did(did),
            Progress::Ready(object) => self.line(object, "32", "ready"),
            Progress::Gone(object) => self.line(object, "2", "gone"),
            Progress::Waiting { object, reason } => self.bottom.says(&format!("{object}: {reason}")),
            _ => {}
        }
    }

    fn did(&self, did: &Did) {
        for warning in &did.warnings {
            self.bottom.suspend(|| eprintln!("Warning: {}: {warning}", did.object));
        }
        if let Some(reason) = did.reason() {
            self.bottom.suspend(|| eprintln!("error: {}: {reason}", did.object));
            return;
        }
        let colour = match &did.outcome {
            Outcome::Created => "32",
            Outcome::Configured => "33",
            Outcome::Deleted => "31",
            _ => "2",
        };
        let dry = if self.dry_run { " (dry run)" } else { "" };
        self.line(&did.object, colour, &format!("{}{dry}", did.outcome));
    }

    fn line(&self, object: &impl Display, colour: &str, words: &str) {
        self.bottom.suspend(|| match self.colours {
            true => println!("{object} \x1b[{colour}m{words}\x1b[0m"),
            false => println!("{object} {words}"),
        });
    }

    pub(super) fn finish(&self) {
        self.bottom.finish();
    }
}

/// The end of a call whose objects were told one by one.
pub(super) fn done(result: Result<Report, ClientError>) -> anyhow::Result<Report> {
    match result {
        Err(ClientError::Incomplete(report)) => {
            let failed = report.objects.iter().filter(|did| did.failed()).count();
            let skipped = report.objects.iter().filter(|did| matches!(did.outcome, Outcome::Skipped));
            skipped.for_each(|did| eprintln!("{} {}", did.object, did.outcome));
            bail!(
                "{failed} of {} objects failed: mend what is said above and run this again; what is done is not done twice",
                report.objects.len()
            )
        }
        result => Ok(result?),
    }
}
