//! `dynamis-server [CONFIG.toml] [--key value …]`: one node, or with `--dev-cluster N` a few of them to try things out.

use dynamis::config::Config;
use dynamis::config::load::{self, Asked};
use dynamis::node::logging::LogHandle;
use dynamis::node::{Node, StartError, dev_cluster, logging};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let loaded = match load::load(std::env::args_os()) {
        Ok(Asked::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Run(loaded)) => loaded,
        Err(error) => return refuse(&error),
    };
    let log = logging::start(loaded.config.loglevel);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    let ended = runtime.block_on(async {
        match loaded.dev_cluster {
            Some(cluster) => dev_cluster::run(cluster, &loaded).await.map_err(|error| error.to_string()),
            None => {
                dev_cluster::follow_parent();
                serve(loaded.config, loaded.file, log).await
            }
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error),
    }
}

/// Runs a node until SIGTERM, SIGINT or SHUTDOWN.
async fn serve(config: Config, file: Option<PathBuf>, log: LogHandle) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let node = tokio::select! {
        started = Node::start(config, file, Some(log)) => match started {
            Ok(node) => node,
            Err(StartError::ToldToStop) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        },
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        () = node.server().shutdown.asked() => {}
    }
    node.stop().await;
    Ok(())
}

fn refuse(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("dynamis-server: {error}");
    ExitCode::FAILURE
}
