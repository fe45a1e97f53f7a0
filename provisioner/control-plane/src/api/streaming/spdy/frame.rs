//! The frames of SPDY/3.1: eight bytes of head, and what follows them.

use std::io;

use super::broken;

/// Bytes of every frame's head.
pub(super) const HEAD: usize = 8;

const VERSION: u16 = 3;
/// The last frame of its sender in a stream.
const FIN: u8 = 1;
/// Nobody is interested in the stream any more.
pub(super) const CANCEL: u32 = 5;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// What the first bytes of a frame say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    Data { stream: u32, ends: bool, length: usize },
    Control { kind: u16, flags: u8, length: usize },
}

impl Head {
    /// Errors: another version.
    pub(super) fn parse(head: [u8; HEAD]) -> io::Result<Self> {
        let [a, b, c, d, flags, e, f, g] = head;
        let length = u32::from_be_bytes([0, e, f, g]) as usize;
        if a & 0x80 == 0 {
            return Ok(Self::Data { stream: u32::from_be_bytes([a, b, c, d]), ends: flags & FIN != 0, length });
        }
        match u16::from_be_bytes([a & 0x7f, b]) {
            VERSION => Ok(Self::Control { kind: u16::from_be_bytes([c, d]), flags, length }),
            other => Err(broken(format!("SPDY of version {other}"))),
        }
    }
}

/// A control frame of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Control<'a> {
    Open {
        stream: u32,
        ends: bool,
        headers: &'a [u8],
    },
    Reset {
        stream: u32,
    },
    Ping {
        number: u32,
    },
    Headers {
        headers: &'a [u8],
    },
    GoAway,
    /// One that asks nothing of us.
    Other,
}

impl<'a> Control<'a> {
    /// Errors: it is too short.
    pub(super) fn parse(kind: u16, flags: u8, body: &'a [u8]) -> io::Result<Self> {
        let short = || broken(format!("a frame of type {kind} with {} bytes", body.len()));
        let number = || body.first_chunk().map(|bytes| u32::from_be_bytes(*bytes) & 0x7fff_ffff).ok_or_else(short);
        Ok(match kind {
            SYN_STREAM => Self::Open {
                stream: number()?,
                ends: flags & FIN != 0,
                // Behind the stream: another one that it belongs to, and its priority.
                headers: body.get(10..).ok_or_else(short)?,
            },
            SYN_REPLY | HEADERS => Self::Headers { headers: body.get(4..).ok_or_else(short)? },
            RST_STREAM => Self::Reset { stream: number()? },
            PING => {
                Self::Ping { number: body.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).ok_or_else(short)? }
            }
            GOAWAY => Self::GoAway,
            _ => Self::Other,
        })
    }
}

fn length(bytes: usize) -> [u8; 3] {
    let [_, a, b, c] = u32::try_from(bytes).expect("frames are far below four gigabytes").to_be_bytes();
    [a, b, c]
}

fn control(kind: u16, flags: u8, body: &[&[u8]]) -> Vec<u8> {
    let [a, b] = (VERSION | 0x8000).to_be_bytes();
    let [c, d] = kind.to_be_bytes();
    let body = body.concat();
    let [e, f, g] = length(body.len());
    [&[a, b, c, d, flags, e, f, g][..], &body].concat()
}

/// The head of so many bytes of a stream.
pub(super) fn data(stream: u32, bytes: usize, ends: bool) -> Vec<u8> {
    let [a, b, c, d] = stream.to_be_bytes();
    let [e, f, g] = length(bytes);
    vec![a, b, c, d, if ends { FIN } else { 0 }, e, f, g]
}

/// That a stream is open.
pub(super) fn reply(stream: u32, headers: &[u8]) -> Vec<u8> {
    control(SYN_REPLY, 0, &[&stream.to_be_bytes(), headers])
}

/// That a stream is over for both.
pub(super) fn reset(stream: u32, status: u32) -> Vec<u8> {
    control(RST_STREAM, 0, &[&stream.to_be_bytes(), &status.to_be_bytes()])
}

/// The answer to a ping is the ping.
pub(super) fn ping(number: u32) -> Vec<u8> {
    control(PING, 0, &[&number.to_be_bytes()])
}

/// That nothing more is said.
pub(super) fn go_away() -> Vec<u8> {
    control(GOAWAY, 0, &[&[0; 8]])
}

/// A client opens a stream.
#[cfg(test)]
pub(super) fn open(stream: u32, ends: bool, headers: &[u8]) -> Vec<u8> {
    control(SYN_STREAM, u8::from(ends), &[&stream.to_be_bytes(), &[0; 6], headers])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(frame: &[u8]) -> (Head, &[u8]) {
        (Head::parse(*frame.first_chunk().unwrap()).unwrap(), &frame[HEAD..])
    }

    #[test]
    fn frames_are_read_as_they_are_written() {
        assert_eq!(heads(&data(5, 70_000, true)).0, Head::Data { stream: 5, ends: true, length: 70_000 });
        assert_eq!(data(1, 3, false), [0, 0, 0, 1, 0, 0, 0, 3]);
        assert_eq!(ping(9), [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9]);
        for (frame, wanted) in [
            (open(7, true, b"h"), Control::Open { stream: 7, ends: true, headers: b"h" }),
            (reset(7, CANCEL), Control::Reset { stream: 7 }),
            (ping(0x8000_0001), Control::Ping { number: 0x8000_0001 }),
            (reply(2, b"h"), Control::Headers { headers: b"h" }),
            (go_away(), Control::GoAway),
        ] {
            let (Head::Control { kind, flags, length }, body) = heads(&frame) else { panic!("{frame:?}") };
            assert_eq!(length, body.len());
            assert_eq!(Control::parse(kind, flags, body).unwrap(), wanted);
        }
    }

    #[test]
    fn broken_frames_are_refused() {
        assert!(Head::parse([0x80, 2, 0, 1, 0, 0, 0, 0]).is_err(), "another version");
        for kind in [SYN_STREAM, SYN_REPLY, RST_STREAM, PING, HEADERS] {
            assert!(Control::parse(kind, 0, &[0; 3]).is_err(), "{kind}");
        }
        assert_eq!(Control::parse(4, 0, &[]).unwrap(), Control::Other, "settings");
    }
}
