//! Whom to ask about stretches of the ring: each stretch is asked of R of those who keep it.
//!
//! Picture a questionnaire for each stretch, and an envelope for each office: what one office is asked about all stretches goes
//! into one envelope, and when an envelope comes back unopened each questionnaire in it goes to that stretch's next office.
//!
//! # Contract
//! - Who is asked, who stands in, and when it is enough or lost, is [`Get`]'s to say, for each stretch: as for a read.
//! - One question to each node for all stretches it is asked about at that moment.
//! - What homes and fallbacks say is kept apart: a node that is both is asked twice.

use crate::quorum::Verdict;
use crate::quorum::get::{Asks, Get};
use std::collections::BTreeMap;

/// What one node is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The node.
    pub node: u16,
    /// Whether it is asked as a fallback.
    pub lent: bool,
    /// About which of the stretches, in order.
    pub stretches: Vec<usize>,
    /// Whether another node could be asked about one of them, should this one fail.
    pub has_spare: bool,
}

/// A survey under way.
#[derive(Debug, Default)]
pub struct Survey {
    gets: Vec<Get>,
    /// By node, and whether it is asked as a fallback.
    open: BTreeMap<(u16, bool), Vec<usize>>,
}

impl Survey {
    /// Adds the next stretch, with its read as it started.
    pub fn add(&mut self, (get, asks): (Get, Asks)) {
        self.gets.push(get);
        self.ask(self.gets.len() - 1, &asks);
    }

    fn ask(&mut self, stretch: usize, asks: &Asks) {
        for node in asks {
            let lent = !self.gets[stretch].is_home(*node);
            self.open.entry((*node, lent)).or_default().push(stretch);
        }
    }

    /// Takes the questions to be asked now.
    pub fn questions(&mut self) -> Vec<Question> {
        let gets = &self.gets;
        let question = |((node, lent), stretches): (_, Vec<usize>)| {
            let has_spare = stretches.iter().any(|at| gets[*at].has_spare());
            Question { node, lent, stretches, has_spare }
        };
        std::mem::take(&mut self.open).into_iter().map(question).collect()
    }

    /// A question was answered.
    pub fn answered(&mut self, question: &Question) {
        question.stretches.iter().for_each(|at| self.gets[*at].counted(question.node));
    }

    /// A question was refused, or will not be answered.
    pub fn failed(&mut self, question: &Question) {
        for at in &question.stretches {
            let asks = self.gets[*at].failed(question.node);
            self.ask(*at, &asks);
        }
    }

    /// Of a stretch about which too few have answered: how many have, and how many are needed. None: all have had enough.
    pub fn missed(&self) -> Option<(u8, u8)> {
        let missed = self.gets.iter().find(|get| get.verdict() != Verdict::Won);
        missed.map(|get| (get.answers(), get.needed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::Hlc;
    use crate::policy::Conflict;
    use crate::quorum::Candidate;
    use crate::quorum::get::Wanted;

    /// A read of R=2, N=2, coordinated by node 0; its homes in order, then its fallbacks.
    fn get(homes: [u16; 2], fallbacks: &[u16]) -> (Get, Asks) {
        let home = homes.map(|node| Candidate { node, home: true, reachable: true });
        let fallback = fallbacks.iter().map(|node| Candidate { node: *node, home: false, reachable: true });
        let wanted = Wanted { n: 2, r: 2, sloppy: true, conflict: Conflict::Siblings, floor: Hlc(0) };
        Get::start(0, home.into_iter().chain(fallback).collect(), wanted).unwrap()
    }

    fn question(node: u16, lent: bool, stretches: &[usize], has_spare: bool) -> Question {
        Question { node, lent, stretches: stretches.to_vec(), has_spare }
    }

    #[test]
    fn one_question_to_each_node_for_all_its_stretches() {
        let mut survey = Survey::default();
        [[0, 1], [1, 2], [0, 2]].into_iter().for_each(|homes| survey.add(get(homes, &[])));
        let asked = survey.questions();
        let wanted = [(0, [0, 2]), (1, [0, 1]), (2, [1, 2])].map(|(node, of)| question(node, false, &of, false));
        assert_eq!(asked, wanted);
        assert!(survey.questions().is_empty(), "nobody is asked twice");
        assert_eq!(survey.missed(), Some((0, 2)));
        asked[1..].iter().for_each(|asked| survey.answered(asked));
        assert_eq!(survey.missed(), Some((1, 2)), "of the first and the last stretch node 0 has said nothing");
        survey.answered(&asked[0]);
        assert_eq!(survey.missed(), None);
    }

    #[test]
    fn who_fails_is_replaced_for_each_stretch_and_loans_are_asked_for_apart() {
        let mut survey = Survey::default();
        survey.add(get([1, 2], &[3]));
        survey.add(get([1, 3], &[4]));
        let asked = survey.questions();
        assert_eq!(asked[0], question(1, false, &[0, 1], true));
        survey.failed(&asked[0]);
        asked[1..].iter().for_each(|asked| survey.answered(asked));
        let instead = survey.questions();
        assert_eq!(instead, [question(3, true, &[0], false), question(4, true, &[1], false)]);
        survey.answered(&instead[0]);
        survey.failed(&instead[1]);
        assert!(survey.questions().is_empty());
        assert_eq!(survey.missed(), Some((1, 2)));
    }
}
