//! Starting a node, step by step.

use super::listen::{ListenError, listen};
use super::logging::LogHandle;
use super::{COUNTS_FILE, FLUSHES_FILE, Node, TREES_FILE};
use crate::causality::Hlc;
use crate::command::{Apply, Server, latency};
use crate::config::{AppendFsync, Config, Conflict as ConfiguredConflict, StorageEngine};
use crate::coordinator::Coordinator;
use crate::coordinator::service::Desk;
use crate::door::Door;
use crate::gossip::detector;
use crate::gossip::state::ClusterState;
use crate::handoff::tidy::Bounds;
use crate::key::Partitions;
use crate::membership::whereabouts::Whereabouts;
use crate::membership::{Hands, Membership, Saving, Settings as MembershipSettings};
use crate::message::control::JoinRequest;
use crate::peer::listener;
use crate::peer::settings::{Identity, Limits, PeerSettings};
use crate::policy::{Conflict, Policy};
use crate::repair::settling::{self, FLOOR_FILE, Settler};
use crate::repair::{exchange, fill, handoff, reap, sweep};
use crate::replica::Replica;
use crate::replica::clock::{LEASE_RENEW_MS, NodeClock, wall_ms};
use crate::storage::disk::DiskSettings;
use crate::storage::error::OpenError;
use crate::storage::files::{self, FileError};
use crate::storage::home::Home;
use crate::storage::open::{self, EngineChoice, Opened};
use crate::storage::store::{Fsync, StoreSettings};
use crate::world::net::TcpListener;
#[cfg(feature = "simulation")]
use crate::world::simulation::{Mutation, is_broken};
use crate::world::{random_u64, spawn_blocking};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The name under which is kept from when on actors' births count (u64, little-endian).
const BIRTHS_FILE: &str = "births";

/// How long the door stays shut at most while this node asks what was flushed since it stopped.
const CATCH_UP: Duration = Duration::from_millis(500);

/// How long the door stays shut at most while this node looks for its cluster. A usual start takes less, and nobody hears
/// of it; whoever asks for longer must not take the node for dead.
const SHUT: Duration = Duration::from_secs(1);

/// The name under which the member list is kept.
const CLUSTER_FILE: &str = "cluster";

