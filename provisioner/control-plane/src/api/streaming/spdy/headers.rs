//! Header blocks: names and values, packed by zlib with a dictionary that both sides know, in one go for all frames of
//! a direction.

use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::broken;

/// Bytes of an unpacked block.
const BLOCK: usize = 64 << 10;

/// The beginning of the dictionary, where each word stands behind its length in four bytes.
///
/// Source: <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/#2610-namevalue-header-block>
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges \
    age allow authorization cache-control connection content-base content-encoding content-language content-length \
    content-location content-md5 content-range content-type date etag expect expires from host if-match \
    if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";
/// The rest of it.
const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
    404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug \
    Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
    application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch\
    charset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

fn dictionary() -> Vec<u8> {
    let mut all = vec![];
    for word in WORDS.split_whitespace() {
        put(&mut all, &word.replace('_', " "));
    }
    all.extend_from_slice(REST.as_bytes());
    all
}

fn put(block: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).expect("headers are far below four gigabytes");
    block.extend_from_slice(&length.to_be_bytes());
    block.extend_from_slice(text.as_bytes());
}

/// Packs the blocks of one direction, in their order.
pub(super) struct Packer(Compress);

impl Packer {
    pub(super) fn new() -> Self {
        let mut compress = Compress::new(Compression::fast(), true);
        compress.set_dictionary(&dictionary()).expect("nothing is packed yet");
        Self(compress)
    }

    pub(super) fn pack(&mut self, headers: &[(&str, &str)]) -> io::Result<Vec<u8>> {
        let mut block = u32::try_from(headers.len()).expect("headers are few").to_be_bytes().to_vec();
        for (name, value) in headers {
            put(&mut block, &name.to_ascii_lowercase());
            put(&mut block, value);
        }
        // A block that can't be made smaller grows by less than this.
        let mut packed = Vec::with_capacity(block.len() * 2 + 64);
        self.0.compress_vec(&block, &mut packed, FlushCompress::Sync)?;
        Ok(packed)
    }
}

/// Unpacks the blocks of one direction, in their order.
pub(super) struct Unpacker(Decompress);

impl Unpacker {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// Errors: it is no block, or too large.
    pub(super) fn unpack(&mut self, packed: &[u8]) -> io::Result<Vec<(String, String)>> {
        let mut block = Vec::with_capacity(BLOCK);
        let mut rest = packed;
        while !rest.is_empty() {
            let before = self.0.total_in();
            let unpacked = self.0.decompress_vec(rest, &mut block, FlushDecompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before).unwrap_or(rest.len());
            rest = &rest[taken..];
            match unpacked {
                Err(error) if error.needs_dictionary().is_some() => drop(self.0.set_dictionary(&dictionary())?),
                Err(error) => return Err(error.into()),
                Ok(Status::StreamEnd) => return Err(broken("the end of all headers".into())),
                Ok(_) if block.len() == block.capacity() || taken == 0 => {
                    return Err(broken("a header block".into()));
                }
                Ok(_) => {}
            }
        }
        read(&block).ok_or_else(|| broken("a header block".into()))
    }
}

fn read(block: &[u8]) -> Option<Vec<(String, String)>> {
    let mut rest = block;
    let mut headers = vec![];
    for _ in 0..number(&mut rest)? {
        headers.push((text(&mut rest)?, text(&mut rest)?));
    }
    rest.is_empty().then_some(headers)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u32::from_be_bytes(*number))
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(number(rest)?).ok()?;
    let (text, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_dictionary_is_the_one_that_all_have() {
        assert_eq!(dictionary().len(), 1423);
        assert_eq!(Compress::new(Compression::fast(), true).set_dictionary(&dictionary()).unwrap(), 0xe3c6_a7c2);
    }

    #[test]
    fn what_is_too_large_or_cut_off_is_refused() {
        let large = "x".repeat(BLOCK);
        let packed = Packer::new().pack(&[("a", &large)]).unwrap();
        assert!(packed.len() < 1000 && Unpacker::new().unpack(&packed).is_err());
        let packed = Packer::new().pack(&[("streamtype", "data")]).unwrap();
        assert!(Unpacker::new().unpack(&packed[..packed.len() - 6]).is_err());
    }

    proptest! {
        #[test]
        fn blocks_are_read_as_they_are_written(
            blocks in prop::collection::vec(prop::collection::vec(("[a-z]{1,12}", "\\PC{0,40}"), 0..6), 1..5)
        ) {
            let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new());
            for block in blocks {
                let given: Vec<(&str, &str)> = block.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                prop_assert_eq!(unpacker.unpack(&packer.pack(&given).unwrap()).unwrap(), block);
            }
        }

        #[test]
        fn no_bytes_break_it(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..4)) {
            let mut unpacker = Unpacker::new();
            for block in blocks {
                let _ = unpacker.unpack(&block);
                let _ = read(&block);
            }
        }
    }
}
