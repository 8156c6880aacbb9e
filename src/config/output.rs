//! How much a client may leave lying of what it was sent: Redis's `client-output-buffer-limit`.

use super::range::{Range, Refusal};
use super::value::{Value, memory};

/// The bounds of one class of clients; 0: no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// At so many bytes the client is cut at once.
    pub hard_bytes: u64,
    /// Above so many bytes for longer than `soft_s` it is cut, too.
    pub soft_bytes: u64,
    /// Seconds.
    pub soft_s: u64,
}

/// The bounds of all classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Clients that only ask and are answered. Nothing is kept for them beyond the answers being written.
    pub normal: OutputLimit,
    /// Redis's replicas, which do not exist here.
    pub replica: OutputLimit,
    /// Subscribers, and those that watch with MONITOR.
    pub pubsub: OutputLimit,
}

impl Value for OutputLimits {
    fn parse(text: &str, _: &Range) -> Result<OutputLimits, Refusal> {
        let none = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_s: 0 };
        OutputLimits { normal: none, replica: none, pubsub: none }.with(text)
    }

    /// Classes that are not named stay as they are, as in Redis.
    fn parse_over(&self, text: &str, _: &Range) -> Result<OutputLimits, Refusal> {
        self.with(text)
    }

    fn show(&self, _: &Range) -> String {
        let class =
            |name, limit: OutputLimit| format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_s);
        [class("normal", self.normal), class("slave", self.replica), class("pubsub", self.pubsub)].join(" ")
    }
}

impl OutputLimits {
    fn with(mut self, text: &str) -> Result<OutputLimits, Refusal> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        if !words.len().is_multiple_of(4) {
            return Err(Refusal::OutputLimitWords);
        }
        for words in words.chunks(4) {
            let limit = match words[0].to_ascii_lowercase().as_str() {
                "normal" => &mut self.normal,
                "slave" | "replica" => &mut self.replica,
                "pubsub" => &mut self.pubsub,
                _ => return Err(Refusal::OutputLimitClass),
            };
            let seconds = words[3].bytes().all(|byte| byte.is_ascii_digit()).then(|| words[3].parse().ok()).flatten();
            let (Some(hard_bytes), Some(soft_bytes), Some(soft_s)) = (memory(words[1]), memory(words[2]), seconds)
            else {
                return Err(Refusal::OutputLimitNumber);
            };
            *limit = OutputLimit { hard_bytes, soft_bytes, soft_s };
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn classes_not_named_stay() {
        let mut config = Config::default();
        config.change("client-output-buffer-limit", "pubsub 1mb 2k 3").unwrap();
        let shown = config.get("client-output-buffer-limit").unwrap();
        assert_eq!(shown, "normal 0 0 0 slave 268435456 67108864 60 pubsub 1048576 2000 3");
        config.change("client-output-buffer-limit", "replica 1 2 3 NORMAL 4 5 6").unwrap();
        let shown = config.get("client-output-buffer-limit").unwrap();
        assert_eq!(shown, "normal 4 5 6 slave 1 2 3 pubsub 1048576 2000 3");
        for (text, refusal) in [
            ("pubsub 1 2", Refusal::OutputLimitWords),
            ("master 1 2 3", Refusal::OutputLimitClass),
            ("pubsub x 2 3", Refusal::OutputLimitNumber),
            ("pubsub 1 2 -3", Refusal::OutputLimitNumber),
        ] {
            assert_eq!(config.output_limits.with(text), Err(refusal), "{text}");
        }
    }
}
