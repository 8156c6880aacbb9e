//! Flushing a database: first everyone who can be reached says how far everyone has written there, then the line that is
//! drawn below all that is saved everywhere.
//!
//! # Contract
//! - OK means: every member that can be reached has saved the line, and each of them had been asked for its clock before
//!   it was drawn. So whatever any of them acknowledged before the command came is dead, and whatever any of them begins
//!   to write after the OK lives.
//! - A member that cannot be reached is spoken for by the others: what they have of it dies, what only it has lives. It
//!   learns of the line when it returns, as of every change of the state.
//! - A member that can be reached and does not answer ends the flush before anything has changed; one that cannot save the
//!   line leaves it drawn everywhere else.
//!
//! Two flushes at once need no order: their lines are joined.

use super::driver::Driver;
use super::neighbours::Neighbour;
use super::spreading::ask;
use super::{Command, Done, Membership, NotDone};
use crate::causality::NodeTag;
use crate::key::DATABASES;
use crate::membership::health::LATE_MAX;
use crate::message::control::{Control, Reached, Refusal};
use std::sync::Weak;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// How long a member may take to say how far it has written. Asked as often as makes a silent member count as away.
const REACH_TIMEOUT: Duration = Duration::from_millis(700);

/// What was collected: the answers with their nodes, or why there are not enough.
pub(super) type Collected = Result<Vec<(NodeTag, Reached)>, String>;

impl Membership {
    /// Strikes out everything that was written in some databases (bit 0 is database 0) until now. Returns once that is
    /// saved on every member that can be reached.
    pub async fn flush(&self, databases: u16) -> Result<(), NotDone> {
        let (done, outcome) = oneshot::channel();
        let sent = self.commands.send(Command::Flush { databases, done }).await;
        sent.map_err(|_| NotDone::NothingChanged("the node is stopping; nothing changed".to_owned()))?;
        let unknown = || NotDone::NotEverywhere("the node is stopping; what became of the flush is not known".into());
        outcome.await.unwrap_or_else(|_| Err(unknown()))
    }
}

impl Driver {
    /// Asks everyone how far they have written.
    pub(super) fn begin_flush(&self, databases: u16, done: Done) {
        if self.state.is_none() {
            return drop(done.send(Err(NotDone::NothingChanged(Refusal::NoClusterYet.to_string()))));
        }
        let own = (self.me.id.tag(), (self.hands.reached)(databases));
        tokio::spawn(collect(self.reachable(), databases, own, self.membership.clone(), done));
    }

    /// Draws the line below what was collected, and has everyone save it.
    pub(super) async fn draw_line(&mut self, databases: u16, collected: Collected, done: Done) {
        let drawn = match (collected, self.state.clone()) {
            (Ok(answers), Some(mut state)) => {
                let wanted = |database: u8| u32::from(databases) >> database.min(16) & 1 == 1;
                for (node, reached) in answers {
                    let own = (0..DATABASES).map(|database| (database, node, reached.own));
                    let all = own.chain(reached.seen);
                    state.flush(all.filter(|(database, ..)| wanted(*database)));
                }
                self.adopt(state).await.map_err(|refusal| refusal.to_string())
            }
            (Err(why), _) => Err(why),
            (Ok(_), None) => Err(Refusal::NoClusterYet.to_string()),
        };
        match drawn {
            Ok(()) => self.spread(done),
            // Whoever asked may have gone away meanwhile.
            Err(why) => drop(done.send(Err(NotDone::NothingChanged(why)))),
        }
    }
}

/// Gathers the answers of all members that can be reached, and gives them to the driver.
async fn collect(
    members: Vec<Neighbour>,
    databases: u16,
    own: (NodeTag, Reached),
    membership: Weak<Membership>,
    done: Done,
) {
    let mut tasks = JoinSet::new();
    for member in members {
        tasks.spawn(async move { (member.id.tag(), ask_reach(member, databases).await) });
    }
    let mut collected = Ok(vec![own]);
    for (node, answer) in tasks.join_all().await {
        match (&mut collected, answer) {
            (Ok(answers), Ok(Some(reached))) => answers.push((node, reached)),
            (Ok(_), Err(why)) => collected = Err(why),
            _ => {}
        }
    }
    if let Some(membership) = membership.upgrade() {
        // An error means that the node is stopping: then whoever asked hears that.
        drop(membership.commands.send(Command::Collected { databases, collected, done }).await);
    }
}

/// How far a member says that everyone has written; none: it cannot be reached any more.
async fn ask_reach(member: Neighbour, databases: u16) -> Result<Option<Reached>, String> {
    let mut why = String::new();
    for _ in 0..LATE_MAX {
        match ask(&member.link, Control::Reach(databases), REACH_TIMEOUT).await {
            Ok(Control::Reached(reached)) => {
                member.health.answered();
                return Ok(Some(reached));
            }
            Ok(Control::Refused(refusal)) => why = refusal.to_string(),
            Ok(_) => why = "an answer that does not fit the question".to_owned(),
            Err(sentence) => {
                member.health.late();
                why = sentence;
            }
        }
        if !member.health.is_reachable() {
            return Ok(None);
        }
    }
    Err(format!("member {} did not say how far it has written ({why}); nothing changed", member.id))
}
