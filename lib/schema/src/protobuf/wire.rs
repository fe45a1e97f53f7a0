//! The wire format of protobuf: numbered data, one after the other.

/// One datum as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datum<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Datum<'a> {
    pub(super) fn bytes(&self) -> Result<&'a [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(format!("bytes are expected, not {other:?}")),
        }
    }

    /// A whole number; negative ones are written with ten bytes.
    #[allow(clippy::cast_possible_wrap, reason = "protobuf writes a negative number as its two's complement")]
    pub(super) fn whole(&self) -> Result<i64, String> {
        match self {
            Self::Varint(value) => Ok(*value as i64),
            other => Err(format!("a number is expected, not {other:?}")),
        }
    }
}

/// Walks over the data of a message.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.rest.split_first().ok_or("the message ends inside a number")?;
            self.rest = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is longer than ten bytes".to_owned())
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let length = usize::try_from(length).map_err(|_| "a length is too large")?;
        let (head, rest) = self.rest.split_at_checked(length).ok_or("the message ends inside a value")?;
        self.rest = rest;
        Ok(head)
    }

    fn datum(&mut self) -> Result<(u32, Datum<'a>), String> {
        let key = self.varint()?;
        let tag = u32::try_from(key >> 3).map_err(|_| "a field number is too large")?;
        let datum = match key & 7 {
            0 => Datum::Varint(self.varint()?),
            1 => Datum::Fixed64(u64::from_le_bytes(array(self.take(8)?))),
            2 => {
                let length = self.varint()?;
                Datum::Bytes(self.take(length)?)
            }
            5 => Datum::Fixed32(u32::from_le_bytes(array(self.take(4)?))),
            other => return Err(format!("wire type {other} is not used by Kubernetes")),
        };
        if tag == 0 { Err("a field has the number 0".to_owned()) } else { Ok((tag, datum)) }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("as many bytes were taken")
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u32, Datum<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.datum();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())
}
