//! Swapping databases: one more line in what all members keep ([`crate::gossip::swaps`]), shown once it is saved.
//!
//! # Contract
//! - OK means: every member that can be reached has saved the swap, and shows it. One that cannot be reached learns of it when
//!   it returns, as of every change of the state; what clients ask of it until then goes by what it knows.
//! - A member that cannot save it leaves it in effect everywhere else.

use super::driver::Driver;
use super::{Command, Done, Membership, NotDone};
use crate::gossip::swaps::{Full, SWAPS_MAX};
use crate::key::databases::Databases;
use crate::message::control::Refusal;
use tokio::sync::oneshot;

/// So many members that are waited for are named.
const NAMED_MAX: usize = 3;

impl Membership {
    /// Which stored database each index means, as far as this node knows. Costs no more than looking.
    pub fn databases(&self) -> Databases {
        self.databases.get()
    }

    /// Swaps what two indexes below 16 mean. Returns once that is saved on every member that can be reached.
    pub async fn swap_databases(&self, first: u8, second: u8) -> Result<(), NotDone> {
        let (done, outcome) = oneshot::channel();
        let sent = self.commands.send(Command::Swap { pair: (first, second), done }).await;
        sent.map_err(|_| NotDone::NothingChanged("the node is stopping; nothing changed".to_owned()))?;
        let unknown = || NotDone::NotEverywhere("the node is stopping; what became of the swap is not known".into());
        outcome.await.unwrap_or_else(|_| Err(unknown()))
    }
}

impl Driver {
    /// Swaps two databases here, and has everyone save that.
    pub(super) async fn swap(&mut self, pair: (u8, u8), done: Done) {
        match self.swap_here(pair).await {
            Ok(()) => self.spread(done),
            // Whoever asked may have gone away meanwhile.
            Err(why) => drop(done.send(Err(NotDone::NothingChanged(why)))),
        }
    }

    async fn swap_here(&mut self, pair: (u8, u8)) -> Result<(), String> {
        let mut state = self.state.clone().ok_or(Refusal::NoClusterYet.to_string())?;
        state.swap(pair, (self.hands.now_ms)(), self.me.id.tag()).map_err(|full| self.too_many(&full))?;
        self.adopt(state).await.map_err(|refusal| refusal.to_string())
    }

    fn too_many(&self, full: &Full) -> String {
        let ids = self.neighbours.iter().map(|neighbour| neighbour.id).filter(|id| full.behind.contains(&id.tag()));
        let named: Vec<String> = ids.take(NAMED_MAX).map(|id| id.to_string()).collect();
        let more = if full.behind.len() > named.len() { " and others" } else { "" };
        format!(
            "{SWAPS_MAX} swaps are kept already for a member that has not been heard of since ({}{more}); nothing changed; \
             bring it back, then try again",
            named.join(", ")
        )
    }
}
