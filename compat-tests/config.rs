//! The files of `config/` are meant to be started with as they are: each must load and hold what it promises.

use dynamis::config::{Asked, Config, Conflict, Loaded, load};
use std::path::PathBuf;

/// The folder of ready configurations.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// Loads one file as `dynamis-server FILE` would.
fn loaded(name: &str) -> Loaded {
    match load(["dynamis-server".into(), folder().join(name).into_os_string()].into_iter()) {
        Ok(Asked::Run(loaded)) => *loaded,
        other => panic!("{name}: {other:?}"),
    }
}

/// Every file loads, contradicts itself nowhere, and says in its first line what it is for.
#[test]
fn every_file_loads() {
    let mut files = 0;
    for entry in std::fs::read_dir(folder()).expect("config/ is there") {
        let path = entry.expect("config/ can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name in ASCII").to_string();
        loaded(&name);
        assert!(std::fs::read_to_string(&path).expect("readable").starts_with("# "), "{name}");
        files += 1;
    }
    assert!(files >= 7, "{files} files in config/");
}

/// The manual changes nothing.
#[test]
fn the_manual_is_the_default() {
    assert_eq!(loaded("dynamis.toml").config, Config::default());
}

/// The three local nodes are one cluster: one name and secret, one list of seeds that names each of them.
#[test]
fn the_local_nodes_are_one_cluster() {
    let nodes = ["local-1.toml", "local-2.toml", "local-3.toml"].map(|name| loaded(name).config);
    for (at, node) in nodes.iter().enumerate() {
        let number = at as u16 + 1;
        assert_eq!((node.port, node.cluster_port()), (7000 + number, 17000 + number));
        assert_eq!(node.seeds[at], format!("{}:{}", node.bind[0], node.cluster_port()));
        assert_eq!(node.dir, PathBuf::from(format!("./data/node-{number}")));
        let shared = Config {
            port: nodes[0].port,
            cluster_port: nodes[0].cluster_port,
            dir: nodes[0].dir.clone(),
            ..node.clone()
        };
        assert_eq!(shared, nodes[0]);
    }
}

/// §6's three uses: merged by the application, newest wins, read engine with R = 1 and W = N.
#[test]
fn the_papers_three_uses_have_their_policies() {
    let policy = |name: &str, index: u8| {
        let config = loaded(name).config.for_database(index);
        (config.n, config.r, config.w, config.dw, config.sloppy, config.conflict)
    };
    assert_eq!(policy("business-merge.toml", 0), (3, 2, 2, 0, true, Conflict::Siblings));
    assert_eq!(policy("business-merge.toml", 1), (3, 2, 2, 1, true, Conflict::Siblings));
    assert_eq!(policy("newest-wins.toml", 0), (3, 2, 2, 0, true, Conflict::Newest));
    assert_eq!(policy("newest-wins.toml", 1), (3, 1, 1, 0, true, Conflict::Newest));
    assert_eq!(policy("read-engine.toml", 0), (3, 1, 3, 0, false, Conflict::Newest));
    assert_eq!(policy("read-engine.toml", 1), (3, 2, 2, 0, true, Conflict::Siblings));
}
