//! The log: every commit in the order it was made, before anything else is done with it.
//!
//! A diary in thin volumes. One writes at the end of the newest, and burns the oldest once what it says has been copied
//! fair elsewhere.
//!
//! # On disk
//! Files `<number, 20 digits>.log` in one folder, numbers rising; integers are big-endian. A segment is a header, then records:
//!
//! | bytes | header |
//! |---|---|
//! | 8 | `DYNLOG` 0 and the format, 1 |
//! | 8 | the sequence number of its first record |
//! | 4 | CRC32 of the 16 bytes before |
//!
//! | bytes | record |
//! |---|---|
//! | 4 | length of the writes, in bytes |
//! | 4 | CRC32 of everything after it |
//! | 8 | sequence number: one more than that of the record before, across segments |
//! | … | the writes of one commit |
//!
//! | bytes | write |
//! |---|---|
//! | 1 | the space's index |
//! | 2 | length of the key |
//! | 4 | length of the value; 2³² − 1: none, the key is removed |
//! | … | key, value |
//!
//! # Contract
//! - After [`Log::append`] a record has left user space; after a [`sync`] of the segments that are
//!   [`Log::unsynced`] then, it and all before it are on disk. Others may go on appending meanwhile.
//! - [`replay`] gives records without a gap: it ends at the first that is damaged or missing, unless what follows goes on
//!   with the very next number (a torn end that a later life has continued). What comes after a gap is deleted, so that no
//!   later life takes it for its own.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::storage::engine::{Space, Write};

const MAGIC: [u8; 8] = *b"DYNLOG\0\x01";
const HEADER_BYTES: usize = 20;
const RECORD_HEAD_BYTES: usize = 16;
const WRITE_HEAD_BYTES: usize = 7;
const NO_VALUE: u32 = u32::MAX;

/// The end of the log, where one writes.
pub(super) struct Log {
    number: u64,
    file: Arc<File>,
    /// How long the newest segment is.
    bytes: u64,
    /// Older segments, by number, that may have an end that is not on disk yet.
    unsynced: Vec<Unsynced>,
    next_sequence: u64,
}

/// A segment, to be synced.
pub(super) type Unsynced = (u64, Arc<File>);

/// A segment made ahead of its use: empty, and its name on disk.
pub(super) struct Spare {
    number: u64,
    file: File,
}

impl Spare {
    /// Makes one, of the first number from `number` on that is free.
    pub(super) fn make_one(folder: &Path, mut number: u64) -> io::Result<Spare> {
        let spare = Spare::create(folder, &mut number)?;
        File::open(folder)?.sync_all()?;
        Ok(spare)
    }

    /// Makes several, of rising numbers; the disk is waited for once.
    pub(super) fn make(folder: &Path, mut number: u64, count: usize) -> io::Result<Vec<Spare>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let made = (0..count).map(|_| Spare::create(folder, &mut number)).collect::<io::Result<_>>()?;
        File::open(folder)?.sync_all()?;
        Ok(made)
    }

    /// Its number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Moves `number` to the one after it.
    fn create(folder: &Path, number: &mut u64) -> io::Result<Spare> {
        loop {
            let own = *number;
            *number += 1;
            match File::options().create_new(true).write(true).open(path(folder, own)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return Ok(Spare { number: own, file: made? }),
            }
        }
    }
}

impl Log {
    /// Goes on after what was [`replay`]ed, in a segment of its own.
    pub(super) fn open(folder: &Path, number: u64, next_sequence: u64, unsynced: Vec<Unsynced>) -> io::Result<Log> {
        let Spare { number, file } = Spare::make_one(folder, number)?;
        let file = begun(file, next_sequence)?;
        Ok(Log { number, file, bytes: HEADER_BYTES as u64, unsynced, next_sequence })
    }

    /// The number of the newest segment.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes the newest segment has.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number the next record gets.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Writes a record, made by [`encode`] with [`Log::next_sequence`].
    pub(super) fn append(&mut self, record: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(record)?;
        self.bytes += record.len() as u64;
        self.next_sequence += 1;
        Ok(())
    }

    /// The segments whose content may not be on disk, the newest last.
    pub(super) fn unsynced(&self) -> Vec<Unsynced> {
        let newest = (self.number, self.file.clone());
        self.unsynced.iter().cloned().chain([newest]).collect()
    }

    /// These segments were synced, as far as they went when they were taken.
    pub(super) fn synced(&mut self, segments: &[Unsynced]) {
        // The newest of them may have grown since; nothing is added to older ones.
        let newest = segments.last().map_or(0, |(number, _)| *number);
        self.unsynced.retain(|(number, _)| *number >= newest);
    }

