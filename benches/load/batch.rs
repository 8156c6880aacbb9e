//! The requests of one write: P commands, and the WAITs that go with them.

/// What is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// SET of a random key.
    Set,
    /// GET of a random key.
    Get,
    /// One or the other, as a coin falls.
    Mixed,
    /// SET of each key once, in order, so that later GETs find something.
    Fill,
}

/// When WAIT is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Never.
    None,
    /// After each SET.
    Each,
    /// Once, behind all the SETs of a write.
    Batch,
}

/// What one run does. Shared by all connections.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is asked.
    pub task: Task,
    /// Commands in one write, WAITs not counted.
    pub pipeline: u64,
    /// When WAIT is sent.
    pub waits: Waits,
    /// Replicas that WAIT asks for.
    pub replicas: u64,
    /// How many different keys there are.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
}

/// WAIT's own patience. One that runs out is counted as not replicated.
const WAIT_TIMEOUT_MS: u64 = 1000;

/// A request up to the digits of its key.
const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$16\r\nkey:";
const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:";

/// Random printable bytes that values are cut from: what compresses well would flatter whoever compresses.
const NOISE_BYTES: usize = 1 << 16;

/// Writes requests, from a seed.
#[derive(Debug)]
pub struct Batches {
    random: u64,
    noise: Vec<u8>,
    wait: Vec<u8>,
}

impl Batches {
    /// Requests for a plan.
    pub fn new(plan: &Plan, seed: u64) -> Batches {
        let replicas = plan.replicas.to_string();
        let timeout = WAIT_TIMEOUT_MS.to_string();
        let (replicas_length, timeout_length) = (replicas.len(), timeout.len());
        let wait =
            format!("*3\r\n$4\r\nWAIT\r\n${replicas_length}\r\n{replicas}\r\n${timeout_length}\r\n{timeout}\r\n");
        let mut batches = Batches { random: seed, noise: Vec::new(), wait: wait.into_bytes() };
        let noise_bytes = NOISE_BYTES + plan.value_bytes;
        batches.noise = (0..noise_bytes).map(|_| b'0' + (batches.next() % 75) as u8).collect();
        batches
    }

    /// Appends `count` commands to `out` and returns how many replies will come. `first` numbers them for [`Task::Fill`].
    pub fn fill(&mut self, plan: &Plan, first: u64, count: u64, out: &mut Vec<u8>) -> u64 {
        let mut replies = count;
        for index in first..first + count {
            let key = if plan.task == Task::Fill { index % plan.keys } else { self.next() % plan.keys };
            let gets = match plan.task {
                Task::Get => true,
                Task::Mixed => self.next() & 1 == 0,
                Task::Set | Task::Fill => false,
            };
            out.extend_from_slice(if gets { GET } else { SET });
            put_key(key, out);
            if !gets {
                self.put_value(plan.value_bytes, out);
            }
            let last = index + 1 == first + count;
            if plan.waits == Waits::Each || plan.waits == Waits::Batch && last {
                out.extend_from_slice(&self.wait);
                replies += 1;
            }
        }
        replies
    }

    fn put_value(&mut self, bytes: usize, out: &mut Vec<u8>) {
        let at = (self.next() % NOISE_BYTES as u64) as usize;
        out.push(b'$');
        out.extend_from_slice(itoa::Buffer::new().format(bytes).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.noise[at..at + bytes]);
        out.extend_from_slice(b"\r\n");
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The twelve digits of redis-benchmark's keys.
fn put_key(key: u64, out: &mut Vec<u8>) {
    let mut digits = *b"000000000000\r\n";
    let mut rest = key;
    for digit in digits[..12].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(task: Task, waits: Waits, count: u64) -> (String, u64) {
        let plan = Plan { task, pipeline: count, waits, replicas: 1, keys: 50, value_bytes: 3 };
        let mut out = Vec::new();
        let replies = Batches::new(&plan, 7).fill(&plan, 41, count, &mut out);
        (String::from_utf8(out).unwrap(), replies)
    }

    #[test]
    fn a_set_is_what_a_redis_client_sends() {
        let (text, replies) = text(Task::Fill, Waits::None, 1);
        assert!(text.starts_with("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000041\r\n$3\r\n"), "{text}");
        assert_eq!((text.lines().last().unwrap().len(), replies), (3, 1));
    }

    #[test]
    fn waits_stand_behind_each_set_or_behind_all() {
        const WAIT: &str = "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$4\r\n1000\r\n";
        let (each, replies) = text(Task::Set, Waits::Each, 4);
        assert_eq!((each.matches(WAIT).count(), replies), (4, 8));
        let (batch, replies) = text(Task::Set, Waits::Batch, 4);
        assert_eq!((batch.matches(WAIT).count(), batch.ends_with(WAIT), replies), (1, true, 5));
    }

    #[test]
    fn gets_carry_no_value() {
        let (text, replies) = text(Task::Get, Waits::None, 2);
        assert_eq!((text.matches("GET").count(), text.lines().count(), replies), (2, 10, 2));
    }

    #[test]
    fn mixed_is_about_as_many_of_each() {
        let (text, replies) = text(Task::Mixed, Waits::None, 1000);
        let (gets, sets) = (text.matches("GET").count(), text.matches("SET").count());
        assert_eq!((gets + sets, replies), (1000, 1000));
        assert!(gets.abs_diff(sets) < 200, "{gets} GETs, {sets} SETs");
    }
}
