//! The bytes of messages about members.

use bytes::BufMut;

use super::fields::{put_address, take_address};
use super::kind::Body;
use super::member_message::{MemberChange, MemberOutcome, MemberReply, MemberRequest};
use crate::codec::{Malformed, Reader};
use crate::configuration::Configuration;
use crate::types::{LogIndex, ServerId};

impl Body for MemberRequest {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.nonce);
        out.put_u64_le(self.seen.0);
        match self.change {
            MemberChange::None => out.put_u8(0),
            MemberChange::Add { node, address } => {
                out.put_u8(1);
                out.put_u16_le(node.0);
                put_address(out, address);
            }
            MemberChange::Remove { node } => {
                out.put_u8(2);
                out.put_u16_le(node.0);
            }
        }
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        let nonce = reader.u64()?;
        let seen = LogIndex(reader.u64()?);
        let change = match reader.u8()? {
            0 => MemberChange::None,
            1 => MemberChange::Add { node: take_node(reader)?, address: take_address(reader)? },
            2 => MemberChange::Remove { node: take_node(reader)? },
            _ => return Err(Malformed),
        };
        Ok(Self { nonce, seen, change })
    }
}

fn take_node(reader: &mut Reader) -> Result<ServerId, Malformed> {
    match ServerId(reader.u16()?) {
        ServerId::NONE => Err(Malformed),
        node => Ok(node),
    }
}

impl Body for MemberReply {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.nonce);
        out.put_u8(self.outcome as u8);
        out.put_u64_le(self.index.0);
        out.put_u64_le(self.commit.0);
        out.put_slice(&self.configuration.encode());
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            nonce: reader.u64()?,
            outcome: MemberOutcome::from_byte(reader.u8()?).ok_or(Malformed)?,
            index: LogIndex(reader.u64()?),
            commit: LogIndex(reader.u64()?),
            configuration: Configuration::decode(reader)?,
        })
    }
}