    /// All segments were synced, and nothing has been added meanwhile. Returns those that are not to be synced any more.
    pub(super) fn all_synced(&mut self) -> Vec<Unsynced> {
        std::mem::take(&mut self.unsynced)
    }

    /// Begins a new segment. Returns those that are not to be synced any more, since nothing
    /// before `needed_from` is needed: whoever drops the last of a deleted file waits for the disk.
    pub(super) fn rotate(&mut self, spare: Spare, needed_from: u64) -> io::Result<Vec<Unsynced>> {
        let Spare { number, file } = spare;
        let file = begun(file, self.next_sequence)?;
        let dropped = self.unsynced.extract_if(.., |(number, _)| *number < needed_from).collect();
        self.unsynced.push((self.number, std::mem::replace(&mut self.file, file)));
        (self.number, self.bytes) = (number, HEADER_BYTES as u64);
        Ok(dropped)
    }
}

/// Forces segments to disk. The newest comes last: a crash leaves no gap.
pub(super) fn sync(segments: &[Unsynced]) -> io::Result<()> {
    segments.iter().try_for_each(|(_, file)| file.sync_data())
}

/// Writes a segment's header.
fn begun(mut file: File, first_sequence: u64) -> io::Result<Arc<File>> {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&first_sequence.to_be_bytes());
    let crc = crc32fast::hash(&header[..16]);
    header[16..].copy_from_slice(&crc.to_be_bytes());
    file.write_all(&header)?;
    Ok(Arc::new(file))
}

/// Where a segment lies.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.log"))
}

/// A record of these writes; none is longer than 4 GiB, since a group is not.
pub(super) fn encode(sequence: u64, writes: &[Write]) -> Bytes {
    let value_bytes = |write: &Write| write.value.as_ref().map_or(0, Bytes::len);
    let bytes: usize = writes.iter().map(|write| WRITE_HEAD_BYTES + write.key.len() + value_bytes(write)).sum();
    let mut record = BytesMut::with_capacity(RECORD_HEAD_BYTES + bytes);
    record.put_u32(bytes as u32);
    record.put_u32(0);
    record.put_u64(sequence);
    for write in writes {
        record.put_u8(write.space.index() as u8);
        record.put_u16(write.key.len() as u16);
        record.put_u32(write.value.as_ref().map_or(NO_VALUE, |value| value.len() as u32));
        record.put_slice(&write.key);
        record.put_slice(write.value.as_deref().unwrap_or_default());
    }
    let crc = crc32fast::hash(&record[8..]);
    record[4..8].copy_from_slice(&crc.to_be_bytes());
    record.freeze()
}

/// The same writes, as parts of the record that [`encode`] made of them: nothing is copied, and who gave them may let go
/// of what they were cut from.
pub(super) fn parts<'a>(record: &'a Bytes, writes: &'a [Write]) -> impl Iterator<Item = Write> + 'a {
    let mut at = RECORD_HEAD_BYTES;
    let mut next = move |bytes: usize| {
        at += bytes;
        record.slice(at - bytes..at)
    };
    writes.iter().map(move |write| {
        next(WRITE_HEAD_BYTES);
        let key = next(write.key.len());
        Write { space: write.space, key, value: write.value.as_ref().map(|value| next(value.len())) }
    })
}

/// The writes of a sound record, as parts of it. None: it is not one.
fn writes(record: &Bytes) -> Option<Vec<Write>> {
    let mut writes = Vec::new();
    let mut at = RECORD_HEAD_BYTES;
    while at < record.len() {
        let head = record.get(at..at + WRITE_HEAD_BYTES)?;
        let space = *Space::ALL.get(usize::from(head[0]))?;
        let key_bytes = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let value_bytes = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let key_at = at + WRITE_HEAD_BYTES;
        let value_at = key_at + key_bytes;
        at = if value_bytes == NO_VALUE { value_at } else { value_at + value_bytes as usize };
        if at > record.len() {
            return None;
        }
        let value = (value_bytes != NO_VALUE).then(|| record.slice(value_at..at));
        writes.push(Write { space, key: record.slice(key_at..value_at), value });
    }
    Some(writes)
}

/// A segment read back.
pub(super) struct Segment {
    /// Its number.
    pub number: u64,
    /// How long its sound part is.
    pub bytes: u64,
    /// The writes of each record, in order; those of records up to the wanted one left out.
    pub commits: Vec<Vec<Write>>,
}

/// What is found of a log.
pub(super) struct Replayed {
    /// Its segments, oldest first.
    pub segments: Vec<Segment>,
    /// The number of the next record.
    pub next_sequence: u64,
    /// A number for the next segment.
    pub next_number: u64,
}

