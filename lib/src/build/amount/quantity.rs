//! Quantities: processor time and bytes.

use std::borrow::Cow;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kprov_schema::quantity::Quantity as Amount;

use crate::build::text::text;

text! {
    /// Processor time: `250m` is a quarter of a core, `2` are two cores.
    ///
    /// ```
    /// use kprov::build::Cpu;
    /// assert_eq!(Cpu::millis(250), "250m".parse()?);
    /// assert!("64Mi".parse::<Cpu>().unwrap_err().to_string().contains("bytes"));
    /// # Ok::<(), kprov::build::Invalid>(())
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#meaning-of-cpu>
    Cpu, "amount of processor time", cpu
}

text! {
    /// An amount of memory or storage: `64Mi` are 64 × 2²⁰ bytes, `64M` are 64 × 10⁶.
    ///
    /// ```
    /// use kprov::build::Bytes;
    /// assert_eq!(Bytes::mib(64), "64Mi".parse()?);
    /// assert!("128m".parse::<Bytes>().unwrap_err().to_string().contains("128Mi"));
    /// # Ok::<(), kprov::build::Invalid>(())
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#meaning-of-memory>
    Bytes, "amount of bytes", bytes
}

fn amount(text: &str) -> Result<Amount, Vec<String>> {
    let amount = Amount::from_str(text).map_err(|error| vec![error.to_string()])?;
    if amount.sign() < 0 { Err(vec!["must be greater than or equal to 0".to_owned()]) } else { Ok(amount) }
}

fn cpu(text: &str) -> Vec<String> {
    match amount(text) {
        Err(wrong) => wrong,
        Ok(_) if text.ends_with(['i', 'k', 'M', 'G', 'T', 'P', 'E']) => {
            vec!["that counts bytes; write 250m for a quarter of a core, 2 for two cores".to_owned()]
        }
        Ok(amount) if !amount.is_whole_millis() => vec!["the smallest unit is 1m, a thousandth of a core".to_owned()],
        Ok(_) => Vec::new(),
    }
}

fn bytes(text: &str) -> Vec<String> {
    match amount(text) {
        Err(wrong) => wrong,
        Ok(amount) if amount.as_whole().is_none() => {
            let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
            vec![format!("m stands for thousandths, and no byte is divided; write {digits}Mi for 2^20 bytes each")]
        }
        Ok(_) => Vec::new(),
    }
}

/// Amounts with their unit in the name.
///
/// ```
/// # use kprov::build::*;
/// assert_eq!(Cpu::cores(2).as_str(), "2");
/// assert_eq!(Cpu::millis(1500), "1500m".parse()?);
/// # Ok::<(), Invalid>(())
/// ```
impl Cpu {
    /// Thousandths of a core.
    #[must_use]
    pub fn millis(millis: u32) -> Self {
        Self(Cow::Owned(format!("{millis}m")))
    }

    /// Whole cores.
    #[must_use]
    pub fn cores(cores: u32) -> Self {
        Self(Cow::Owned(cores.to_string()))
    }
}

/// Amounts with their unit in the name: 1 `kib` are 1024 bytes.
///
/// ```
/// # use kprov::build::*;
/// let sizes = [Bytes::exactly(500), Bytes::kib(64), Bytes::mib(64), Bytes::gib(4)];
/// assert_eq!(sizes.map(|size| size.to_string()), ["500", "64Ki", "64Mi", "4Gi"]);
/// ```
impl Bytes {
    /// Single bytes.
    #[must_use]
    pub fn exactly(bytes: u64) -> Self {
        Self(Cow::Owned(bytes.to_string()))
    }

    /// Units of 2¹⁰ bytes.
    #[must_use]
    pub fn kib(kib: u32) -> Self {
        Self(Cow::Owned(format!("{kib}Ki")))
    }

    /// Units of 2²⁰ bytes.
    #[must_use]
    pub fn mib(mib: u32) -> Self {
        Self(Cow::Owned(format!("{mib}Mi")))
    }

    /// Units of 2³⁰ bytes.
    #[must_use]
    pub fn gib(gib: u32) -> Self {
        Self(Cow::Owned(format!("{gib}Gi")))
    }
}

impl From<Cpu> for Quantity {
    fn from(cpu: Cpu) -> Self {
        Self(cpu.into())
    }
}

impl From<Bytes> for Quantity {
    fn from(bytes: Bytes) -> Self {
        Self(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_not_mixed_up() {
        for fine in ["0", "250m", "0.5", "2", "1e1"] {
            assert_eq!(fine.parse::<Cpu>().unwrap().as_str(), fine);
        }
        for bad in ["64Mi", "1M", "0.0005", "-1", "", "one"] {
            assert!(bad.parse::<Cpu>().is_err(), "{bad}");
        }
        for bad in ["100m", "0.5", "-1Gi", "1mi", "64 Mi"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
        assert_eq!(Quantity::from(Bytes::gib(2)), Quantity("2Gi".to_owned()));
    }
}
