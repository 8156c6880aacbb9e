//! What one key may hold, judged by what its only writer was told.
//!
//! # Contract
//! A writer writes one key after the other value, never two at a time, and notes what became of each write. In a *chain* each
//! write names the context of the last acknowledged one, so it replaces that and all before; writes of unknown outcome
//! may stay beside it. In a *row* of plain SETs each replaces what its coordinator happens to hold at that moment, and the
//! moment of one whose outcome is unknown may come late: it may lie in the socket of a node that stands still, and overwrite
//! what was acknowledged since.

/// What the writer was told of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was acknowledged.
    Acknowledged,
    /// It may have taken effect: an error that says so, or a broken connection.
    Unknown,
    /// Nothing was changed, said the node.
    Refused,
}

/// All writes of one key, in order.
#[derive(Clone, Debug)]
pub struct History {
    /// Whether each write names the context of the last acknowledged one.
    pub chain: bool,
    /// Value (none: a delete), and what was told.
    pub writes: Vec<(Option<String>, Told)>,
}

impl History {
    /// What is wrong with a copy that holds these values; none: nothing.
    pub fn complaint(&self, held: &[String]) -> Option<String> {
        let last = self.writes.iter().rposition(|(_, told)| *told == Told::Acknowledged);
        let (mut newest, mut late) = (None, false);
        for value in held {
            let Some(at) = self.writes.iter().position(|(written, _)| written.as_ref() == Some(value)) else {
                return Some(format!("{value} was written by nobody"));
            };
            match self.writes[at].1 {
                Told::Unknown if !self.chain => late = true,
                Told::Refused => return Some(format!("{value} is held, and nothing was changed by it, said the node")),
                Told::Acknowledged if self.chain && Some(at) < last => {
                    return Some(format!("{value} is back, or stayed, though an acknowledged write had seen it"));
                }
                _ => newest = newest.max(Some(at)),
            }
        }
        let mut twice = held.to_vec();
        twice.sort();
        twice.dedup();
        if twice.len() < held.len() {
            return Some(format!("one write made two siblings: {held:?}"));
        }
        let last = last?;
        let after = &self.writes[last + 1..];
        let gone = self.writes[last].0.is_none() || after.contains(&(None, Told::Unknown));
        let kept = gone || late || newest >= Some(last);
        (!kept).then(|| format!("{:?} was acknowledged last and is lost; held: {held:?}", self.writes[last].0))
    }
}

mod tests {
    use super::Told::{Acknowledged, Refused, Unknown};
    use super::*;

    fn complains(chain: bool, writes: &[(&str, Told)], held: &[&str]) -> bool {
        let value = |value: &str| (!value.is_empty()).then(|| value.to_owned());
        let writes = writes.iter().map(|(written, told)| (value(written), *told)).collect();
        let held: Vec<String> = held.iter().map(|value| value.to_string()).collect();
        History { chain, writes }.complaint(&held).is_some()
    }

    #[test]
    fn what_was_acknowledged_must_be_there() {
        let writes = [("a", Acknowledged), ("b", Acknowledged), ("c", Unknown), ("d", Refused)];
        assert!(!complains(true, &writes, &["b"]));
        assert!(!complains(true, &writes, &["b", "c"]));
        assert!(!complains(true, &writes, &["c"]));
        assert!(complains(true, &writes, &[]));
        assert!(complains(true, &writes, &["a"]) && complains(true, &writes, &["a", "b"]), "a was overwritten");
        assert!(!complains(false, &writes, &["a", "b"]), "a plain SET elsewhere need not have seen it");
        assert!(complains(false, &writes, &["a"]));
        let late = [("a", Acknowledged), ("b", Unknown), ("c", Acknowledged)];
        assert!(!complains(false, &late, &["b"]) && complains(true, &late, &["b"]), "only a chain's is never too late");
        assert!(complains(true, &writes, &["b", "d"]), "refused");
        assert!(complains(true, &writes, &["b", "x"]), "nobody's");
        assert!(complains(true, &writes, &["c", "c"]), "twice");
    }

    #[test]
    fn what_was_deleted_stays_deleted() {
        let writes = [("a", Unknown), ("b", Acknowledged), ("", Acknowledged)];
        assert!(!complains(true, &writes, &[]));
        assert!(!complains(true, &writes, &["a"]), "the delete has not seen it");
        assert!(complains(true, &writes, &["b"]));
        assert!(!complains(true, &[("b", Acknowledged), ("", Unknown)], &[]), "it may have been deleted");
        assert!(!complains(true, &[], &[]));
    }
}
