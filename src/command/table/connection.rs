//! The rows of the commands about the connection itself.

use super::argument::{Argument, block, integer, one_of, string, token};
use super::build::{command, container};
use super::flag::{ADMIN, ALLOW_BUSY, AT_ONCE, FAST, LOADING, NO_AUTH, NOSCRIPT, STALE};
use super::{Command, Group};
use crate::command::client::{hold, tracking};
use crate::command::{client, connection};

const OPEN: u16 = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY;
const OWN: u16 = NOSCRIPT | LOADING | STALE;
const ON_OFF: Argument = one_of("enabled", &[token("on", "ON"), token("off", "OFF")]);
const TYPE: Argument = one_of(
    "client-type",
    &[token("normal", "NORMAL"), token("master", "MASTER"), token("replica", "REPLICA"), token("pubsub", "PUBSUB")],
)
.after("TYPE");

pub(super) const COMMANDS: &[Command] = &[
    command("ping", -1, FAST, Group::Connection, connection::ping)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .help("1.0.0", "Answers PONG, or the message.")
        .takes_arguments(&[string("message").optional()]),
    command("echo", 2, LOADING | STALE | FAST, Group::Connection, connection::echo)
        .help("1.0.0", "Answers the message.")
        .takes_arguments(&[string("message")]),
    command("hello", -1, OPEN, Group::Connection, connection::hello)
        .help("6.0.0", "Chooses the protocol, and may log in and name the connection with it.")
        .takes_arguments(&[block(
            "arguments",
            &[
                integer("protover"),
                block("username_password", &[string("username"), string("password")]).after("AUTH").optional(),
                string("clientname").after("SETNAME").optional(),
            ],
        )
        .optional()]),
    command("auth", -2, OPEN, Group::Connection, connection::auth)
        .help("1.0.0", "Logs in.")
        .takes_arguments(&[string("username").optional(), string("password")]),
    command("select", 2, LOADING | STALE | FAST, Group::Connection, connection::select)
        .help("1.0.0", "Chooses the database.")
        .takes_arguments(&[integer("index")]),
    command("quit", -1, OPEN | AT_ONCE, Group::Connection, connection::quit).help("1.0.0", "Closes the connection."),
    command("reset", 1, OPEN | AT_ONCE, Group::Connection, connection::reset)
        .help("6.2.0", "Puts the connection back to how it came."),
    container("client", Group::Connection, CLIENT).categories(&[]).help("2.4.0", "Commands about connections."),
];

const CLIENT: &[Command] = &[
    command("caching", 3, OWN, Group::Connection, tracking::caching)
        .help("6.0.0", "Says whether the next command's keys are tracked; nothing is tracked here.")
        .takes_arguments(&[one_of("mode", &[token("yes", "YES"), token("no", "NO")])]),
    command("getname", 2, OWN, Group::Connection, client::getname).help("2.6.9", "Tells the connection's name."),
    command("getredir", 2, OWN, Group::Connection, tracking::getredir)
        .help("6.0.0", "Tells which connection is told of stale keys in this one's place: none."),
    command("help", 2, LOADING | STALE, Group::Connection, client::help).help("5.0.0", "Lists the subcommands."),
    command("id", 2, OWN, Group::Connection, client::id).help("5.0.0", "Tells the connection's number."),
    command("info", 2, OWN, Group::Connection, client::info)
        .tips(&["nondeterministic_output"])
        .help("6.2.0", "Describes the connection."),
    command("kill", -3, ADMIN | OWN, Group::Connection, client::kill)
        .costs("O(N) in the number of connections")
        .help("2.4.0", "Closes connections.")
        .takes_arguments(&[one_of(
            "filter",
            &[
                string("ip:port"),
                one_of(
                    "new-format",
                    &[
                        integer("client-id").after("ID").optional(),
                        TYPE.optional(),
                        string("username").after("USER").optional(),
                        string("addr").after("ADDR").optional(),
                        string("laddr").after("LADDR").optional(),
                        one_of("skipme", &[token("yes", "YES"), token("no", "NO")]).after("SKIPME").optional(),
                        integer("maxage").after("MAXAGE").optional(),
                    ],
                )
                .multiple(),
            ],
        )]),
    command("list", -2, ADMIN | OWN, Group::Connection, client::list)
        .tips(&["nondeterministic_output"])
        .costs("O(N) in the number of connections")
        .help("2.4.0", "Describes all connections, or some.")
        .takes_arguments(&[TYPE.optional(), integer("client-id").after("ID").optional().multiple()]),
    command("no-evict", 3, ADMIN | OWN, Group::Connection, client::no_evict)
        .help("7.0.0", "Says whether the connection is spared when clients take too much memory.")
        .takes_arguments(&[ON_OFF]),
    command("no-touch", 3, OWN, Group::Connection, client::no_touch)
        .help("7.2.0", "Says whether the connection's reads leave a key's last use as it is.")
        .takes_arguments(&[ON_OFF]),
    command("pause", -3, ADMIN | OWN, Group::Connection, hold::pause)
        .help("2.9.50", "Holds up this node's clients, or just their writes, for some time.")
        .takes_arguments(&[
            integer("timeout"),
            one_of("mode", &[token("write", "WRITE"), token("all", "ALL")]).optional(),
        ]),
    command("reply", 3, OWN, Group::Connection, client::reply)
        .help("3.2.0", "Says which replies the connection wants.")
        .takes_arguments(&[one_of("on_off_skip", &[token("on", "ON"), token("off", "OFF"), token("skip", "SKIP")])]),
    command("setinfo", 4, OWN, Group::Connection, client::setinfo)
        .help("7.2.0", "Tells which library uses the connection.")
        .takes_arguments(&[one_of("attr", &[string("libname").after("LIB-NAME"), string("libver").after("LIB-VER")])]),
    command("setname", 3, OWN, Group::Connection, client::setname)
        .help("2.6.9", "Names the connection.")
        .takes_arguments(&[string("connection-name")]),
    command("tracking", -3, OWN, Group::Connection, tracking::tracking)
        .help("6.0.0", "Would tell the connection which keys are stale; ON is refused here.")
        .takes_arguments(&[
            one_of("status", &[token("on", "ON"), token("off", "OFF")]),
            integer("client-id").after("REDIRECT").optional(),
            string("prefix").after("PREFIX").optional().multiple_with_token(),
            token("bcast", "BCAST").optional(),
            token("optin", "OPTIN").optional(),
            token("optout", "OPTOUT").optional(),
            token("noloop", "NOLOOP").optional(),
        ]),
    command("trackinginfo", 2, OWN, Group::Connection, tracking::trackinginfo)
        .help("6.2.0", "Tells what is tracked for the connection: nothing."),
    command("unblock", -3, ADMIN | OWN, Group::Connection, hold::unblock)
        .costs("O(log N) where N is the number of client connections")
        .help("5.0.0", "Lets a connection that waits for replicas go on.")
        .takes_arguments(&[
            integer("client-id"),
            one_of("timeout_error", &[token("timeout", "TIMEOUT"), token("error", "ERROR")]).optional(),
        ]),
    command("unpause", 2, ADMIN | OWN, Group::Connection, hold::unpause)
        .costs("O(N) Where N is the number of paused clients")
        .help("6.2.0", "Ends the pause."),
];
