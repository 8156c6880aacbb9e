//! Walking through all keys of a database: the hands and feet of [`crate::walk`].
//!
//! # Contract
//! - [`Walk::step`] asks about the next few partitions and gives the live keys of as much of them as all who were asked have
//!   told. The first step asks about as many as hold what is wanted if keys lie elsewhere as they do here: an empty database
//!   is walked in one. Where little was found the next step asks about twice as many; where pages ended early about fewer.
//! - Keys on which the copies do not agree are read at R before they are given.
//! - A step is bounded: in keys and bytes by its pages, in time by `request-timeout-ms` for asking and again for reading.

use super::Coordinator;
use super::place::Forwarding;
use super::survey::{policy, slots, survey};
use crate::key::StorageKey;
use crate::membership::view::View;
use crate::message::keys::{KeysPage, KeysRequest};
use crate::message::operation::{Act, Failure, Operation, Outcome};
use crate::walk::Position;
use crate::walk::cover::{Cover, Stretch, joined};
use crate::walk::list::PAGE_KEYS;
use crate::walk::merge::{Found, Given, Merged, merge};
use crate::walk::survey::Question;
use crate::world::spawn_blocking;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many keys are read in one round when copies differ.
const READS_MAX: usize = 512;

/// The least keys a page is asked for: a frame costs more than these.
const PAGE_KEYS_MIN: u32 = 16;

/// A walk through the keys of a database, in the order of their tokens.
pub struct Walk {
    coordinator: Arc<Coordinator>,
    database: u8,
    r: Option<u8>,
    cover: Cover,
    /// Everything before it was told; none: the walk is over.
    at: Option<Position>,
    /// About how many partitions to ask next; none: what lies here says so.
    window: Option<usize>,
}

/// What a step gave.
#[derive(Debug, Default)]
pub struct Told {
    /// The live keys, in the order of their tokens.
    pub keys: Vec<StorageKey>,
    /// How many keys were looked at, dead ones included.
    pub looked: usize,
}

impl Walk {
    /// A walk from a token on through the slots it covers. `r`: how many copies are asked; none: as the database says.
    pub fn new(coordinator: &Arc<Coordinator>, database: u8, r: Option<u8>, cover: Cover, from: u64) -> Walk {
        let coordinator = coordinator.clone();
        Walk { coordinator, database, r, cover, at: Some(Position::token(from)), window: None }
    }

    /// Begins with so many partitions at once.
    pub fn wide(mut self, partitions: usize) -> Walk {
        self.window = Some(partitions.max(1));
        self
    }

    /// The token to go on from: 0 when the walk is over; none while the keys of one token are being told.
    pub fn cursor(&self) -> Option<u64> {
        self.at.as_ref().map_or(Some(0), Position::as_token)
    }

    /// Whether everything has been told.
    pub fn is_over(&self) -> bool {
        self.at.is_none()
    }

    /// Goes on by about so many keys. After an error the walk is where it was, and goes on in small steps.
    pub async fn step(&mut self, keys_max: usize) -> Result<Told, Failure> {
        let Some(at) = self.at.clone() else { return Ok(Told::default()) };
        let view = self.coordinator.view();
        let partitions = view.ring.partitions();
        let keys_max = u32::try_from(keys_max).unwrap_or(u32::MAX).clamp(PAGE_KEYS_MIN, PAGE_KEYS);
        let mut ahead = self.cover.ahead(&at, partitions).peekable();
        let window = self.window.replace(1);
        let stretches: Vec<Stretch> = match window {
            Some(partitions) => ahead.by_ref().take(partitions).collect(),
            None => {
                let last = self.coordinator.replica.slot_after(self.database, at.slot(), u64::from(keys_max));
                let first = ahead.next();
                first.into_iter().chain(std::iter::from_fn(|| ahead.next_if(|next| next.slots.first <= last))).collect()
            }
        };
        let end = ahead.peek().map(|next| Position::before(next.slots.range().0.to_vec().into()));
        let asked = stretches.len();
        let pages = self.coordinator.pages(&view, self.database, self.r, &at, stretches.clone(), keys_max).await?;
        let replica = &self.coordinator.replica;
        let merged = merge(pages, replica.flush_line(self.database), replica.clock.now_ms());
        let next = match &merged.until {
            Some(until) if *until <= at => return Err(Failure::ReadShort { answered: 0, needed: 1 }),
            Some(until) => Some(until.clone()),
            None => end,
        };
        let told = self.resolve(merged).await?;
        self.window = Some(match &next {
            Some(next) if stretches.last().is_some_and(|last| next.slot() <= last.slots.last) => {
                stretches.iter().filter(|stretch| stretch.slots.last < next.slot()).count().max(1)
            }
            _ => asked * 2,
        });
        self.at = next;
        Ok(told)
    }

