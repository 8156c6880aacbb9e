//! Threads that drive connections in closed loops until all commands are answered.

use crate::batch::Plan;
use crate::connection::{Connection, Shared};
use crate::wire::{Wish, scratch};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// One run: the plan, and by whom.
pub struct Run {
    /// What to do.
    pub plan: Plan,
    /// Commands in all.
    pub requests: u64,
    /// Connections.
    pub clients: u64,
    /// Threads that share them.
    pub threads: u64,
    /// Where connections go, in turn.
    pub addresses: Vec<SocketAddr>,
    /// When it is given up.
    pub time_max: Duration,
}

/// What a run came to.
pub struct Done {
    /// From the moment when all began until the last reply.
    pub elapsed: Duration,
    /// What all threads saw, together.
    pub all: Shared,
}

/// Deals connections and commands out to the threads, lets them start at one moment, and sums up.
pub fn perform(run: &Run) -> Result<Done, String> {
    let mut crews = Vec::new();
    for thread in 0..run.threads {
        let mine = (0..run.clients).filter(|client| client % run.threads == thread);
        let address = |client: u64| run.addresses[client as usize % run.addresses.len()];
        let open = |client| Connection::open(address(client), &run.plan);
        let connections = mine.map(open).collect::<Result<Vec<_>, _>>()?;
        let edge = |thread: u64| run.requests * thread / run.threads;
        crews.push((connections, Shared::new(&run.plan, edge(thread), edge(thread + 1))?));
    }
    let barrier = Barrier::new(crews.len() + 1);
    let (elapsed, done) = std::thread::scope(|scope| {
        let work = |(connections, shared)| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                drive(connections, shared, run.time_max)
            })
        };
        let threads: Vec<_> = crews.into_iter().map(work).collect();
        barrier.wait();
        let start = Instant::now();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err("a thread of the load generator panicked".to_owned()))
        };
        let done: Result<Vec<Shared>, String> = threads.into_iter().map(join).collect();
        (start.elapsed(), done)
    });
    let mut all = Shared::new(&run.plan, 0, 0)?;
    for shared in done? {
        all.latencies.add(&shared.latencies).map_err(|error| error.to_string())?;
        all.tally.errors += shared.tally.errors;
        all.tally.misses += shared.tally.misses;
        all.tally.unreplicated += shared.tally.unreplicated;
        all.tally.first_error = all.tally.first_error.or(shared.tally.first_error);
    }
    Ok(Done { elapsed, all })
}

/// Runs a thread's connections until all commands are answered.
fn drive(mut connections: Vec<Connection>, mut shared: Shared, time_max: Duration) -> Result<Shared, String> {
    let failed = |error: rustix::io::Errno| format!("waiting for replies failed: {error}");
    let deadline = Instant::now() + time_max;
    let poll = epoll::create(CreateFlags::CLOEXEC).map_err(failed)?;
    let flags = |wish| if wish == Wish::ReadAndWrite { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
    let mut wishes = Vec::with_capacity(connections.len());
    for (at, connection) in connections.iter_mut().enumerate() {
        let wish = connection.send(&mut shared)?;
        epoll::add(&poll, &*connection, EventData::new_u64(at as u64), flags(wish)).map_err(failed)?;
        wishes.push(wish);
    }
    let mut busy = wishes.iter().filter(|wish| **wish != Wish::Done).count();
    let mut events: Vec<Event> = Vec::with_capacity(connections.len());
    let mut room = scratch();
    let patience = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
    while busy > 0 {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&patience)).map_err(failed)?;
        for event in &events {
            let at = event.data.u64() as usize;
            let wish = connections[at].advance(&mut shared, &mut room)?;
            if wish != wishes[at] {
                epoll::modify(&poll, &connections[at], EventData::new_u64(at as u64), flags(wish)).map_err(failed)?;
                wishes[at] = wish;
                busy -= usize::from(wish == Wish::Done);
            }
        }
        if Instant::now() > deadline {
            return Err(format!("not done after {} s: {} replies came", time_max.as_secs(), shared.tally.replies));
        }
    }
    Ok(shared)
}