/// Reads the log of which everything up to record `flushed` is kept elsewhere. See the module for what it deletes.
pub(super) fn replay(folder: &Path, flushed: u64) -> io::Result<Replayed> {
    let numbers = numbers(folder)?;
    let mut found = Replayed {
        segments: Vec::new(),
        next_sequence: flushed + 1,
        next_number: numbers.last().map_or(1, |number| number + 1),
    };
    let mut numbers = numbers.into_iter();
    for number in numbers.by_ref() {
        let bytes = Bytes::from(std::fs::read(path(folder, number))?);
        let Some(first) = first_sequence(&bytes) else {
            // Made ahead and never used, or its first page was lost; then the next segment does not go on with the next number.
            std::fs::remove_file(path(folder, number))?;
            continue;
        };
        if first > found.next_sequence {
            tracing::error!(
                segment = number,
                first,
                wanted = found.next_sequence,
                "the log has a gap; what follows it is dropped"
            );
            std::fs::remove_file(path(folder, number))?;
            break;
        }
        found.segments.push(read(number, &bytes, first, &mut found.next_sequence));
    }
    for number in numbers {
        std::fs::remove_file(path(folder, number))?;
    }
    Ok(found)
}

/// The numbers of the segments in a folder, rising.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".log"));
        numbers.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn first_sequence(segment: &[u8]) -> Option<u64> {
    let (header, _) = segment.split_first_chunk::<HEADER_BYTES>()?;
    let crc = u32::from_be_bytes([header[16], header[17], header[18], header[19]]);
    let sound = header[..8] == MAGIC && crc == crc32fast::hash(&header[..16]);
    sound.then(|| u64::from_be_bytes(header[8..16].try_into().unwrap_or_default()))
}

/// Reads records until one is damaged, or not the one that must follow; moves `next_sequence` on.
fn read(number: u64, segment: &Bytes, first: u64, next_sequence: &mut u64) -> Segment {
    let (mut at, mut sequence, mut commits) = (HEADER_BYTES, first, Vec::new());
    while let Some(record) = record(&segment.slice(at..), sequence) {
        let Some(writes) = writes(&record) else { break };
        at += record.len();
        if sequence == *next_sequence {
            commits.push(writes);
            *next_sequence += 1;
        }
        sequence += 1;
    }
    Segment { number, bytes: at as u64, commits }
}

/// The record at the front, if it is sound and the one that is wanted.
fn record(rest: &Bytes, sequence: u64) -> Option<Bytes> {
    let (head, _) = rest.split_first_chunk::<RECORD_HEAD_BYTES>()?;
    let bytes = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let crc = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    let body = rest.get(8..RECORD_HEAD_BYTES + bytes)?;
    let sound = head[8..] == sequence.to_be_bytes() && crc32fast::hash(body) == crc;
    sound.then(|| rest.slice(..RECORD_HEAD_BYTES + bytes))
}

/// Deletes segments that are no longer needed, oldest first.
pub(super) fn delete(folder: &Path, numbers: &[u64]) -> io::Result<()> {
    numbers.iter().try_for_each(|number| std::fs::remove_file(path(folder, *number)))
}