    /// Reads the keys on which the copies do not agree.
    async fn resolve(&self, merged: Merged) -> Result<Told, Failure> {
        let looked = merged.looked;
        let mut keys = Vec::with_capacity(merged.keys.len());
        let mut unsure = Vec::new();
        for (key, found) in merged.keys {
            if found == Found::Unsure {
                unsure.push((keys.len(), key.clone()));
            }
            keys.push(Some(key));
        }
        for read in unsure.chunks(READS_MAX) {
            let operation = |key: &StorageKey| Operation { key: key.clone(), act: Act::Get, r: self.r, w: None };
            let operations = read.iter().map(|(_, key)| operation(key)).collect();
            let outcomes = self.coordinator.run_placed(operations, None, Forwarding::Once, Instant::now()).await;
            let now_ms = self.coordinator.now_ms();
            for ((place, _), outcome) in read.iter().zip(outcomes) {
                match outcome {
                    Outcome::Got(object) if object.shown(now_ms).is_some() => {}
                    Outcome::Got(_) => keys[*place] = None,
                    Outcome::Failed(failure) => return Err(failure),
                    Outcome::Written(_) | Outcome::Counted(_) | Outcome::Raced => return Err(Failure::ForwardLost),
                }
            }
        }
        Ok(Told { keys: keys.into_iter().flatten().collect(), looked })
    }
}

impl Coordinator {
    /// A page of each node that is asked about these stretches.
    async fn pages(
        self: &Arc<Self>,
        view: &Arc<View>,
        database: u8,
        r: Option<u8>,
        from: &Position,
        stretches: Vec<Stretch>,
        keys_max: u32,
    ) -> Result<Vec<Given>, Failure> {
        let deadline = Instant::now() + self.request_timeout();
        let ask = |question: Question, timeout| {
            let slots = joined(slots(&question, &stretches).into_iter());
            let request = KeysRequest { database, from: from.as_bytes().clone(), keys_max, slots };
            self.clone().page_of(view.clone(), question.node, request, timeout)
        };
        let answers = survey(view, policy(view, database, r), &stretches, deadline, ask).await?;
        Ok(answers.into_iter().map(|(question, page)| Given { page, lent: question.lent }).collect())
    }

    async fn page_of(
        self: Arc<Self>,
        view: Arc<View>,
        node: u16,
        request: KeysRequest,
        timeout: Duration,
    ) -> Option<KeysPage> {
        let Some(link) = &view.nodes[usize::from(node)].link else { return self.keys_own(request).await };
        let answer = link.ask(request.into_body(), timeout).await.ok()?;
        KeysPage::read(&answer).ok().flatten()
    }

    /// A page of the keys this node holds; none: it cannot tell.
    pub(super) async fn keys_own(self: &Arc<Self>, request: KeysRequest) -> Option<KeysPage> {
        // The permit is never closed.
        let _permit = self.lookers.acquire().await.ok()?;
        let replica = self.replica.clone();
        match spawn_blocking(move || replica.keys(&request)).await {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => {
                tracing::error!(%error, "listing keys failed");
                None
            }
            Err(_) => None,
        }
    }
}
