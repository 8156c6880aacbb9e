//! A machine: its disk and its clock stay, its software comes and goes.

use crate::clients::PORT;
use crate::disk::Disk;
use crate::faults::Plan;
use dynamis::config::Config;
use dynamis::coordinator::Coordinator;
use dynamis::node::Node;
use dynamis::storage::open::EngineChoice;
use dynamis::world::simulation::{self, Host};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// One machine.
pub struct Machine {
    /// Its clock and dice.
    pub host: Arc<Host>,
    /// Its disk.
    pub disk: Arc<Disk>,
    /// The node that runs on it, once it serves.
    pub node: RefCell<Option<Arc<Coordinator>>>,
    life: RefCell<Weak<Coordinator>>,
    stopping: Cell<bool>,
    config: Config,
    _dir: tempfile::TempDir,
}

/// A machine's name in the simulated network.
pub fn name(node: usize) -> String {
    format!("n{node}")
}

impl Machine {
    /// A new machine with an empty disk.
    pub fn new(number: usize, plan: &Plan) -> Rc<Machine> {
        // What lies there is fsynced, by contract; memory makes that cheap.
        let place = if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
        let dir = tempfile::tempdir_in(place).expect("a temporary directory can be made");
        let mut config = Config::default();
        let seeds: Vec<String> = (0..plan.nodes).map(|node| format!("{}:{}", name(node), PORT + 10_000)).collect();
        for (setting, value) in [
            ("dir", dir.path().to_str().expect("a path in UTF-8")),
            ("port", &PORT.to_string()),
            ("bind", &name(number)),
            ("seeds", &seeds.join(",")),
            ("partitions", "8"),
            ("appendfsync", plan.appendfsync),
            ("sloppy", if plan.sloppy { "yes" } else { "no" }),
            ("max-siblings", "1000"),
            ("exchange-interval-ms", &plan.exchange_ms.to_string()),
        ] {
            config.set(setting, value).unwrap_or_else(|error| panic!("{setting}: {error}"));
        }
        Rc::new(Machine {
            host: Host::new(plan.seed.wrapping_mul(100) + number as u64),
            disk: Arc::new(Disk::default()),
            node: RefCell::new(None),
            life: RefCell::default(),
            stopping: Cell::new(false),
            config,
            _dir: dir,
        })
    }

    /// One life of its software.
    pub async fn live(self: Rc<Machine>) -> turmoil::Result {
        simulation::enter(&self.host);
        self.stopping.set(false);
        let engine = EngineChoice::Given(self.disk.clone());
        let node = Node::start_on(engine, self.config.clone(), None, None).await?;
        *self.life.borrow_mut() = Arc::downgrade(node.coordinator());
        *self.node.borrow_mut() = Some(node.coordinator().clone());
        while !self.stopping.get() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        *self.node.borrow_mut() = None;
        node.stop().await;
        Ok(())
    }

    /// Asks its software to stop.
    pub fn stop(&self) {
        self.stopping.set(true);
    }

    /// Whether its software serves, and nobody has asked it to stop.
    pub fn is_up(&self) -> bool {
        self.node.borrow().is_some() && !self.stopping.get()
    }

    /// Kills its software; `crash` ends its tasks.
    pub fn kill(&self, crash: impl FnOnce()) {
        *self.node.borrow_mut() = None;
        crash();
        let Some(life) = self.life.take().upgrade() else { return };
        life.view().nodes.iter().filter_map(|node| node.link.as_ref()).for_each(|link| link.forget());
        assert_eq!(Arc::strong_count(&life), 1, "something of a killed node is still there");
    }
}
