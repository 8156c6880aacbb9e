//! An open loop: requests go out when they are due, whether or not those before them were answered.
//!
//! A postman who posts a letter every so many minutes by the church clock, and notes for each how long after its time the answer
//! lay in the box. When the office is shut for a second he does not politely stop writing: those letters wait, too, and count.
//!
//! # Contract
//! - Latency counts from when a request was due. What the generator itself is late is in it, and is noted beside it.
//! - One thread, so that load and servers share few cores evenly; connections in turn, [`CONNECTIONS`] in all, over all nodes.
//! - A connection that breaks fails what was under way on it. Its requests then go to the next node that takes one, until
//!   [`Control::call_home`].
//! - At most [`UNANSWERED_MAX`] requests are under way; one that is due beyond that fails.

use crate::batch::{Batches, Plan};
use crate::reckoning::sample::{Outcome, Sample, microseconds};
use crate::reckoning::schedule::Schedule;
use crate::replies::Tally;
use crate::wire::{Scratch, Wire, Wish, scratch};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Connections, over all nodes.
pub const CONNECTIONS: usize = 24;
/// Requests that may be under way; about what a second of a fast machine's load is.
const UNANSWERED_MAX: usize = 100_000;
/// For how many seconds' samples there is room from the beginning; memory that is not used is not taken.
const RUN_SECONDS: u64 = 200;
/// How long answers are waited for when no more requests are sent.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// The longest sleep: how soon a wish of the control's is seen.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What the generator is told meanwhile.
#[derive(Debug, Default)]
struct Told {
    stop: AtomicBool,
    /// How often connections were called home.
    calls: AtomicU64,
}

/// A load under way.
pub struct Control {
    told: Arc<Told>,
    /// The moment that all times of samples count from.
    pub begun: Instant,
    thread: JoinHandle<Result<Load, String>>,
}

/// What a load came to.
pub struct Load {
    /// Every request, in the order in which they ended.
    pub samples: Vec<Sample>,
    /// What came back.
    pub tally: Tally,
}

impl Control {
    /// Begins to send. The plan's pipeline is not looked at: a write carries what is due.
    pub fn start(addresses: &[SocketAddr], plan: &Plan, per_second: u64) -> Result<Control, String> {
        let told = Arc::<Told>::default();
        let begun = Instant::now();
        let mut generator = Generator::new(addresses, plan, per_second, begun, told.clone())?;
        let thread = std::thread::spawn(move || {
            generator.run()?;
            Ok(generator.load)
        });
        Ok(Control { told, begun, thread })
    }

    /// Lets connections that went to another node go back to their own as soon as they wait for nothing.
    pub fn call_home(&self) {
        self.told.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends no more, waits for the last answers, and gives what all came to.
    pub fn stop(self) -> Result<Load, String> {
        self.told.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the load generator panicked".to_owned())?
    }
}

/// A request that waits for its answer.
struct Pending {
    due: Duration,
    sent_late_us: u32,
}

/// One connection, and the node it belongs to.
struct Line {
    home: usize,
    at: usize,
    wire: Option<Wire>,
    wish: Wish,
    pending: VecDeque<Pending>,
    /// The last call home that was followed.
    calls: u64,
    /// Whether something waits to be written.
    touched: bool,
}

struct Generator {
    addresses: Vec<SocketAddr>,
    plan: Plan,
    batches: Batches,
    schedule: Schedule,
    begun: Instant,
    told: Arc<Told>,
    poll: OwnedFd,
    lines: Vec<Line>,
    /// Requests sent so far, and those of them that wait for an answer.
    sent: u64,
    unanswered: usize,
    load: Load,
}

impl Generator {
    fn new(
        addresses: &[SocketAddr],
        plan: &Plan,
        per_second: u64,
        begun: Instant,
        told: Arc<Told>,
    ) -> Result<Generator, String> {
        let line = |number: usize| {
            let home = number % addresses.len();
            Line { home, at: home, wire: None, wish: Wish::Read, pending: VecDeque::new(), calls: 0, touched: false }
        };
        // A vector that grew would hold everything up while it moves.
        let room = usize::try_from(per_second * RUN_SECONDS).map_err(|error| error.to_string())?;
        let mut generator = Generator {
            addresses: addresses.to_vec(),
            plan: plan.clone(),
            batches: Batches::new(plan, 1),
            schedule: Schedule::new(per_second),
            begun,
            told,
            poll: epoll::create(CreateFlags::CLOEXEC).map_err(poll_failed)?,
            lines: (0..CONNECTIONS).map(line).collect(),
            sent: 0,
            unanswered: 0,
            load: Load { samples: Vec::with_capacity(room), tally: Tally::default() },
        };
        for number in 0..CONNECTIONS {
            generator.connect(number, number % addresses.len())?;
        }
        Ok(generator)
    }

