//! For simulations: a network that says some things twice, and the end of a killed node. Not part of a server.

use super::Link;
use crate::message::data_plane::{DATA, Question};
use crate::peer::frame::{Kind, head};
use crate::peer::outbox::Outbox;
use crate::world::simulation::sent_again_after;
use std::sync::Arc;

/// Ids that no call has: the answers are of no use to anybody.
const NOBODY: u64 = u64::MAX;

impl Link {
    /// The kernel has given up on the connection: what was sent was not acknowledged for too long.
    pub fn break_off(&self) {
        let outbox = self.state.lock().outbox.clone();
        if let Some(outbox) = outbox {
            outbox.close();
        }
    }

    /// Its node was killed: nobody waits for anything any more. Calls that wait hold their round, which holds the links; a
    /// process that dies does not mind, but here it would stay in memory, and its directory locked.
    pub fn forget(&self) {
        let pending = std::mem::take(&mut self.state.lock().pending);
        drop(pending);
    }
}

/// Perhaps sends copies for a replica once more, later, while the connection stands. Only what may be repeated: a
/// forwarded request is never sent twice.
pub(super) fn send_again(outbox: Option<Arc<Outbox>>, body: &[u8]) {
    let is_copies = body.first() == Some(&DATA) && body.get(1) == Some(&(Question::Replicate as u8));
    let (Some(outbox), true) = (outbox, is_copies) else { return };
    let Some(after) = sent_again_after() else { return };
    let body = body.to_vec();
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        // Refused when the connection is gone by then.
        let _ = outbox.push(head(Kind::Call, NOBODY, &body), body);
    });
}
