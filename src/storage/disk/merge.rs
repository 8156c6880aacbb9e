//! One reading of several tables: keys in order, each as the newest table has it.

use std::iter::Peekable;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::table::Part;
use crate::storage::engine::Visit;
use crate::storage::error::StorageError;

/// A table in memory, from some key on.
pub(super) type Layer<'a> = Peekable<Box<dyn Iterator<Item = (&'a Bytes, Option<&'a Bytes>)> + 'a>>;

/// A part of a table as a layer.
pub(super) fn layer(part: &Part) -> Layer<'_> {
    let entries: Box<dyn Iterator<Item = _>> = Box::new(part.entries());
    entries.peekable()
}

/// Shows what the layers (newest first) and, under them, the oldest table have; removed keys are not shown.
pub(super) fn visit<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    mut layers: Vec<Layer<'_>>,
    oldest: impl Iterator<Item = Result<(K, V), StorageError>>,
    visit: &mut Visit<'_>,
) -> Result<(), StorageError> {
    for entry in oldest {
        let (key, value) = entry?;
        let key = key.as_ref();
        let mut hidden = false;
        while let Some((next, newest)) = next(&mut layers, Some(key)) {
            hidden |= next == key;
            if newest.is_some_and(|newest| visit(next, newest).is_break()) {
                return Ok(());
            }
        }
        if !hidden && visit(key, value.as_ref()).is_break() {
            return Ok(());
        }
    }
    while let Some((key, newest)) = next(&mut layers, None) {
        if newest.is_some_and(|newest| visit(key, newest) == ControlFlow::Break(())) {
            break;
        }
    }
    Ok(())
}

/// Takes the least key of all layers, if it is not above `limit`, with what the newest of them says.
fn next<'a>(layers: &mut [Layer<'a>], limit: Option<&[u8]>) -> Option<(&'a Bytes, Option<&'a Bytes>)> {
    let least = layers.iter_mut().filter_map(|layer| layer.peek().map(|(key, _)| *key)).min()?;
    if limit.is_some_and(|limit| &least[..] > limit) {
        return None;
    }
    let mut taken = None;
    for layer in layers {
        if let Some(entry) = layer.next_if(|(key, _)| *key == least) {
            taken = taken.or(Some(entry));
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_newest_word_on_each_key_is_shown_in_order(
            layers in proptest::collection::vec(
                proptest::collection::btree_map(0u8..20, proptest::option::of(0u8..9), 0..12), 0..4),
            oldest in proptest::collection::btree_map(0u8..20, 0u8..9, 0..12),
            seen_at_most in 1usize..30,
        ) {
            let bytes = |byte: u8| Bytes::from(vec![byte]);
            let layers: Vec<BTreeMap<Bytes, Option<Bytes>>> = layers
                .iter()
                .map(|layer| layer.iter().map(|(key, value)| (bytes(*key), value.map(bytes))).collect())
                .collect();
            let mut model: BTreeMap<Bytes, Option<Bytes>> =
                oldest.iter().map(|(key, value)| (bytes(*key), Some(bytes(*value)))).collect();
            layers.iter().rev().for_each(|layer| model.extend(layer.clone()));
            let wanted: Vec<(Bytes, Bytes)> =
                model.into_iter().filter_map(|(key, value)| Some((key, value?))).take(seen_at_most).collect();

            let boxed = |layer| -> Layer<'_> {
                let layer: &BTreeMap<Bytes, Option<Bytes>> = layer;
                let entries = layer.iter().map(|(key, value)| (key, value.as_ref()));
                (Box::new(entries) as Box<dyn Iterator<Item = _>>).peekable()
            };
            let mut seen = Vec::new();
            let tables = oldest.iter().map(|(key, value)| Ok((bytes(*key), bytes(*value))));
            visit(layers.iter().map(boxed).collect(), tables, &mut |key, value| {
                seen.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
                if seen.len() == seen_at_most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }).unwrap();
            prop_assert_eq!(seen, wanted);
        }
    }
}
