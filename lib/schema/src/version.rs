//! The version of Kubernetes whose objects are known here.

macro_rules! minor {
    () => {
        "1.37"
    };
}

/// The minor version, such as `1.37`.
pub const MINOR: &str = minor!();

/// The version that servers and nodes report, such as `v1.37.0`.
pub const RELEASE: &str = concat!("v", minor!(), ".0");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_of_this_version() {
        for data in [include_str!("../data/kinds.txt"), include_str!("../data/structure.txt")] {
            assert!(data.starts_with(&format!("# Kubernetes {MINOR}: ")), "{:?}", data.lines().next());
        }
    }
}
