//! The desk where a node's subscribers are known: what is published here or at another node is handed out here.
//!
//! Contract: a message is made once for each form it is sent in, however many subscribers there are; leaving it for them
//! waits for nobody.

use crate::command::Server;
use crate::coordinator::news::Newsroom;
use crate::message::publish::{Names, Published, Subscribed, Survey};
use crate::resp::encode::Protocol;
use crate::resp::reply::Reply;
use crate::session::client::Client;
use crate::session::subscriptions::KINDS;
use bytes::{Bytes, BytesMut};
use std::sync::{Arc, Weak};

/// Knows this node's subscribers.
pub struct Desk(Weak<Server>);

impl Desk {
    /// The subscribers of this server's clients.
    pub fn new(server: &Arc<Server>) -> Desk {
        Desk(Arc::downgrade(server))
    }
}

impl Newsroom for Desk {
    fn publish(&self, published: &Published) -> u64 {
        self.0.upgrade().map_or(0, |server| hand_out(&server, published))
    }

    fn survey(&self, survey: &Survey) -> Subscribed {
        let (Some(server), Some(kind)) = (self.0.upgrade(), KINDS.get(usize::from(survey.kind))) else {
            return Vec::new();
        };
        let register = server.clients.subscriptions.read();
        let count = |name: &Bytes| (name.clone(), register.subscribers(*kind, name) as u32);
        match &survey.names {
            Names::These(names) => names.iter().map(count).collect(),
            Names::Matching(pattern) => register.subscribed(*kind, pattern.as_deref()).map(count).collect(),
        }
    }
}

/// Leaves a message for each subscriber here; gives how many.
fn hand_out(server: &Server, published: &Published) -> u64 {
    let config = server.config.load();
    let limit = &config.output_limits.pubsub;
    let mut news = News::new(published);
    let mut received = 0;
    let register = server.clients.subscriptions.read();
    register.receivers(published.shard, &published.channel, |client: &Arc<Client>, pattern| {
        received += 1;
        if !client.send(news.encoded(client.protocol(), pattern), limit) {
            server.stats.slow_subscribers.add(1);
            tracing::warn!(
                id = client.id,
                address = client.address,
                "a subscriber did not read what it was sent and is cut"
            );
        }
    });
    received
}

/// A message in the forms it is sent in, each made once.
struct News<'a> {
    published: &'a Published,
    plain: [Option<Bytes>; 2],
    /// The pattern it was last sent by, with its forms.
    by_pattern: (Option<Bytes>, [Option<Bytes>; 2]),
}

impl<'a> News<'a> {
    fn new(published: &'a Published) -> News<'a> {
        News { published, plain: [None, None], by_pattern: (None, [None, None]) }
    }

    fn encoded(&mut self, protocol: Protocol, pattern: Option<&Bytes>) -> Bytes {
        let forms = match pattern {
            None => &mut self.plain,
            Some(_) => {
                if self.by_pattern.0.as_ref() != pattern {
                    self.by_pattern = (pattern.cloned(), [None, None]);
                }
                &mut self.by_pattern.1
            }
        };
        let published = self.published;
        forms[usize::from(protocol == Protocol::Resp3)]
            .get_or_insert_with(|| encode(published, protocol, pattern))
            .clone()
    }
}

fn encode(published: &Published, protocol: Protocol, pattern: Option<&Bytes>) -> Bytes {
    let kind: &[u8] = match pattern {
        Some(_) => b"pmessage",
        None if published.shard => b"smessage",
        None => b"message",
    };
    let words = [Some(&Bytes::copy_from_slice(kind)), pattern, Some(&published.channel), Some(&published.message)];
    let push = Reply::Push(words.into_iter().flatten().map(|word| Reply::Bulk(word.clone())).collect());
    let mut out = BytesMut::with_capacity(64 + published.channel.len() + published.message.len());
    push.encode(protocol, &mut out);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_redis_s_forms() {
        let mut published = Published { shard: false, channel: "c".into(), message: "hi".into() };
        let mut news = News::new(&published);
        let (one, other) = (Bytes::from_static(b"c*"), Bytes::from_static(b"*"));
        let plain = "3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n";
        assert_eq!(news.encoded(Protocol::Resp2, None), format!("*{plain}"));
        assert_eq!(news.encoded(Protocol::Resp3, None), format!(">{plain}"));
        let by = |pattern: &str| {
            format!("4\r\n$8\r\npmessage\r\n${}\r\n{pattern}\r\n$1\r\nc\r\n$2\r\nhi\r\n", pattern.len())
        };
        assert_eq!(news.encoded(Protocol::Resp3, Some(&one)), format!(">{}", by("c*")));
        assert_eq!(news.encoded(Protocol::Resp2, Some(&one)), format!("*{}", by("c*")));
        assert_eq!(news.encoded(Protocol::Resp2, Some(&other)), format!("*{}", by("*")));
        published.shard = true;
        let shard = encode(&published, Protocol::Resp2, None);
        assert_eq!(shard, "*3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n");
    }
}
