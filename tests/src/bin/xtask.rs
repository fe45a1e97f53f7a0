//! The project's recipes, so that they need nothing but cargo.

use std::path::Path;

use anyhow::bail;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("images") => {
            for archive in kprov_tests::images::build_all(Path::new("target/images"))? {
                println!("{}", archive.display());
            }
            Ok(())
        }
        _ => bail!("recipes: cargo xtask images"),
    }
}
