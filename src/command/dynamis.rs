//! The commands that plain Redis does not have: siblings and their context, quorums, policies, and a look inside.
//!
//! Two people edited one shopping list at home, each their own copy. `DYN.GET` hands you both copies and a slip that says
//! "these are the ones you have read" (the *context*, §4.4). You merge them, and with that slip `DYN.SET` replaces exactly
//! those: a third copy that arrived meanwhile stays beside yours.
//!
//! # Contract
//! - `DYN.SET` with a context has [`Basis::Given`], without one [`Basis::Nothing`]: a new sibling. `DYN.DEL` without one
//!   has [`Basis::Local`].
//! - A context that does not decode is an error and changes nothing; nothing here guesses what a client has seen.
//! - Options stand in any order; the last of a repeated one counts. A wrong form asks nothing.
//! - [`policy`] holds DYN.QUORUM and DYN.DATABASE; [`cluster`] holds DYN.RING, DYN.MEMBERS and DYN.EXPLAIN.

pub mod cluster;
pub mod policy;

use crate::causality::Context;
use crate::causality::token;
use crate::command::Asked;
use crate::command::arguments::target::{Target, got_one, settle, written_one};
use crate::command::arguments::{Lifetime, is, quorum, syntax_error};
use crate::command::failure;
use crate::command::step::{Outcomes, Step, Then};
use crate::message::operation::{Act, Basis, Put};
use crate::object::Object;
use crate::object::request::request_actor;
use crate::resp::reply::Reply;
use bytes::Bytes;
use smallvec::smallvec;

/// The longest request id, in bytes.
pub const ID_BYTES_MAX: usize = 256;

/// `DYN.GET key [R n] [LOCAL]`: context, and every live value in the order of their dots. With LOCAL this node's own copy,
/// nobody asked. The context is nil only when nothing was ever seen of the key.
pub fn get(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(get_or_local(asked, words))
}

fn get_or_local(asked: &mut Asked, words: &[Bytes]) -> Result<Step, Reply> {
    let mut target = Target::named(asked, &words[1])?;
    let options = GetOptions::read(&words[2..], policy::configured(asked, target.key().database()).n)?;
    if options.local {
        let held = asked.server.coordinator.local(target.key()).map_err(failure::reply_to_read)?;
        return Ok(Step::Reply(context_and_values(&held, asked.now_ms)));
    }
    target.r = options.r.or(target.r);
    Ok(Step::Ask(smallvec![target.operation(Act::Get)], Then::Plain(got_siblings)))
}

/// `DYN.SET key value [CONTEXT c] [W n] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL] [ID id]`: the context of the write.
pub fn set(asked: &mut Asked, words: &[Bytes]) -> Step {
    let now_ms = asked.now_ms;
    settle(Target::named(asked, &words[1]).and_then(|target| {
        let copies = policy::configured(asked, target.key().database()).n;
        set_at(target, words, copies, now_ms)
    }))
}

/// `DYN.DEL key [CONTEXT c] [W n]`: the context of the write. Without a context: everything the coordinator holds.
pub fn del(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(Target::named(asked, &words[1]).and_then(|target| {
        let copies = policy::configured(asked, target.key().database()).n;
        del_at(target, words, copies)
    }))
}

#[derive(Debug, Default, PartialEq)]
struct GetOptions {
    r: Option<u8>,
    local: bool,
}

impl GetOptions {
    fn read(words: &[Bytes], copies: u8) -> Result<GetOptions, Reply> {
        let (mut options, mut at) = (GetOptions::default(), 0);
        while let Some(word) = words.get(at) {
            if is(word, "LOCAL") {
                options.local = true;
                at += 1;
            } else if is(word, "R") {
                options.r = Some(quorum(words.get(at + 1).ok_or_else(syntax_error)?, "R", copies)?);
                at += 2;
            } else {
                return Err(syntax_error());
            }
        }
        // Asking nobody and asking R replicas contradict each other.
        if options.local && options.r.is_some() { Err(syntax_error()) } else { Ok(options) }
    }
}

/// What DYN.SET and DYN.DEL may be told.
#[derive(Debug, Default)]
struct WriteOptions {
    context: Option<Context>,
    w: Option<u8>,
    lifetime: Lifetime,
    id: Option<Bytes>,
}

impl WriteOptions {
    fn read(words: &[Bytes], copies: u8) -> Result<WriteOptions, Reply> {
        let (mut options, mut at) = (WriteOptions::default(), 0);
        while let Some(word) = words.get(at) {
            let argument = || words.get(at + 1).ok_or_else(syntax_error);
            if is(word, "CONTEXT") {
                options.context = Some(context(argument()?)?);
                at += 2;
            } else if is(word, "W") {
                options.w = Some(quorum(argument()?, "W", copies)?);
                at += 2;
            } else if is(word, "ID") {
                options.id = Some(request_id(argument()?)?);
                at += 2;
            } else {
                at += options.lifetime.take(words, at).ok_or_else(syntax_error)?;
            }
        }
        if options.lifetime == Lifetime::Persist { Err(syntax_error()) } else { Ok(options) }
    }
}