/// Opens a segment that was read back, to be synced.
pub(super) fn reopened(folder: &Path, number: u64) -> io::Result<Unsynced> {
    let file = File::options().write(true).open(path(folder, number))?;
    Ok((number, Arc::new(file)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn write(number: u64) -> Write {
        let value = number.is_multiple_of(3).then(|| Bytes::from(vec![number as u8; 40]));
        Write { space: Space::Objects, key: Bytes::from(format!("key {number}")), value }
    }

    fn append(log: &mut Log) {
        let sequence = log.next_sequence();
        log.append(&encode(sequence, &[write(sequence), write(sequence + 1000)])).unwrap();
    }

    fn rotate(folder: &Path, log: &mut Log, needed_from: u64) {
        log.rotate(Spare::make_one(folder, log.number + 1).unwrap(), needed_from).unwrap();
    }

    /// A log of segments with so many records each.
    fn logged(folder: &Path, records: &[usize]) -> Log {
        let found = replay(folder, 0).unwrap();
        let mut log = Log::open(folder, found.next_number, found.next_sequence, Vec::new()).unwrap();
        for (at, records) in records.iter().enumerate() {
            if at > 0 {
                rotate(folder, &mut log, 0);
            }
            (0..*records).for_each(|_| append(&mut log));
        }
        sync(&log.unsynced()).unwrap();
        log.all_synced();
        log
    }

    /// The sequence numbers of what is found; each must say what was written under it.
    fn sequences(found: &Replayed, flushed: u64) -> Vec<u64> {
        let commits: Vec<_> = found.segments.iter().flat_map(|segment| &segment.commits).collect();
        let sequences: Vec<u64> = (flushed + 1..).take(commits.len()).collect();
        for (commit, sequence) in commits.iter().zip(&sequences) {
            assert_eq!(**commit, [write(*sequence), write(sequence + 1000)]);
        }
        assert_eq!(found.next_sequence, flushed + 1 + sequences.len() as u64);
        sequences
    }

    #[test]
    fn what_was_written_is_found_but_for_what_is_kept_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        drop(logged(folder.path(), &[3, 0, 4]));
        let found = replay(folder.path(), 0).unwrap();
        assert_eq!((sequences(&found, 0).len(), found.next_number), (7, 4));
        let found = replay(folder.path(), 5).unwrap();
        assert_eq!(sequences(&found, 5), [6, 7]);
        delete(folder.path(), &[1, 2]).unwrap();
        assert_eq!(sequences(&replay(folder.path(), 3).unwrap(), 3), [4, 5, 6, 7]);
    }

    #[test]
    fn a_record_s_parts_are_its_writes() {
        let writes = [write(1), write(2), write(3), write(4)];
        let record = encode(7, &writes);
        assert_eq!(parts(&record, &writes).collect::<Vec<_>>(), writes);
        assert_eq!(super::writes(&record).unwrap(), writes);
    }

    #[test]
    fn segments_stay_unsynced_until_they_are_synced_or_not_needed() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = |log: &Log| log.unsynced().iter().map(|(number, _)| *number).collect::<Vec<_>>();
        let mut log = logged(folder.path(), &[1]);
        assert_eq!(numbers(&log), [1]);
        rotate(folder.path(), &mut log, 0);
        let taken = log.unsynced();
        append(&mut log);
        rotate(folder.path(), &mut log, 0);
        log.synced(&taken);
        assert_eq!(numbers(&log), [2, 3], "the second grew after it was taken");
        rotate(folder.path(), &mut log, 3);
        assert_eq!(numbers(&log), [3, 4]);
        log.all_synced();
        assert_eq!(numbers(&log), [4]);
    }

    #[test]
    fn a_torn_end_is_left_out_and_gone_on_after() {
        let folder = tempfile::tempdir().unwrap();
        let log = logged(folder.path(), &[3]);
        log.file.set_len(log.bytes() - 5).unwrap();
        drop(log);
        let mut log = logged(folder.path(), &[2]);
        assert_eq!((log.number(), log.next_sequence()), (2, 5));
        append(&mut log);
        assert_eq!(sequences(&replay(folder.path(), 0).unwrap(), 0), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn nothing_is_taken_from_behind_a_gap_and_a_later_life_goes_on_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = logged(folder.path(), &[4, 4, 4]);
        drop(log);
        let second = File::options().write(true).open(path(folder.path(), 2)).unwrap();
        second.write_all_at(&[0; 10], 20 + 150).unwrap();
        let found = replay(folder.path(), 0).unwrap();
        let kept = sequences(&found, 0);
        assert!((4..8).contains(&kept.len()), "{kept:?}");
        assert_eq!(found.next_number, 4);
        let log = logged(folder.path(), &[3]);
        assert_eq!(log.next_sequence(), kept.len() as u64 + 4);
        assert_eq!(sequences(&replay(folder.path(), 0).unwrap(), 0).len(), kept.len() + 3);

        let folder = tempfile::tempdir().unwrap();
        drop(logged(folder.path(), &[4, 4]));
        let first = File::options().write(true).open(path(folder.path(), 1)).unwrap();
        first.write_all_at(&[0; 8], 0).unwrap();
        assert_eq!(sequences(&replay(folder.path(), 0).unwrap(), 0), []);
        assert!(numbers(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn every_flipped_byte_ends_the_log_there() {
        let folder = tempfile::tempdir().unwrap();
        let log = logged(folder.path(), &[3]);
        let record = encode(1, &[write(1), write(1001)]).len();
        let sound = std::fs::read(path(folder.path(), 1)).unwrap();
        for at in HEADER_BYTES + record..log.bytes() as usize {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x10;
            std::fs::write(path(folder.path(), 1), damaged).unwrap();
            let second = at < HEADER_BYTES + record + encode(2, &[write(2), write(1002)]).len();
            let wanted = if second { &[1][..] } else { &[1, 2] };
            assert_eq!(sequences(&replay(folder.path(), 0).unwrap(), 0), wanted, "byte {at}");
        }
    }

    #[test]
    fn a_spare_is_used_and_no_segment_is_made_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = logged(folder.path(), &[1]);
        log.rotate(Spare::make_one(folder.path(), 2).unwrap(), 0).unwrap();
        append(&mut log);
        log.rotate(Spare::make_one(folder.path(), 2).unwrap(), 0).unwrap();
        assert_eq!(log.number(), 3, "the name was taken");
        append(&mut log);
        let found = replay(folder.path(), 0).unwrap();
        assert_eq!((sequences(&found, 0).len(), found.next_number), (3, 4));
    }
}
