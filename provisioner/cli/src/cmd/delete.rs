//! `kprov delete`

use kprov::client::Delete as How;

use super::objects::{Lines, connect, done, read};
use crate::args::Delete;

pub(crate) async fn run(options: Delete) -> anyhow::Result<()> {
    let bundle = read(&options.files, "manifests")?;
    let client = connect(&options.target).await?;
    let mut how = How::new();
    if options.foreground {
        how = how.foreground();
    }
    if options.wait {
        how = how.wait(options.timeout);
    }
    let lines = Lines::new(false);
    let deleted = client.delete_with(&bundle, &how, &mut |progress| lines.hear(&progress)).await;
    lines.finish();
    done(deleted).map(drop)
}
