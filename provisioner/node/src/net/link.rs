//! Links, addresses and routes of the namespace that the calling thread is in, over rtnetlink.

use std::ffi::CString;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::Ipv4Net;
use netlink_bindings::rt_addr::{self, Ifaddrmsg};
use netlink_bindings::rt_link::{self, IfinfoFlags, Ifinfomsg};
use netlink_bindings::rt_route::{self, Rtmsg};
use netlink_bindings::traits::{NetlinkRequest, Pusher};
use netlink_bindings::utils::{finalize_nested_header, push_header, push_nested_header};
use netlink_socket2::NetlinkSocket;
use nix::errno::Errno;

const AF_INET: u8 = 2;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
/// Attributes that the kernel's published specification of rtnetlink does not name.
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

/// A socket to the kernel's links. It stays in the namespace that it was first used in.
pub struct Links(NetlinkSocket);

impl Links {
    /// Links of the calling thread's namespace.
    #[must_use]
    pub fn here() -> Self {
        Self(NetlinkSocket::new())
    }

    /// The index of a link, if it is there.
    pub fn index(&self, name: &str) -> io::Result<Option<u32>> {
        match nix::net::if_::if_nametoindex(name) {
            Ok(index) => Ok(Some(index)),
            Err(Errno::ENODEV | Errno::ENXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a bridge and brings it up; one of that name that is there already is used.
    pub fn bridge(&mut self, name: &str) -> io::Result<u32> {
        let mut request = rt_link::Request::new().set_create().op_newlink_do(&Ifinfomsg::new());
        request.encode().push_ifname(&text(name)?).nested_linkinfo().push_kind(c"bridge").end_nested();
        self.send_unless(&request, Errno::EEXIST)?;
        let index = self.require(name)?;
        self.up(index)?;
        Ok(index)
    }

    /// Makes a pair of connected links: `name` here, `peer` in the namespace of `peer_namespace`.
    pub fn veth(
        &mut self,
        name: &str,
        peer: &str,
        peer_namespace: BorrowedFd<'_>,
        peer_mac: [u8; 6],
    ) -> io::Result<()> {
        let mut request = rt_link::Request::new().set_create().set_excl().op_newlink_do(&Ifinfomsg::new());
        let mut info = request.encode().push_ifname(&text(name)?).nested_linkinfo().push_kind(c"veth");
        push_peer(info.as_vec_mut(), peer, peer_namespace.as_raw_fd(), peer_mac);
        info.end_nested();
        self.send(&request)
    }

    /// Brings a link up.
    pub fn up(&mut self, index: u32) -> io::Result<()> {
        let up = IfinfoFlags::Up as u32;
        let header = Ifinfomsg { ifi_flags: up, ifi_change: up, ..of_index(index) };
        self.send(&rt_link::Request::new().op_setlink_do(&header))
    }

    /// Brings the link of that name up.
    pub fn up_by_name(&mut self, name: &str) -> io::Result<()> {
        let index = self.require(name)?;
        self.up(index)
    }

    /// Makes a link a port of a bridge. A `hairpin` port may get its own frames back.
    pub fn enslave(&mut self, index: u32, bridge: u32, hairpin: bool) -> io::Result<()> {
        let mut request = rt_link::Request::new().op_setlink_do(&of_index(index));
        request.encode().push_master(bridge);
        self.send(&request)?;
        let mut request = rt_link::Request::new().op_newlink_do(&of_index(index));
        request
            .encode()
            .nested_linkinfo()
            .nested_slave_data_bridge()
            .push_mode(u8::from(hairpin))
            .end_nested()
            .end_nested();
        self.send(&request)
    }

    /// Gives a link an address; one that it has already is no error.
    pub fn address(&mut self, index: u32, address: Ipv4Net) -> io::Result<()> {
        let header = Ifaddrmsg {
            ifa_family: AF_INET,
            ifa_prefixlen: address.prefix_len(),
            ifa_index: index,
            ..Ifaddrmsg::default()
        };
        let mut request = rt_addr::Request::new().set_create().set_replace().op_newaddr_do(&header);
        request.encode().push_local(IpAddr::V4(address.addr())).push_address(IpAddr::V4(address.addr()));
        self.send_unless(&request, Errno::EEXIST)
    }

    /// Sends what goes to `to` out by a link, to the neighbour `via` if one is given. Replaces a route to the same place.
    pub fn route(&mut self, to: Ipv4Net, out: u32, via: Option<Ipv4Addr>) -> io::Result<()> {
        let header = route_header(to, if via.is_some() { RT_SCOPE_UNIVERSE } else { RT_SCOPE_LINK });
        let mut request = rt_route::Request::new().set_create().set_replace().op_newroute_do(&header);
        let mut attributes = request.encode();
        if to.prefix_len() > 0 {
            attributes = attributes.push_dst(IpAddr::V4(to.network()));
        }
        if let Some(via) = via {
            attributes = attributes.push_gateway(IpAddr::V4(via));
        }
        attributes.push_oif(out);
        self.send(&request)
    }

    /// Takes a route away; one that is gone is no error.
    pub fn unroute(&mut self, to: Ipv4Net) -> io::Result<()> {
        let mut request = rt_route::Request::new().op_delroute_do(&route_header(to, RT_SCOPE_UNIVERSE));
        request.encode().push_dst(IpAddr::V4(to.network()));
        self.send_unless(&request, Errno::ESRCH)
    }

    /// Removes a link with its peer; one that is gone is no error.
    pub fn delete_if_there(&mut self, name: &str) -> io::Result<()> {
        let Some(index) = self.index(name)? else { return Ok(()) };
        self.send_unless(&rt_link::Request::new().op_dellink_do(&of_index(index)), Errno::ENODEV)
    }

    /// Every IPv4 address of the namespace.
    pub fn addresses(&mut self) -> io::Result<Vec<Ipv4Net>> {
        let request =
            rt_addr::Request::new().op_getaddr_dump(&Ifaddrmsg { ifa_family: AF_INET, ..Ifaddrmsg::default() });
        let mut replies = self.0.request(&request)?;
        let mut found = Vec::new();
        while let Some(reply) = replies.recv() {
            let (header, attributes) = reply.map_err(|error| io::Error::other(error.to_string()))?;
            if let Ok(IpAddr::V4(address)) = attributes.get_address() {
                found.extend(Ipv4Net::new(address, header.ifa_prefixlen));
            }
        }
        Ok(found)
    }

    fn require(&self, name: &str) -> io::Result<u32> {
        self.index(name)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no link {name}")))
    }

    fn send<R: NetlinkRequest>(&mut self, request: &R) -> io::Result<()> {
        let mut reply = self.0.request(request)?;
        reply.recv_ack().map_err(|error| {
            error
                .as_io_error()
                .raw_os_error()
                .map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
        })
    }

    fn send_unless<R: NetlinkRequest>(&mut self, request: &R, fine: Errno) -> io::Result<()> {
        match self.send(request) {
            Err(error) if error.raw_os_error() == Some(fine as i32) => Ok(()),
            other => other,
        }
    }
}

fn of_index(index: u32) -> Ifinfomsg {
    Ifinfomsg { ifi_index: i32::try_from(index).expect("the kernel numbers links by i32"), ..Ifinfomsg::new() }
}

fn route_header(to: Ipv4Net, scope: u8) -> Rtmsg {
    Rtmsg {
        rtm_family: AF_INET,
        rtm_dst_len: to.prefix_len(),
        rtm_table: RT_TABLE_MAIN,
        rtm_protocol: RTPROT_STATIC,
        rtm_scope: scope,
        rtm_type: RTN_UNICAST,
        ..Rtmsg::default()
    }
}

/// The other end of a veth pair: a link message of its own inside the first one's data.
fn push_peer(buffer: &mut Vec<u8>, name: &str, namespace: i32, mac: [u8; 6]) {
    const IFLA_ADDRESS: u16 = 1;
    let data = push_nested_header(buffer, IFLA_INFO_DATA);
    let peer = push_nested_header(buffer, VETH_INFO_PEER);
    buffer.extend([0; size_of::<Ifinfomsg>()]);
    push_header(buffer, IFLA_IFNAME, u16::try_from(name.len() + 1).expect("link names are short"));
    buffer.extend(name.as_bytes());
    buffer.push(0);
    push_header(buffer, IFLA_NET_NS_FD, 4);
    buffer.extend(namespace.to_ne_bytes());
    push_header(buffer, IFLA_ADDRESS, 6);
    buffer.extend(mac);
    finalize_nested_header(buffer, peer);
    finalize_nested_header(buffer, data);
}

fn text(name: &str) -> io::Result<CString> {
    CString::new(name)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("link name {name:?} holds a NUL")))
}
