//! The cluster file on the command line.

use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, bail};
use kprov::cluster::{Cluster, LocalCluster};

/// Reads a cluster file for the local provider; `-` is standard input. Its mistakes are printed to standard error.
///
/// Errors: mistakes in the file, and a provider that is not built in.
pub(crate) fn read_local(path: &Path) -> anyhow::Result<LocalCluster> {
    let (name, text) = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("reading standard input")?;
        ("<stdin>".to_owned(), text)
    } else {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {name}"))?;
        (name, text)
    };
    match Cluster::from_yaml(&name, &text) {
        Ok(Cluster::Local(cluster)) => Ok(cluster),
        Ok(Cluster::Eks(cluster)) => bail!(
            "cluster {} is well described, but this build of kprov has no provider eks: `provider: local` brings it up \
             on this machine",
            cluster.name
        ),
        Err(problems) => {
            let colour =
                std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
            problems.iter().for_each(|problem| eprintln!("{}\n", problem.render(colour)));
            let count =
                if problems.len() == 1 { "a mistake".to_owned() } else { format!("{} mistakes", problems.len()) };
            bail!("{name} has {count}; nothing was changed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_for_this_machine_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.yaml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read_local(&file).map_err(|error| format!("{error:#}"))
        };
        let local = kprov::cluster::example("local").unwrap();
        assert_eq!(read(&local), Ok(Cluster::local("dev")));
        let eks = kprov::cluster::example("eks").unwrap();
        assert!(read(&eks).unwrap_err().contains("this build of kprov has no provider eks"));
        let wrong = read(&local.replace("nodes: 1", "nodes: one\nnodez: 2")).unwrap_err();
        assert!(wrong.ends_with("has 2 mistakes; nothing was changed"), "{wrong}");
        assert!(read_local(&folder.path().join("none.yaml")).is_err());
    }
}