fn context(word: &[u8]) -> Result<Context, Reply> {
    token::decode(word).map_err(|error| Reply::error(format!("ERR invalid context: {error}; nothing was changed")))
}

fn request_id(word: &Bytes) -> Result<Bytes, Reply> {
    if word.is_empty() || word.len() > ID_BYTES_MAX {
        return Err(Reply::error(format!("ERR ID must be 1 to {ID_BYTES_MAX} bytes long; nothing was changed")));
    }
    Ok(word.clone())
}

fn set_at(mut target: Target, words: &[Bytes], copies: u8, now_ms: u64) -> Result<Step, Reply> {
    let options = WriteOptions::read(&words[3..], copies)?;
    let expiry = options.lifetime.moment(now_ms, "dyn.set")?;
    let basis = options.context.map_or(Basis::Nothing, Basis::given);
    let mut put = Put { value: Some(words[2].clone()), expiry, basis, id: options.id.map(Box::new) };
    target.w = options.w.or(target.w);
    let keep = options.lifetime == Lifetime::Keep;
    if !keep && put.id.is_none() {
        return Ok(write(target, put));
    }
    let writer = target.clone();
    Ok(target.get(move |object, now_ms| {
        // A retry finds what the first try wrote, whichever coordinator ran it.
        let actor = put.id.as_ref().map(|id| request_actor(writer.key(), id));
        if actor.is_some_and(|actor| object.context.get(&actor).is_some()) {
            return Ok(Step::Reply(Reply::text(token::encode(&object.context))));
        }
        if keep {
            put.expiry = object.shown(now_ms).and_then(|sibling| sibling.expiry.1);
        }
        Ok(write(writer, put))
    }))
}

fn del_at(mut target: Target, words: &[Bytes], copies: u8) -> Result<Step, Reply> {
    let options = WriteOptions::read(&words[2..], copies)?;
    if options.lifetime != Lifetime::Unstated || options.id.is_some() {
        return Err(syntax_error());
    }
    target.w = options.w.or(target.w);
    let basis = options.context.map_or(Basis::Local, Basis::given);
    Ok(write(target, Put { value: None, expiry: None, basis, id: None }))
}

fn write(target: Target, put: Put) -> Step {
    Step::Ask(smallvec![target.operation(Act::Put(put))], Then::Plain(wrote))
}

fn wrote(outcomes: Outcomes, _now_ms: u64) -> Step {
    settle(written_one(outcomes).map(|context| Step::Reply(Reply::text(token::encode(&context)))))
}

fn got_siblings(outcomes: Outcomes, now_ms: u64) -> Step {
    settle(got_one(outcomes).map(|object| Step::Reply(context_and_values(&object, now_ms))))
}