    fn run(&mut self) -> Result<(), String> {
        let mut events: Vec<Event> = Vec::with_capacity(CONNECTIONS);
        let mut room = scratch();
        let mut last = None;
        loop {
            if last.is_none() && self.told.stop.load(Ordering::Relaxed) {
                last = Some(Instant::now() + LAST_ANSWERS);
            }
            let asleep = match last {
                None => self.send_due()?,
                Some(_) if self.unanswered == 0 => return Ok(()),
                Some(deadline) if Instant::now() >= deadline => {
                    (0..CONNECTIONS).for_each(|number| self.fail(number));
                    return Ok(());
                }
                Some(_) => LOOK_EVERY,
            };
            let patience = Timespec::try_from(asleep.min(LOOK_EVERY)).map_err(|error| error.to_string())?;
            events.clear();
            epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&patience))
                .map_err(poll_failed)?;
            for event in &events {
                self.receive(event.data.u64() as usize, &mut room)?;
            }
        }
    }

    /// Sends what is due; returns how long nothing will be.
    fn send_due(&mut self) -> Result<Duration, String> {
        let due = self.schedule.due_by(self.begun.elapsed());
        while self.sent < due {
            self.ask(self.sent as usize % CONNECTIONS, self.schedule.due(self.sent))?;
            self.sent += 1;
        }
        for number in 0..CONNECTIONS {
            if std::mem::take(&mut self.lines[number].touched) {
                self.flush(number)?;
            }
        }
        Ok(self.schedule.due(self.sent).saturating_sub(self.begun.elapsed()))
    }

    /// Queues a request on a connection, which is opened where there is none.
    fn ask(&mut self, number: usize, due: Duration) -> Result<(), String> {
        let calls = self.told.calls.load(Ordering::Relaxed);
        let line = &mut self.lines[number];
        if line.calls != calls && line.pending.is_empty() {
            line.calls = calls;
            if line.at != line.home {
                (line.wire, line.at) = (None, line.home);
            }
        }
        if line.wire.is_none() {
            self.connect_somewhere(number)?;
        }
        let late_us = microseconds(self.begun.elapsed().saturating_sub(due));
        let line = &mut self.lines[number];
        match &mut line.wire {
            Some(wire) if self.unanswered < UNANSWERED_MAX => {
                self.batches.fill(&self.plan, 0, 1, wire.out());
                line.pending.push_back(Pending { due, sent_late_us: late_us });
                line.touched = true;
                self.unanswered += 1;
            }
            _ => self.load.samples.push(Sample {
                due_us: microseconds(due),
                sent_late_us: late_us,
                latency_us: late_us,
                outcome: Outcome::Failed,
            }),
        }
        Ok(())
    }

    /// Tries its node first, then the others in turn; none may take it.
    fn connect_somewhere(&mut self, number: usize) -> Result<(), String> {
        let nodes = self.addresses.len();
        let first = self.lines[number].at;
        for node in (0..nodes).map(|step| (first + step) % nodes) {
            if self.connect(number, node).is_ok() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn connect(&mut self, number: usize, node: usize) -> Result<(), String> {
        let wire = Wire::open(self.addresses[node], self.plan.replicas)?;
        epoll::add(&self.poll, &wire, EventData::new_u64(number as u64), EventFlags::IN).map_err(poll_failed)?;
        let line = &mut self.lines[number];
        (line.wire, line.at, line.wish) = (Some(wire), node, Wish::Read);
        Ok(())
    }

    fn flush(&mut self, number: usize) -> Result<(), String> {
        let line = &mut self.lines[number];
        let Some(wire) = &mut line.wire else { return Ok(()) };
        match wire.flush() {
            Ok(wish) if wish == line.wish => Ok(()),
            Ok(wish) => {
                line.wish = wish;
                let flags = if wish == Wish::ReadAndWrite { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
                epoll::modify(&self.poll, &*wire, EventData::new_u64(number as u64), flags).map_err(poll_failed)
            }
            Err(_) => {
                self.fail(number);
                Ok(())
            }
        }
    }

    fn receive(&mut self, number: usize, room: &mut Scratch) -> Result<(), String> {
        let errors = self.load.tally.errors;
        let line = &mut self.lines[number];
        let Some(wire) = &mut line.wire else { return Ok(()) };
        let Ok(came) = wire.receive(&mut self.load.tally, room) else {
            self.fail(number);
            return Ok(());
        };
        let now = self.begun.elapsed();
        // Which answers of one read were the errors does not matter: they are counted, and are no latencies.
        let mut errors = self.load.tally.errors - errors;
        for _ in 0..came {
            let pending = line.pending.pop_front().ok_or("more replies than requests")?;
            let outcome = if errors > 0 { Outcome::Failed } else { Outcome::Answered };
            errors = errors.saturating_sub(1);
            self.load.samples.push(pending.ended(now, outcome));
            self.unanswered -= 1;
        }
        self.flush(number)
    }

    /// What was under way on a connection failed, and the connection goes; the next request looks for another node.
    fn fail(&mut self, number: usize) {
        let now = self.begun.elapsed();
        let line = &mut self.lines[number];
        line.wire = None;
        line.touched = false;
        line.at = (line.at + 1) % self.addresses.len();
        self.unanswered -= line.pending.len();
        self.load.samples.extend(line.pending.drain(..).map(|pending| pending.ended(now, Outcome::Failed)));
    }
}

impl Pending {
    fn ended(self, now: Duration, outcome: Outcome) -> Sample {
        let latency_us = microseconds(now.saturating_sub(self.due));
        Sample { due_us: microseconds(self.due), sent_late_us: self.sent_late_us, latency_us, outcome }
    }
}

fn poll_failed(error: rustix::io::Errno) -> String {
    format!("waiting for replies failed: {error}")
}
