//! Finding one's cluster: found one, join one, or wait.
//!
//! A settler with an empty cart. With no address in hand, he founds a village where he stands. With addresses, he goes
//! from one to the next and asks to be let in, again and again. He never founds a second village because nobody was at
//! home; only the one whose own address stands first on the list may do that, and only when no other address knows of
//! a village.
//!
//! # Contract
//! [`Forming::start`] gives the first effect. On [`Effect::Ask`] the driver asks every seed, in order, and reports each
//! through [`Forming::answered`]; once all of a round have answered, the next effect comes out. [`Effect::Found`] and
//! [`Effect::Join`] are final. One seed that lets us in ends the round at once.
//!
//! # What it refuses
//! To found a cluster when seeds are given and this node is not the first of them, or when any other seed refused us:
//! who refuses has a cluster.

use crate::message::control::Refusal;

/// Wait after the first fruitless round, in milliseconds; doubled after each up to [`WAIT_MS_MAX`].
pub const WAIT_MS_MIN: u64 = 200;

/// The longest wait between rounds, in milliseconds.
pub const WAIT_MS_MAX: u64 = 3000;

/// What became of asking one seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeedAnswer {
    /// It let us in: the encoded cluster state.
    Admitted(Vec<u8>),
    /// It is in no cluster either.
    NoClusterYet,
    /// Nobody answers there.
    Unreachable,
    /// It is this very node.
    Myself,
    /// It said no.
    Refused(Refusal),
    /// Someone answers there who is no node of our cluster: another name, another secret, another program.
    Stranger,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Wait this long, then ask every seed. Milliseconds.
    Ask {
        /// 0 in the first round.
        after_ms: u64,
    },
    /// Found a cluster of one. Final.
    Found,
    /// Take over this encoded cluster state. Final.
    Join(Vec<u8>),
}

/// The search of one node that belongs to no cluster.
#[derive(Clone, Debug)]
pub struct Forming {
    seeds: usize,
    first_is_me: bool,
    answers: Vec<SeedAnswer>,
    wait_ms: u64,
}

impl Forming {
    /// `seeds`: the `seeds` setting; `own_address`: this node's host:cluster-port as it tells others.
    pub fn new(seeds: &[String], own_address: &str) -> Forming {
        let first_is_me = seeds.first().is_some_and(|first| first == own_address);
        Forming { seeds: seeds.len(), first_is_me, answers: Vec::new(), wait_ms: WAIT_MS_MIN }
    }

    /// The first effect: found at once without seeds, else ask them.
    pub fn start(&self) -> Effect {
        if self.seeds == 0 { Effect::Found } else { Effect::Ask { after_ms: 0 } }
    }

    /// The next seed of this round has answered. Something comes out when the round is over.
    pub fn answered(&mut self, answer: SeedAnswer) -> Option<Effect> {
        if let SeedAnswer::Admitted(state) = answer {
            return Some(Effect::Join(state));
        }
        self.first_is_me |= self.answers.is_empty() && answer == SeedAnswer::Myself;
        self.answers.push(answer);
        (self.answers.len() >= self.seeds).then(|| self.end_round())
    }

    fn end_round(&mut self) -> Effect {
        // The own entry counts as nobody, whatever was found under that address.
        let others = self.answers.iter().skip(usize::from(self.first_is_me));
        let nobody = |answer: &SeedAnswer| {
            matches!(answer, SeedAnswer::NoClusterYet | SeedAnswer::Unreachable | SeedAnswer::Myself)
        };
        if self.first_is_me && others.into_iter().all(nobody) {
            return Effect::Found;
        }
        self.answers.clear();
        let after_ms = self.wait_ms;
        self.wait_ms = (self.wait_ms * 2).min(WAIT_MS_MAX);
        Effect::Ask { after_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::SeedAnswer::{Admitted, Myself, NoClusterYet, Refused, Stranger, Unreachable};
    use super::*;
    use proptest::prelude::*;

    fn round(forming: &mut Forming, answers: &[SeedAnswer]) -> Option<Effect> {
        answers.iter().find_map(|answer| forming.answered(answer.clone()))
    }

    fn seeds(list: &[&str]) -> Vec<String> {
        list.iter().map(|seed| (*seed).to_owned()).collect()
    }

    #[test]
    fn without_seeds_a_cluster_of_one_is_founded() {
        assert_eq!(Forming::new(&[], "a:1").start(), Effect::Found);
    }

    #[test]
    fn the_first_seed_founds_when_no_other_knows_a_cluster() {
        let list = seeds(&["a:1", "b:1", "c:1"]);
        let mut by_name = Forming::new(&list, "a:1");
        assert_eq!(by_name.start(), Effect::Ask { after_ms: 0 });
        assert_eq!(round(&mut by_name, &[Unreachable, Unreachable, NoClusterYet]), Some(Effect::Found));
        let mut by_greeting = Forming::new(&list, "10.0.0.1:1");
        assert_eq!(round(&mut by_greeting, &[Myself, NoClusterYet, Unreachable]), Some(Effect::Found));
    }

    #[test]
    fn the_first_seed_joins_when_another_has_a_cluster() {
        let mut forming = Forming::new(&seeds(&["a:1", "b:1"]), "a:1");
        assert_eq!(round(&mut forming, &[Myself, Admitted(vec![1])]), Some(Effect::Join(vec![1])));
    }

    #[test]
    fn the_first_seed_does_not_found_beside_a_cluster_that_refused_it() {
        for answer in [Refused(Refusal::HoldsData), Stranger] {
            let mut forming = Forming::new(&seeds(&["a:1", "b:1"]), "a:1");
            assert_eq!(round(&mut forming, &[Myself, answer]), Some(Effect::Ask { after_ms: WAIT_MS_MIN }));
        }
    }

    #[test]
    fn others_ask_again_and_again_ever_more_slowly() {
        let mut forming = Forming::new(&seeds(&["a:1", "b:1"]), "b:1");
        let mut waits = Vec::new();
        for _ in 0..6 {
            match round(&mut forming, &[NoClusterYet, Myself]) {
                Some(Effect::Ask { after_ms }) => waits.push(after_ms),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(waits, [200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(round(&mut forming, &[Admitted(vec![2])]), Some(Effect::Join(vec![2])));
    }

    fn any_answer() -> impl Strategy<Value = SeedAnswer> {
        prop_oneof![
            Just(NoClusterYet),
            Just(Unreachable),
            Just(Myself),
            Just(Stranger),
            Just(Refused(Refusal::HoldsData)),
            Just(Admitted(vec![7])),
        ]
    }

    proptest! {
        #[test]
        fn nobody_founds_unless_first_and_alone(
            rounds in proptest::collection::vec((any_answer(), any_answer(), any_answer()), 1..5),
            own in prop_oneof![Just("a:1"), Just("b:1")],
        ) {
            let mut forming = Forming::new(&seeds(&["a:1", "b:1", "c:1"]), own);
            let mut first = own == "a:1";
            for (a, b, c) in rounds {
                let answers = [a, b, c];
                first |= answers[0] == Myself;
                let out = round(&mut forming, &answers);
                let admitted = answers.iter().any(|answer| matches!(answer, Admitted(_)));
                prop_assert_eq!(matches!(out, Some(Effect::Join(_))), admitted);
                let nobody = answers[1..].iter().all(|answer| matches!(answer, NoClusterYet | Unreachable | Myself));
                prop_assert_eq!(out == Some(Effect::Found), !admitted && first && nobody);
                if !matches!(out, Some(Effect::Ask { .. })) {
                    break;
                }
            }
        }
    }
}