fn context_and_values(object: &Object, now_ms: u64) -> Reply {
    let context = match &object.context {
        context if context.is_empty() => Reply::Null,
        context => Reply::text(token::encode(context)),
    };
    let values = object.shown_values(now_ms).map(Reply::Bulk).collect();
    Reply::Array(vec![context, Reply::Array(values)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::arguments::target::trial::{
        NOW_MS, after_get, asks, dot, feed, object, one, replies, target, words,
    };
    use crate::message::operation::{Failure, Outcome};

    fn seen() -> Context {
        [dot(1, 5), dot(2, 7)].iter().map(|dot| (dot.actor, dot.hlc)).collect()
    }

    fn set_step(text: &str) -> Step {
        settle(set_at(
            target(),
            &words(&format!("dyn.set k v {text}").trim_end().replace("TOKEN", &token::encode(&seen()))),
            3,
            NOW_MS,
        ))
    }

    fn del_step(text: &str) -> Step {
        settle(del_at(
            target(),
            &words(&format!("dyn.del k {text}").trim_end().replace("TOKEN", &token::encode(&seen()))),
            3,
        ))
    }

    fn put(step: Step) -> (Put, Option<u8>) {
        let (operation, then) = asks(step);
        let wrote = then.run(smallvec![Outcome::Written(seen())], NOW_MS);
        assert_eq!(replies(wrote), Reply::text(token::encode(&seen())));
        match operation.act {
            Act::Put(put) => (put, operation.w),
            act => panic!("{act:?}"),
        }
    }

    #[test]
    fn get_shows_every_live_sibling_and_the_context_of_all() {
        let siblings =
            object(&[(1, Some("a"), None), (2, None, None), (3, Some("old"), Some(NOW_MS)), (4, Some("b"), None)]);
        let values = Reply::Array(vec![Reply::text("a"), Reply::text("b")]);
        let context = Reply::text(token::encode(&siblings.context));
        let step = got_siblings(smallvec![Outcome::Got(siblings)], NOW_MS);
        assert_eq!(replies(step), Reply::Array(vec![context, values]));
    }

    #[test]
    fn a_deleted_key_still_has_a_context_and_an_unknown_one_has_none() {
        let deleted = object(&[(1, None, None)]);
        let context = Reply::text(token::encode(&deleted.context));
        assert_eq!(context_and_values(&deleted, NOW_MS), Reply::Array(vec![context, Reply::Array(Vec::new())]));
        let unknown = context_and_values(&Object::default(), NOW_MS);
        assert_eq!(unknown, Reply::Array(vec![Reply::Null, Reply::Array(Vec::new())]));
        let short = Failure::ReadShort { answered: 1, needed: 2 };
        let failed = got_siblings(smallvec![Outcome::Failed(short.clone())], NOW_MS);
        assert_eq!(replies(failed), failure::reply_to_read(short));
    }

    #[test]
    fn get_takes_an_r_or_local_and_not_both() {
        let read = |text: &str| GetOptions::read(&words(text), 3);
        assert_eq!(read("r 3"), Ok(GetOptions { r: Some(3), local: false }));
        assert_eq!(read("Local"), Ok(GetOptions { r: None, local: true }));
        for refused in ["r 1 local", "local r 1", "r", "w 1", "nx"] {
            assert_eq!(read(refused), Err(syntax_error()), "{refused}");
        }
        assert!(read("r 4").is_err() && read("r 0").is_err());
    }

    #[test]
    fn a_retried_request_reads_first_and_writes_only_once() {
        let fresh = put(after_get(set_step("ID abc"), object(&[(1, Some("a"), None)]))).0;
        assert_eq!(fresh.id.as_deref(), Some(&Bytes::from("abc")));
        let actor = request_actor(target().key(), b"abc");
        let mut tried = object(&[(1, Some("a"), None)]);
        tried.context.add(crate::causality::Dot { hlc: crate::causality::Hlc(9), actor });
        let context = Reply::text(token::encode(&tried.context));
        assert_eq!(replies(after_get(set_step("ID abc"), tried)), context);
    }

    #[test]
    fn set_replaces_what_its_context_names_and_otherwise_nothing() {
        let (plain, w) = put(set_step(""));
        assert!(matches!(plain.basis, Basis::Nothing) && w.is_none() && plain.expiry.is_none() && plain.id.is_none());
        let (given, w) = put(set_step("W 3 context TOKEN px 7"));
        assert!(matches!(given.basis, Basis::Given(context) if *context == seen()));
        assert_eq!((w, given.id, given.expiry), (Some(3), None, Some(NOW_MS + 7)));
        assert_eq!(given.value, Some(Bytes::from("v")));
    }

    #[test]
    fn keepttl_looks_first_and_still_replaces_only_what_the_context_names() {
        let expiring = object(&[(1, Some("v"), Some(NOW_MS + 5))]);
        let (kept, _) = put(after_get(set_step("KEEPTTL CONTEXT TOKEN"), expiring));
        assert_eq!(kept.expiry, Some(NOW_MS + 5));
        assert!(matches!(kept.basis, Basis::Given(context) if *context == seen()));
        assert_eq!(put(after_get(set_step("KEEPTTL"), one("v"))).0.expiry, None);
    }

    #[test]
    fn del_covers_its_context_or_what_the_coordinator_holds() {
        let (local, _) = put(del_step(""));
        assert!(matches!(local.basis, Basis::Local) && local.value.is_none());
        let (given, w) = put(del_step("w 2 context TOKEN"));
        assert!(matches!(given.basis, Basis::Given(context) if *context == seen()) && given.value.is_none());
        assert_eq!(w, Some(2));
    }

    #[test]
    fn wrong_forms_ask_nothing() {
        for text in ["context", "w", "id", "nx", "persist", "ex 1 px 1", "keepttl ex 1", "context TOKEN w"] {
            assert_eq!(replies(set_step(text)), syntax_error(), "{text}");
        }
        for text in ["ex 1", "keepttl", "id x", "context", "r 1"] {
            assert_eq!(replies(del_step(text)), syntax_error(), "{text}");
        }
        assert!(
            matches!(replies(set_step("w 4")), Reply::Error(line) if line.starts_with("ERR W must be between 1 and 3"))
        );
        let expired = Reply::error("ERR invalid expire time in 'dyn.set' command");
        assert_eq!(replies(set_step("ex 0")), expired);
        let long = format!("id {}", "x".repeat(ID_BYTES_MAX + 1));
        assert!(matches!(replies(set_step(&long)), Reply::Error(line) if line.contains("1 to 256 bytes")));
    }

    #[test]
    fn a_damaged_context_is_an_error_and_never_a_guess() {
        for step in [set_step("context !damaged!"), del_step("context !damaged!")] {
            let Reply::Error(line) = replies(step) else { panic!("no error") };
            assert!(line.starts_with("ERR invalid context: ") && line.ends_with("; nothing was changed"), "{line}");
        }
        let unsure = Failure::WriteUnsure { acknowledged: 1, needed: 2 };
        assert_eq!(replies(feed(set_step(""), [Outcome::Failed(unsure.clone())])), failure::reply(unsure));
    }
}
