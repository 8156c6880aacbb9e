//! LOLWUT: the ring, drawn.

use super::arguments::{integer, is};
use super::step::Step;
use super::{Asked, DYNAMIS_VERSION, REDIS_VERSION, done};
use crate::key::Partition;
use crate::membership::view::View;
use crate::resp::reply::Reply;
use bytes::Bytes;
use std::f64::consts::TAU;

/// The picture's size, in characters.
const PICTURE: (usize, usize) = (39, 19);

/// `LOLWUT [VERSION version] [argument …]`
pub fn lolwut(asked: &mut Asked, words: &[Bytes]) -> Step {
    if words.len() > 2
        && is(&words[1], "VERSION")
        && let Err(refusal) = integer(&words[2])
    {
        return done(refusal);
    }
    let picture = draw(&asked.server.coordinator.view());
    done(Reply::Verbatim(format!("{picture}\nDynamis ver. {DYNAMIS_VERSION}, Redis ver. {REDIS_VERSION}\n")))
}

/// The ring from above, its partitions clockwise from the top, each as a letter of the member that is its first home.
fn draw(view: &View) -> String {
    let partitions = view.ring.partitions();
    let firsts: Vec<usize> = (0..partitions.count())
        .map(|at| view.ring.homes(Partition(at as u16), 1).first().map_or(0, |home| usize::from(*home)))
        .collect();
    let (width, height) = PICTURE;
    let mut rows = vec![vec![b' '; width]; height];
    for (at, home) in firsts.iter().enumerate() {
        let angle = TAU * at as f64 / firsts.len() as f64;
        let across = (width / 2) as f64 * (1.0 + angle.sin());
        let down = (height / 2) as f64 * (1.0 - angle.cos());
        rows[down.round() as usize][across.round() as usize] = b'a' + (*home % 26) as u8;
    }
    let lines = rows.iter().map(|row| String::from_utf8_lossy(row).trim_end().to_owned() + "\n");
    lines.collect()
}
