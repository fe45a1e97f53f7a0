//! Names of services and pods, answered from services and endpoint slices.

pub mod server;
mod zone;

pub use zone::Zone;

use hickory_proto::op::{Message, OpCode, ResponseCode};

/// Seconds that an answer may be kept: service addresses are stable, endpoints are not.
const TTL_SECONDS: u32 = 5;
/// Bytes of a UDP answer for clients that don't say how much they take.
const UDP_BYTES: u16 = 512;

/// The answer to one message, or `None` when there is nobody to answer: it is no query at all.
///
/// Over UDP (`datagram`) an answer that is too long for the client is cut and marked, so that it asks again over TCP.
#[must_use]
pub fn respond(zone: &Zone, request: &[u8], datagram: bool) -> Option<Vec<u8>> {
    let query = Message::from_vec(request).ok()?;
    if query.metadata.message_type != hickory_proto::op::MessageType::Query {
        return None;
    }
    let response = answer(zone, &query);
    let bytes = response.to_vec().ok()?;
    let most = usize::from(query.edns.as_ref().map_or(UDP_BYTES, |edns| edns.max_payload().max(UDP_BYTES)));
    if datagram && bytes.len() > most {
        let mut cut = response.truncate();
        cut.metadata.truncation = true;
        return cut.to_vec().ok();
    }
    Some(bytes)
}

fn answer(zone: &Zone, query: &Message) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    if let Some(edns) = &query.edns {
        let mut own = hickory_proto::op::Edns::new();
        own.set_max_payload(edns.max_payload().max(UDP_BYTES));
        response.set_edns(own);
    }
    let [question] = query.queries.as_slice() else {
        response.metadata.response_code = ResponseCode::FormErr;
        return response;
    };
    response.add_query(question.clone());
    if query.metadata.op_code != OpCode::Query {
        response.metadata.response_code = ResponseCode::NotImp;
        return response;
    }
    zone.resolve(question, &mut response);
    response
}
