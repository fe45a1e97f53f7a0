//! What real containers need that this process may not have.

/// Bits of capabilities without which nothing works, by their names.
const NEEDED: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)];

/// Needed capabilities that root lacks, as in a container; `status` is the text of `/proc/self/status`.
pub(crate) fn lacking(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    // A kernel that does not tell will say so itself.
    let Some(effective) = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()) else {
        return Vec::new();
    };
    NEEDED.iter().filter(|(_, bit)| effective & (1 << bit) == 0).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking() {
        for (status, expected) in [
            ("Name:\tkprov\nCapEff:\t000001ffffffffff\n", &[][..]),
            ("CapEff:\t00000000a80425fb\n", &["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
            ("CapEff:\t0000000000001000\n", &["CAP_SYS_ADMIN"]),
            ("Name:\tkprov\n", &[]),
        ] {
            assert_eq!(lacking(status), expected, "{status}");
        }
    }
}