/// Why a node does not start. Nothing was changed for others.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file of the data directory cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Reading the store failed while counting its keys.
    #[error("the keys could not be counted: {0}")]
    Count(#[from] crate::storage::error::StorageError),
    /// The saved cluster state cannot be used.
    #[error(transparent)]
    Membership(#[from] crate::membership::StartError),
    /// A setting that only the start can judge.
    #[error("{0}")]
    Setting(String),
    /// SHUTDOWN came before the cluster was found.
    #[error("the node was told to stop while it looked for its cluster")]
    ToldToStop,
    /// A background step ended badly.
    #[error("starting was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl Node {
    /// Starts a node and returns once it serves clients. A fresh node with seeds looks for its cluster here; when that takes
    /// long, clients are told so.
    pub async fn start(config: Config, file: Option<PathBuf>, log: Option<LogHandle>) -> Result<Node, StartError> {
        let engine = engine(&config);
        Node::start_on(engine, config, file, log).await
    }

    /// As [`Node::start`], on this engine whatever the configuration says.
    pub async fn start_on(
        engine: EngineChoice,
        config: Config,
        file: Option<PathBuf>,
        log: Option<LogHandle>,
    ) -> Result<Node, StartError> {
        let clients = listen(&config.bind, config.port, config.tcp_backlog).await?;
        let view = match config.view_port() {
            Some(port) => listen(&config.bind, port, config.tcp_backlog).await?,
            None => Vec::new(),
        };
        let nodes = listen(&config.bind, config.cluster_port(), config.tcp_backlog).await?;
        let opened = open_storage(engine, &config).await?;
        let (home, store) = (opened.home.clone(), opened.store.clone());
        let (clock, births_valid_from) = wind_clock(&config, &opened)?;
        let tag = opened.node_id.tag();
        let replica = Arc::new(Replica::new(store, tag, clock, births_valid_from, config.max_siblings));
        replica.background.set(config.background_latency_target_ms, config.background_bytes_per_s_max);
        if opened.lost {
            // Before any other node can ask: what is here answers no reads until it is filled up.
            replica.start_filling();
            replica.floors_unknown();
        }
        replica.watch_reopening();
        take_floor(&replica, &home)?;
        count_keys(&replica, &opened).await?;
        replica.mark_all_past();
        let newcomer = home.read_sealed(CLUSTER_FILE)?.is_none();
        let peers = peer_settings(&config, &opened);
        let desk = Arc::new(Desk::default());
        let mut tasks = vec![renew_lease(replica.clone(), home.clone()), steer_background(replica.clone())];
        #[cfg(not(feature = "simulation"))]
        tasks.push(tokio::spawn(replica.store().attend()));
        for socket in nodes {
            tasks.push(tokio::spawn(listener::serve(socket, peers.clone(), desk.clone())));
        }
        let settler = Settler::new(tag, peers.clone(), replica.clone());
        let membership = start_membership(&config, &opened, &replica, peers).await?;
        let coordinator =
            Coordinator::new(membership.clone(), replica.clone(), settler.clone(), config.request_timeout_ms);
        coordinator.set_hedge_percentile(config.hedge_percentile);
        replica.set_hint_bounds(hint_bounds(&config));
        desk.open(coordinator.clone());
        let settling = settling::run(settler.clone(), membership.clone(), home.clone(), opened.lost);
        tasks.push(tokio::spawn(settling));
        if !membership.is_formed() {
            tracing::info!(seeds = ?config.seeds, "looking for the cluster; clients are not served until it is found");
        }
        let pace = Arc::new(exchange::Pace::new(config.exchange_interval_ms));
        let (id, port, cluster_port) = (opened.node_id, config.port, config.cluster_port());
        let apply = apply_settings(coordinator.clone(), pace.clone(), log);
        let server = Server::new(coordinator.clone(), config, file, apply);
        let found = find_cluster(&membership, newcomer.then_some(&*settler), &replica, &home);
        let door = open_door(found, clients, view, &server).await?;
        tracing::info!(%id, port, cluster_port, "ready");
        tasks.push(tokio::spawn(refill(membership.clone(), replica.clone(), home.clone())));
        tasks.push(tokio::spawn(sweep::run(replica.clone())));
        tasks.push(tokio::spawn(handoff::run(membership.clone(), replica.clone())));
        tasks.push(tokio::spawn(reap::run(membership.clone(), replica.clone())));
        tasks.push(tokio::spawn(exchange::run(membership.clone(), settler, replica.clone(), pace)));
        tasks.push(tokio::spawn(latency::watch_log(server.clone())));
        tasks.push(tokio::spawn(server.clone().watch_rates()));
        Ok(Node { home, replica, membership, coordinator, server, door, tasks })
    }
}

/// Returns once the node may serve: it is in its cluster, and knows what was flushed while it was away, as far as others can
/// tell it soon. `newcomer`: it has never been in one.
async fn find_cluster(
    membership: &Membership,
    newcomer: Option<&Settler>,
    replica: &Replica,
    home: &Arc<Home>,
) -> Result<(), StartError> {
    membership.formed().await;
    if let Some(settler) = newcomer {
        // Its clock may be behind: what it stamps must lie above all that was settled before it came.
        settler.counted_in().await;
        persist_lease(replica, home).await?;
    }
    membership.caught_up(CATCH_UP).await;
    Ok(())
}

/// Lets clients in once the cluster is found, or, to tell them that it is not, once they have waited for long enough.
async fn open_door(
    found: impl Future<Output = Result<(), StartError>>,
    clients: Vec<TcpListener>,
    view: Vec<TcpListener>,
    server: &Arc<Server>,
) -> Result<Door, StartError> {
    let mut found = std::pin::pin!(found);
    if let Ok(found) = timeout(SHUT, &mut found).await {
        found?;
        server.found_cluster();
        return Ok(Door::open(clients, view, server.clone()));
    }
    let door = Door::open(clients, view, server.clone());
    tokio::select! {
        found = found => found?,
        () = server.shutdown.asked() => return Err(StartError::ToldToStop),
    }
    server.found_cluster();
    Ok(door)
}

/// The engine that the configuration asks for.
fn engine(config: &Config) -> EngineChoice {
    match config.storage_engine {
        StorageEngine::Fjall => {
            EngineChoice::Disk(DiskSettings { cache_bytes: config.cache_bytes / 2, ..DiskSettings::default() })
        }
        StorageEngine::Memory => EngineChoice::Memory,
    }
}

async fn open_storage(engine: EngineChoice, config: &Config) -> Result<Opened, StartError> {
    // Half for records, half for the engine's blocks; an engine in memory needs neither.
    let cache_bytes = if matches!(engine, EngineChoice::Disk(_)) { config.cache_bytes / 2 } else { 0 };
    let settings = open::Settings {
        dir: config.dir.clone(),
        cluster: config.cluster_name.clone(),
        node_id: None,
        engine,
        store: StoreSettings {
            fsync: fsync(config.appendfsync),
            cache_bytes,
            free_bytes_min: config.free_space_min_bytes,
            ..StoreSettings::default()
        },
    };
    Ok(spawn_blocking(move || open_or_set_aside(settings)).await??)
}

/// Opens the storage. Files that the engine cannot recover are set aside when other members hold copies: the node starts
/// empty and fills up. A node that is alone refuses instead: those files are all there is.
fn open_or_set_aside(settings: open::Settings) -> Result<Opened, OpenError> {
    let error = match open::open(settings.clone()) {
        Err(error @ OpenError::Engine { .. }) => error,
        opened => return opened,
    };
    let saved = files::read(&settings.dir, CLUSTER_FILE).ok().flatten();
    let state = saved.and_then(|saved| ClusterState::decode(&saved).ok());
    if state.is_none_or(|state| state.present().count() < 2) {
        return Err(error);
    }
    let aside = open::set_aside(&settings, wall_ms())?;
    tracing::error!(%error, ?aside, "the storage was set aside; starting empty, to be filled up from the other nodes");
    open::open(settings)
}

/// Redis's `appendfsync` in the store's terms.
fn fsync(setting: AppendFsync) -> Fsync {
    match setting {
        AppendFsync::Always => Fsync::Always,
        AppendFsync::Everysec => Fsync::EverySec,
        AppendFsync::No => Fsync::No,
    }
}

/// The clock starts at the lease of the last life, so that no stamp is given twice. After anything but a clean stop of a
/// store that has all it had, the actors of earlier lives are void: this node may have forgotten what it wrote.
fn wind_clock(config: &Config, opened: &Opened) -> Result<(NodeClock, Hlc), StartError> {
    let clock = NodeClock::new(opened.lease, opened.lease, config.max_clock_drift_ms);
    let lease = clock.next_lease();
    opened.home.write_lease(lease)?;
    clock.extend(lease);
    if opened.truncated {
        tracing::error!("the storage has lost writes that were on disk (its journal was cut short); check this disk");
    }
    let valid_from = match opened.clean && !opened.truncated {
        true => births_valid_from(&opened.home)?,
        // Above every stamp of the earlier lives, and below the first of this one.
        false => {
            opened.home.write_sealed(BIRTHS_FILE, &opened.lease.0.to_le_bytes())?;
            opened.lease
        }
    };
    #[cfg(feature = "simulation")]
    let valid_from = match is_broken(Mutation::ActorSurvivesCrash) {
        true => Hlc(0),
        false => valid_from,
    };
    Ok((clock, valid_from))
}

/// What the last unclean stop made void stays void through every clean one after it.
fn births_valid_from(home: &Home) -> Result<Hlc, FileError> {
    let saved = home.read_sealed(BIRTHS_FILE)?;
    let saved = saved.and_then(|saved| saved.try_into().ok().map(u64::from_le_bytes));
    Ok(Hlc(saved.unwrap_or_default()))
}

/// The highest mark that earlier lives wrote down.
fn take_floor(replica: &Replica, home: &Home) -> Result<(), FileError> {
    let saved = home.read_sealed(FLOOR_FILE)?.and_then(|saved| saved.try_into().ok());
    replica.raise_floor(Hlc(saved.map_or(0, u64::from_le_bytes)));
    Ok(())
}

/// Persists a lease at once, after the clock was put forward.
async fn persist_lease(replica: &Replica, home: &Arc<Home>) -> Result<(), StartError> {
    let (lease, home) = (replica.clock.next_lease(), home.clone());
    spawn_blocking(move || home.write_lease(lease)).await??;
    replica.clock.extend(lease);
    Ok(())
}

async fn count_keys(replica: &Arc<Replica>, opened: &Opened) -> Result<(), StartError> {
    let saved = |name| if opened.clean { opened.home.read_sealed(name).ok().flatten() } else { None };
    let life = opened.start_number.saturating_sub(1);
    let trees = saved(TREES_FILE).is_some_and(|trees| replica.trees_restored(&trees, life).is_ok());
    let counts = trees && saved(COUNTS_FILE).is_some_and(|counts| replica.counts_restored(&counts).is_ok());
    if counts && saved(FLUSHES_FILE).is_some_and(|flushes| replica.flushes_restored(&flushes, life).is_ok()) {
        return Ok(());
    }
    let replica = replica.clone();
    Ok(spawn_blocking(move || replica.count_all()).await??)
}

fn peer_settings(config: &Config, opened: &Opened) -> Arc<PeerSettings> {
    let identity = Identity {
        cluster_name: config.cluster_name.clone(),
        secret: config.cluster_secret.clone().into_bytes(),
        node_id: opened.node_id,
        start_number: opened.start_number,
        host: config.announced_host().to_owned(),
        cluster_port: config.announced_cluster_port(),
    };
    Arc::new(PeerSettings::new(identity, Limits::default(), PeerSettings::random_seed()))
}

/// The policies of the databases for a cluster founded here.
fn policies(config: &Config) -> [Policy; 16] {
    std::array::from_fn(|index| {
        let of = config.for_database(index as u8);
        let conflict = match of.conflict {
            ConfiguredConflict::Siblings => Conflict::Siblings,
            ConfiguredConflict::Newest => Conflict::Newest,
        };
        Policy { n: of.n, r: of.r, w: of.w, dw: of.dw, sloppy: of.sloppy, conflict }
    })
}

async fn start_membership(
    config: &Config,
    opened: &Opened,
    replica: &Arc<Replica>,
    peers: Arc<PeerSettings>,
) -> Result<Arc<Membership>, StartError> {
    let partitions = Partitions::new(config.partitions.into())
        .ok_or_else(|| StartError::Setting(format!("partitions must be a power of two, not {}", config.partitions)))?;
    let Whereabouts { host, cluster_port, announced } = Whereabouts::of(config);
    let settings = MembershipSettings {
        me: JoinRequest {
            cluster_name: config.cluster_name.clone(),
            cluster_id: None,
            id: opened.node_id,
            host,
            port: config.port,
            cluster_port,
            zone: config.zone.clone(),
            weight: config.weight,
            start_number: opened.start_number,
            announced,
        },
        seeds: config.seeds.clone(),
        partitions,
        policies: policies(config),
        peers,
        detector: detector::Settings::paced(
            Duration::from_millis(config.probe_period_ms),
            Duration::from_millis(config.suspicion_timeout_ms),
        ),
        random_seed: random_u64(),
    };
    let (home, holder, clock) = (opened.home.clone(), replica.clone(), replica.clock.clone());
    let (writer, flushed) = (replica.clone(), replica.clone());
    let hands = Hands {
        save: Box::new(move |state| save(home.clone(), state)),
        holds_data: Box::new(move || holder.holds_data()),
        now_ms: Box::new(move || clock.now_ms()),
        clock: replica.clock.clone(),
        reached: Box::new(move |databases| writer.reached(databases)),
        draw_lines: Box::new(move |lines| flushed.draw_lines(lines)),
    };
    let saved = opened.home.read_sealed(CLUSTER_FILE)?;
    Ok(Membership::start(settings, hands, saved).await?)
}

fn save(home: Arc<Home>, state: Vec<u8>) -> Saving {
    Box::pin(async move {
        let saved = spawn_blocking(move || home.write_sealed(CLUSTER_FILE, &state)).await;
        match saved {
            Ok(saved) => saved.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    })
}

/// Fills the node up whenever copies were lost, then forgets that; for ever.
async fn refill(membership: Arc<Membership>, replica: Arc<Replica>, home: Arc<Home>) {
    loop {
        replica.lost().await;
        fill::run(&membership, &replica).await;
        let (home, filled) = (home.clone(), replica.clone());
        let forgotten = spawn_blocking(move || match filled.is_filling() {
            // Lost once more meanwhile.
            true => Ok(()),
            false => Opened::refilled(&home),
        });
        match forgotten.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the loss stays noted; the next start fills up once more"),
            Err(error) => tracing::warn!(%error, "the loss stays noted; the next start fills up once more"),
        }
    }
}

/// Persists the clock's lease ahead of use, for ever. When the disk does not answer, the clock stops stamping at the
/// lease's end and writes fail with a clear error.
fn renew_lease(replica: Arc<Replica>, home: Arc<Home>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(LEASE_RENEW_MS));
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {}
                () = replica.clock.lease_wanted() => {}
            }
            let lease = replica.clock.next_lease();
            let home = home.clone();
            match spawn_blocking(move || home.write_lease(lease)).await {
                Ok(Ok(())) => replica.clock.extend(lease),
                Ok(Err(error)) => tracing::error!(%error, "the clock's lease could not be persisted"),
                Err(_) => return,
            }
        }
    })
}

