//! A small model of nftables, and its way to the kernel in one atomic batch.
//!
//! Netlink messages come from `netlink-bindings`, which is generated from the kernel's own specification and has no
//! dependencies; `nftables` needs the `nft` program, `nftnl` a C library, `rustables` is GPL.

use std::ffi::{CStr, CString};
use std::fmt::{self, Write};
use std::io;
use std::net::Ipv4Addr;

use netlink_bindings::nftables::{
    self, Chained, CmpOps, MetaKeys, Nfgenmsg, NumgenTypes, PayloadBase, PushExprAttrs, PushExprListAttrs, Registers,
    RejectTypes, VerdictCode,
};
use netlink_bindings::traits::Pusher;
use netlink_bindings::utils::{finalize_nested_header, push_header, push_nested_header};
use netlink_socket2::NetlinkSocket;

/// A table of the IPv4 family, replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Name.
    pub name: String,
    /// Maps and sets, before the rules that look into them.
    pub sets: Vec<Set>,
    /// Chains, each before the chains that jump to it need not be: all are made before the first rule.
    pub chains: Vec<Chain>,
}

/// A named set, or a map when it has a value type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Name, at most 255 bytes.
    pub name: String,
    /// Bytes of a key; every part of a joined key fills four.
    pub key_bytes: u32,
    /// What the values are.
    pub values: Values,
    /// Keys with their values.
    pub elements: Vec<(Vec<u8>, Value)>,
}

/// What a map's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// It is a set.
    None,
    /// Verdicts.
    Verdicts,
    /// Data of so many bytes.
    Data(u32),
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of a set.
    None,
    /// Of a verdict map.
    Verdict(Verdict),
    /// Of a data map.
    Data(Vec<u8>),
}

/// Where a packet goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Lets it through.
    Accept,
    /// Throws it away.
    Drop,
    /// Goes to a chain and comes back.
    Jump(String),
    /// Goes to a chain for good.
    Goto(String),
}

/// A chain of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Name.
    pub name: String,
    /// Where the kernel calls it; `None` is called by other chains only.
    pub hook: Option<Hook>,
    /// Rules, in order.
    pub rules: Vec<Vec<Expr>>,
}

/// A place where the kernel calls a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `nat` or `filter`.
    pub kind: HookKind,
    /// At which point of a packet's way.
    pub point: HookPoint,
    /// Order among chains of the same point.
    pub priority: i32,
}

/// What a hooked chain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "nftables' own words")]
pub enum HookKind {
    Nat,
    Filter,
}

/// Points of a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "nftables' own words")]
pub enum HookPoint {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// A step of a rule. Registers are the kernel's 16 of four bytes each, counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Loads the protocol number of the transport header (one byte).
    Protocol(u32),
    /// Loads the source address.
    Source(u32),
    /// Loads the destination address.
    Destination(u32),
    /// Loads the destination port (two bytes).
    Port(u32),
    /// Loads the packet's mark.
    Mark(u32),
    /// Keeps the bits of the mask of a four-byte register.
    Mask(u32, [u8; 4]),
    /// Goes on with the rule only when the register equals the bytes.
    Equal(u32, Vec<u8>),
    /// Goes on with the rule only when the register differs from the bytes.
    Differs(u32, Vec<u8>),
    /// Sets the packet's mark.
    SetMark(u32),
    /// Loads a random number below the bound.
    Random(u32, u32),
    /// Loads a number below the bound that is always the same for one source address, which register 1 of the pair holds.
    HashOf {
        /// Register of the four bytes that are hashed.
        from: u32,
        /// Register of the number.
        to: u32,
        /// Bound.
        below: u32,
    },
    /// Goes on only when the set holds the key that starts at the register.
    In(u32, String),
    /// Acts on the verdict that the map holds for the key; goes on when it holds none.
    Act(u32, String),
    /// Loads the data that the map holds for the key; ends the rule when it holds none.
    Load {
        /// First register of the key.
        key: u32,
        /// Map.
        map: String,
        /// First register of the data.
        to: u32,
    },
    /// Rewrites the destination to the address and port in two registers.
    Dnat {
        /// Register of the address.
        address: u32,
        /// Register of the port.
        port: u32,
    },
    /// Rewrites the source to the address of the outgoing link.
    Masquerade,
    /// Refuses at once: port unreachable.
    Reject,
    /// Decides.
    Verdict(Verdict),
}

/// Key bytes of `address . protocol . port`.
#[must_use]
pub fn service_key(address: Ipv4Addr, protocol: u8, port: u16) -> Vec<u8> {
    [&address.octets()[..], &[protocol, 0, 0, 0], &port_bytes(port)].concat()
}

/// Key bytes of `protocol . port`.
#[must_use]
pub fn port_key(protocol: u8, port: u16) -> Vec<u8> {
    [&[protocol, 0, 0, 0][..], &port_bytes(port)].concat()
}