/// Lets background work yield to requests, for ever.
fn steer_background(replica: Arc<Replica>) -> JoinHandle<()> {
    tokio::spawn(async move { replica.background.run().await })
}

fn hint_bounds(config: &Config) -> Bounds {
    Bounds { ttl_ms: config.hint_ttl_ms, bytes_max: config.hint_bytes_max }
}

/// What CONFIG SET changes beside the settings themselves.
fn apply_settings(coordinator: Arc<Coordinator>, pace: Arc<exchange::Pace>, log: Option<LogHandle>) -> Apply {
    Box::new(move |config| {
        coordinator.set_request_timeout_ms(config.request_timeout_ms);
        coordinator.set_hedge_percentile(config.hedge_percentile);
        coordinator.replica().set_hint_bounds(hint_bounds(config));
        coordinator.replica().set_siblings_max(config.max_siblings);
        let background = &coordinator.replica().background;
        background.set(config.background_latency_target_ms, config.background_bytes_per_s_max);
        coordinator.replica().clock.set_drift_ms_max(config.max_clock_drift_ms);
        pace.set(config.exchange_interval_ms);
        coordinator.replica().store().set_fsync(fsync(config.appendfsync));
        coordinator.replica().store().set_free_bytes_min(config.free_space_min_bytes);
        log.iter().for_each(|log| log.set(config.loglevel));
    })
}