/// Data bytes of `address . port`.
#[must_use]
pub fn endpoint_data(address: Ipv4Addr, port: u16) -> Vec<u8> {
    [&address.octets()[..], &port_bytes(port)].concat()
}

fn port_bytes(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// Replaces the table in the namespace of the calling thread, all of it or nothing.
///
/// Errors: the kernel's, with the message that it refused.
pub fn replace(table: &Table) -> io::Result<()> {
    transact(|batch| {
        let name = text(&table.name);
        batch.request().set_create().op_newtable_do(&ipv4()).encode().push_name(&name);
        batch.request().op_deltable_do(&ipv4()).encode().push_name(&name);
        batch.request().set_create().op_newtable_do(&ipv4()).encode().push_name(&name);
        table.chains.iter().for_each(|chain| add_chain(batch, &name, chain));
        for (id, set) in (1..).zip(&table.sets) {
            add_set(batch, &name, id, set);
        }
        for chain in &table.chains {
            chain.rules.iter().for_each(|rule| add_rule(batch, &name, &chain.name, rule));
        }
    })
}

/// Removes the table from the namespace of the calling thread; one that is gone is no error.
pub fn remove(name: &str) -> io::Result<()> {
    transact(|batch| {
        let name = text(name);
        batch.request().set_create().op_newtable_do(&ipv4()).encode().push_name(&name);
        batch.request().op_deltable_do(&ipv4()).encode().push_name(&name);
    })
}

fn transact(fill: impl FnOnce(&mut Chained<'static>)) -> io::Result<()> {
    let mut socket = NetlinkSocket::new();
    let mut batch = Chained::new(1);
    batch.request().op_batch_begin_do(&batch_header());
    fill(&mut batch);
    batch.request().op_batch_end_do(&batch_header());
    let batch = batch.finalize();
    let mut replies = socket.request_chained(&batch)?;
    replies.recv_all().map_err(|error| io::Error::new(error.as_io_error().kind(), format!("nftables: {error}")))
}

fn batch_header() -> Nfgenmsg {
    const NFNL_SUBSYS_NFTABLES: u16 = 10;
    let mut header = Nfgenmsg::new();
    header.set_res_id(NFNL_SUBSYS_NFTABLES);
    header
}

fn ipv4() -> Nfgenmsg {
    const NFPROTO_IPV4: u8 = 2;
    Nfgenmsg { nfgen_family: NFPROTO_IPV4, ..Nfgenmsg::default() }
}

fn text(name: &str) -> CString {
    CString::new(name).expect("names of tables, chains and sets are made here, without NUL")
}

fn add_chain(batch: &mut Chained<'static>, table: &CString, chain: &Chain) {
    let request = batch.request().set_create().op_newchain_do(&ipv4());
    let mut request = request;
    let attributes = request.encode().push_table(table).push_name(&text(&chain.name));
    if let Some(hook) = chain.hook {
        let kind = match hook.kind {
            HookKind::Nat => c"nat",
            HookKind::Filter => c"filter",
        };
        attributes.nested_hook().push_num(hook.point as u32).push_priority(hook.priority).end_nested().push_type(kind);
    }
}

fn add_set(batch: &mut Chained<'static>, table: &CString, id: u32, set: &Set) {
    const NFT_SET_MAP: u32 = 8;
    const NFT_DATA_VERDICT: u32 = 0xffff_ff00;
    let mut request = batch.request().set_create().op_newset_do(&ipv4());
    let mut attributes = request.encode().push_table(table).push_name(&text(&set.name)).push_id(id);
    attributes = attributes.push_key_type(0).push_key_len(set.key_bytes);
    match set.values {
        Values::None => drop(attributes.push_flags(0)),
        Values::Verdicts => drop(attributes.push_flags(NFT_SET_MAP).push_data_type(NFT_DATA_VERDICT).push_data_len(16)),
        Values::Data(bytes) => drop(attributes.push_flags(NFT_SET_MAP).push_data_type(0).push_data_len(bytes)),
    }
    drop(request);
    // One message holds at most 64 KiB of attributes.
    for elements in set.elements.chunks(500) {
        let mut request = batch.request().set_create().op_newsetelem_do(&ipv4());
        let attributes = request.encode().push_table(table).push_set(&text(&set.name)).push_set_id(id);
        let mut list = attributes.nested_elements();
        for (key, value) in elements {
            let element = list.nested_elem().nested_key().push_value(key).end_nested();
            list = match value {
                Value::None => element.end_nested(),
                Value::Data(data) => element.nested_data().push_value(data).end_nested().end_nested(),
                Value::Verdict(verdict) => push_verdict(element.nested_data(), verdict).end_nested().end_nested(),
            };
        }
    }
}

fn push_verdict<Prev: Pusher>(data: nftables::PushDataAttrs<Prev>, verdict: &Verdict) -> nftables::PushDataAttrs<Prev> {
    let attributes = data.nested_verdict();
    match verdict {
        Verdict::Accept => attributes.push_code(VerdictCode::Accept as u32),
        Verdict::Drop => attributes.push_code(VerdictCode::Drop as u32),
        Verdict::Jump(chain) => attributes.push_code(VerdictCode::Jump as u32).push_chain(&text(chain)),
        Verdict::Goto(chain) => attributes.push_code(VerdictCode::Goto as u32).push_chain(&text(chain)),
    }
    .end_nested()
}

fn add_rule(batch: &mut Chained<'static>, table: &CString, chain: &str, rule: &[Expr]) {
    let mut request = batch.request().set_create().set_append().op_newrule_do(&ipv4());
    let attributes = request.encode().push_table(table).push_chain(&text(chain));
    let mut list = attributes.nested_expressions();
    for expr in rule {
        list = push_expr(list, expr);
    }
}

fn register(number: u32) -> u32 {
    Registers::Reg3200 as u32 + number
}

fn push_expr<Prev: Pusher>(list: PushExprListAttrs<Prev>, expr: &Expr) -> PushExprListAttrs<Prev> {
    let elem = list.nested_elem();
    match expr {
        Expr::Protocol(to) => push_meta(elem, MetaKeys::L4Proto, *to),
        Expr::Mark(to) => push_meta(elem, MetaKeys::Mark, *to),
        Expr::Source(to) => push_payload(elem, PayloadBase::NetworkHeader, 12, 4, *to),
        Expr::Destination(to) => push_payload(elem, PayloadBase::NetworkHeader, 16, 4, *to),
        Expr::Port(to) => push_payload(elem, PayloadBase::TransportHeader, 2, 2, *to),
        Expr::Mask(at, mask) => push_mask(elem, *at, *mask),
        Expr::Equal(at, bytes) => push_compare(elem, CmpOps::Eq, *at, bytes),
        Expr::Differs(at, bytes) => push_compare(elem, CmpOps::Neq, *at, bytes),
        Expr::SetMark(_) | Expr::Verdict(_) => push_immediate(elem, expr),
        Expr::Random(to, below) => push_random(elem, *to, *below),
        Expr::HashOf { from, to, below } => push_hash(elem, *from, *to, *below),
        Expr::In(key, set) => push_lookup(elem, *key, set, None),
        Expr::Act(key, map) => push_lookup(elem, *key, map, Some(Registers::RegVerdict as u32)),
        Expr::Load { key, map, to } => push_lookup(elem, *key, map, Some(register(*to))),
        Expr::Dnat { address, port } => push_dnat(elem, *address, *port),
        Expr::Masquerade => elem.push_name(c"masq").end_nested(),
        Expr::Reject => {
            const ICMP_PORT_UNREACHABLE: u8 = 3;
            let reject = elem.nested_data_reject().push_type(RejectTypes::IcmpUnreach as u32);
            reject.push_icmp_code(ICMP_PORT_UNREACHABLE).end_nested().end_nested()
        }
    }
}

type List<Prev> = PushExprListAttrs<Prev>;
type Elem<Prev> = PushExprAttrs<List<Prev>>;

fn push_meta<Prev: Pusher>(elem: Elem<Prev>, key: MetaKeys, to: u32) -> List<Prev> {
    elem.nested_data_meta().push_key(key as u32).push_dreg(register(to)).end_nested().end_nested()
}

fn push_payload<Prev: Pusher>(elem: Elem<Prev>, base: PayloadBase, offset: u32, len: u32, to: u32) -> List<Prev> {
    let payload = elem.nested_data_payload().push_dreg(register(to)).push_base(base as u32);
    payload.push_offset(offset).push_len(len).end_nested().end_nested()
}

fn push_mask<Prev: Pusher>(elem: Elem<Prev>, at: u32, mask: [u8; 4]) -> List<Prev> {
    let bitwise = elem.nested_data_bitwise().push_sreg(register(at)).push_dreg(register(at)).push_len(4);
    let bitwise = bitwise.nested_mask().push_value(&mask).end_nested();
    bitwise.nested_xor().push_value(&[0; 4]).end_nested().end_nested().end_nested()
}

fn push_compare<Prev: Pusher>(elem: Elem<Prev>, how: CmpOps, at: u32, bytes: &[u8]) -> List<Prev> {
    let compare = elem.nested_data_cmp().push_sreg(register(at)).push_op(how as u32);
    compare.nested_data().push_value(bytes).end_nested().end_nested().end_nested()
}

fn push_dnat<Prev: Pusher>(elem: Elem<Prev>, address: u32, port: u32) -> List<Prev> {
    const NFT_NAT_DNAT: u32 = 1;
    let nat = elem.nested_data_nat().push_type(NFT_NAT_DNAT).push_family(u32::from(ipv4().nfgen_family));
    let nat = nat.push_reg_addr_min(register(address)).push_reg_proto_min(register(port));
    nat.end_nested().end_nested()
}

fn push_immediate<Prev: Pusher>(elem: Elem<Prev>, expr: &Expr) -> List<Prev> {
    match expr {
        Expr::Verdict(verdict) => {
            let immediate = elem.nested_data_immediate().push_dreg(Registers::RegVerdict as u32);
            push_verdict(immediate.nested_data(), verdict).end_nested().end_nested().end_nested()
        }
        Expr::SetMark(mark) => {
            let scratch = register(15);
            let immediate = elem.nested_data_immediate().push_dreg(scratch);
            let list = immediate.nested_data().push_value(&mark.to_ne_bytes()).end_nested().end_nested().end_nested();
            let meta = list.nested_elem().nested_data_meta().push_key(MetaKeys::Mark as u32);
            meta.push_sreg(scratch).end_nested().end_nested()
        }
        _ => unreachable!("only verdicts and marks are immediate"),
    }
}

fn push_lookup<Prev: Pusher>(elem: Elem<Prev>, key: u32, set: &str, to: Option<u32>) -> List<Prev> {
    let mut attributes = vec![(1, name_bytes(set)), (2, number(register(key)))];
    attributes.extend(to.map(|to| (3, number(to))));
    push_raw(elem, c"lookup", &attributes)
}

fn push_random<Prev: Pusher>(elem: Elem<Prev>, to: u32, below: u32) -> List<Prev> {
    let random = number(NumgenTypes::Random as u32);
    push_raw(elem, c"numgen", &[(1, number(register(to))), (2, number(below)), (3, random)])
}

fn push_hash<Prev: Pusher>(elem: Elem<Prev>, from: u32, to: u32, below: u32) -> List<Prev> {
    let [from, to, len, below] = [register(from), register(to), 4, below].map(number);
    push_raw(elem, c"hash", &[(1, from), (2, to), (3, len), (4, below)])
}

/// An expression by its attribute numbers, for those that the kernel's published specification leaves out (`hash`) or
/// numbers wrongly (`lookup`, `numgen`). Source: `include/uapi/linux/netfilter/nf_tables.h`.
fn push_raw<Prev: Pusher>(elem: Elem<Prev>, name: &CStr, attributes: &[(u16, Vec<u8>)]) -> List<Prev> {
    const NFTA_EXPR_DATA: u16 = 2;
    let mut elem = elem.push_name(name);
    let buffer = elem.as_vec_mut();
    let data = push_nested_header(buffer, NFTA_EXPR_DATA);
    for (attribute, value) in attributes {
        push_header(buffer, *attribute, u16::try_from(value.len()).expect("values are short"));
        buffer.extend(value);
    }
    finalize_nested_header(buffer, data);
    elem.end_nested()
}

fn number(value: u32) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

fn name_bytes(name: &str) -> Vec<u8> {
    text(name).into_bytes_with_nul()
}

impl fmt::Display for Table {
    /// The table as a person reads it, for tests and diagnostics: close to nft's own notation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table ip {} {{", self.name)?;
        for set in &self.sets {
            writeln!(f, "  set {} {{", set.name)?;
            for (key, value) in &set.elements {
                writeln!(f, "    {}{}", show_bytes(key), show_value(value))?;
            }
            writeln!(f, "  }}")?;
        }
        for chain in &self.chains {
            let hook = chain.hook.map(|hook| format!(" {:?} {:?} {}", hook.kind, hook.point, hook.priority));
            writeln!(f, "  chain {}{} {{", chain.name, hook.unwrap_or_default())?;
            for rule in &chain.rules {
                let steps: Vec<String> = rule.iter().map(|expr| format!("{expr:?}")).collect();
                writeln!(f, "    {}", steps.join(", "))?;
            }
            writeln!(f, "  }}")?;
        }
        f.write_char('}')
    }
}

fn show_value(value: &Value) -> String {
    match value {
        Value::None => String::new(),
        Value::Verdict(verdict) => format!(": {verdict:?}"),
        Value::Data(data) => format!(": {}", show_bytes(data)),
    }
}

/// Bytes four at a time: an address reads as itself, a protocol or port as its number.
fn show_bytes(bytes: &[u8]) -> String {
    let words: Vec<String> = bytes
        .chunks(4)
        .map(|word| match word {
            [protocol, 0, 0, 0] => protocol.to_string(),
            [high, low, 0, 0] => u16::from_be_bytes([*high, *low]).to_string(),
            [a, b, c, d] => Ipv4Addr::new(*a, *b, *c, *d).to_string(),
            other => format!("{other:?}"),
        })
        .collect();
    words.join(" . ")
}
