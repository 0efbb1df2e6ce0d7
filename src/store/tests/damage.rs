//! Databases that a card or a kill has left damaged or unfinished.

use super::*;

#[test]
fn each_page_overwritten_in_turn_costs_what_was_on_it() {
    let directory = TempDir::new().unwrap();
    let (path, rows) = filled(&directory, 120);
    let pristine = std::fs::read(&path).unwrap();
    let pages = pristine.len() / PAGE_SIZE;
    assert!(pages > 60, "{pages}");
    for page in 0..pages {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("gatewire.db");
        let mut image = pristine.clone();
        image[page * PAGE_SIZE..(page + 1) * PAGE_SIZE].fill(0xa5);
        std::fs::write(&path, image).unwrap();
        let found = found(&path);
        assert!(found.iter().all(|row| rows.contains(row)), "page {page}: something else was found");
        // The smallest of these messages take up to 40 a page.
        assert!(found.len() + 40 >= rows.len(), "page {page}: {} of {} found", found.len(), rows.len());
        assert!(found.is_sorted_by_key(|row| row.seq));
    }
}

#[test]
fn a_file_cut_anywhere_gives_what_is_left_of_it() {
    let directory = TempDir::new().unwrap();
    let (path, rows) = filled(&directory, 60);
    let pristine = std::fs::read(&path).unwrap();
    let mut most = 0;
    for length in (0..pristine.len()).step_by(1536) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("gatewire.db");
        std::fs::write(&path, &pristine[..length]).unwrap();
        let found = found(&path);
        assert!(found.iter().all(|row| rows.contains(row)));
        most = most.max(found.len());
    }
    assert!(most > 50, "{most}");
}

#[test]
fn a_blank_database_and_one_without_its_first_page_are_kept_aside() {
    let blank: fn(&Path) = |path| std::fs::write(path, vec![0; 20_000]).unwrap();
    let headless: fn(&Path) = |path| {
        wait(open(path).close());
        let mut image = std::fs::read(path).unwrap();
        image[..PAGE_SIZE].fill(0xa5);
        std::fs::write(path, image).unwrap();
    };
    for (what, make) in [("zeros", blank), ("no first page", headless)] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("gatewire.db");
        make(&path);
        let store = open(&path);
        wait(store.write(change(Vec::new(), vec![row(1, 100)]))).unwrap_or_else(|error| panic!("{what}: {error}"));
        let aside = store.status().moved_aside;
        assert_eq!(aside.len(), 1, "{what}: {aside:?}");
        assert!(Path::new(&aside[0]).exists() && aside[0].contains("gatewire.db.damaged-"), "{aside:?}");
        wait(store.close());
        assert_eq!(found(&path).len(), 1, "{what}");
    }
}

#[test]
fn a_kill_while_the_database_is_made_leaves_one_that_opens() {
    let made = TempDir::new().unwrap();
    let path = made.path().join("gatewire.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(&format!("PRAGMA page_size={PAGE_SIZE}; PRAGMA journal_mode=WAL")).unwrap();
    let empty = std::fs::read(&path).unwrap();
    connection.execute_batch("PRAGMA wal_autocheckpoint=0; BEGIN").unwrap();
    connection.execute_batch(super::database::CREATE).unwrap();
    connection.execute_batch("PRAGMA application_id=0x67617431; PRAGMA user_version=1; COMMIT").unwrap();
    let log = std::fs::read(with_suffix(&path, "-wal")).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(FULL)").unwrap();
    let full = std::fs::read(&path).unwrap();
    let frame = 24 + PAGE_SIZE;
    assert!(full.len() > 2 * PAGE_SIZE && empty.len() == PAGE_SIZE && (log.len() - 32).is_multiple_of(frame));
    let opens = |what: &str, database: &[u8], log: &[u8]| {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("gatewire.db");
        std::fs::write(&path, database).unwrap();
        std::fs::write(with_suffix(&path, "-wal"), log).unwrap();
        let store = wait(Store::open(&path, &[], &Thread)).map_err(|error| error.to_string());
        let store = store.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(store.status().moved_aside, Vec::<String>::new(), "{what}");
        wait(store.write(change(Vec::new(), vec![row(1, 10)]))).unwrap();
        wait(store.close());
    };
    for end in (0..=log.len()).step_by(997).chain([log.len()]) {
        opens(&format!("{end} bytes of the log"), &empty, &log[..end]);
    }
    // The pages of a checkpoint come in any order, the first among them.
    opens("all pages but the first", &[&empty[..], &full[PAGE_SIZE..]].concat(), &log);
    opens("all pages", &full, &log);
    opens("all pages, and an empty log", &full, &[]);
}

#[test]
fn damage_found_in_use_is_mended_and_told() {
    let directory = TempDir::new().unwrap();
    let (path, rows) = filled(&directory, 120);
    let mut image = std::fs::read(&path).unwrap();
    let middle = image.len() / 2 / PAGE_SIZE * PAGE_SIZE;
    image[middle..middle + PAGE_SIZE].fill(0x5a);
    std::fs::write(&path, image).unwrap();
    let store = open(&path);
    let before = store.contents().borrow().generation;
    let page = wait(store.load(everything(QueueId::OUTBOX))).unwrap();
    assert!(page.rows.len() < rows.len() && page.rows.iter().all(|row| rows.contains(row)));
    let contents = store.contents();
    assert!(contents.borrow().generation > before);
    assert_eq!(contents.borrow().totals(QueueId::OUTBOX).messages, page.rows.len() as u64);
    assert_eq!(store.status().moved_aside.len(), 1);
}

#[test]
fn a_log_without_its_database_is_not_thrown_away() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.db");
    let store = open(&path);
    wait(store.write(change(Vec::new(), (1..=20).map(|seq| row(seq, 500)).collect()))).unwrap();
    // As a kill leaves it: the messages are in the log only.
    let copy = directory.path().join("copy.db");
    std::fs::copy(with_suffix(&path, "-wal"), with_suffix(&copy, "-wal")).unwrap();
    for length in [None, Some(0)] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("gatewire.db");
        std::fs::copy(with_suffix(&copy, "-wal"), with_suffix(&path, "-wal")).unwrap();
        if let Some(length) = length {
            std::fs::write(&path, vec![0; length]).unwrap();
        }
        assert_eq!(found(&path).len(), 20);
    }
}

#[test]
fn a_new_database_that_was_being_made_when_the_power_went_is_put_right() {
    let directory = TempDir::new().unwrap();
    let (path, rows) = filled(&directory, 30);
    let [new, ready, aside] = [".new", ".ready", ".damaged-19700101T000000Z"].map(|suffix| with_suffix(&path, suffix));
    let log = |path: &Path| with_suffix(path, "-wal");
    // Not finished: the damaged one is still in its place.
    std::fs::write(&new, "half").unwrap();
    assert_eq!(found(&path), rows);
    assert!(!new.exists());
    // Finished: of the damaged one and its log none, one or both have been moved aside. It may look whole: an older copy, say.
    let older = TempDir::new().unwrap();
    let older = std::fs::read(filled(&older, 10).0).unwrap();
    let damaged = vec![0; 2 * PAGE_SIZE];
    for (has_database, has_log) in [(true, true), (true, false), (false, false)] {
        for content in [&older, &damaged] {
            std::fs::rename(&path, &ready).unwrap();
            std::fs::write(&path, content).unwrap();
            std::fs::write(log(&path), "its log").unwrap();
            leftover::note_what_it_replaces(&path);
            std::fs::File::options().write(true).open(&ready).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
            let moved = [
                (!has_log).then_some((log(&path), log(&aside))),
                (!has_database).then_some((path.clone(), aside.clone())),
            ];
            moved.into_iter().flatten().for_each(|(from, to)| std::fs::rename(from, to).unwrap());
            assert_eq!(found(&path), rows);
            assert!(!ready.exists());
            for (file, content) in [(aside.clone(), &content[..]), (log(&aside), &b"its log"[..])] {
                assert!(std::fs::read(&file).unwrap() == content);
                std::fs::remove_file(&file).unwrap();
            }
        }
    }
}

/// The checksum is one of the content: a wrong time isn't noticed.
fn is_one_of(row: &Row, rows: &[Row]) -> bool {
    rows.iter().any(|other| (other.seq, &other.topic, &other.payload) == (row.seq, &row.topic, &row.payload))
}

/// A database that was killed with its messages in the log alone, each in a transaction of its own: the file, and the log.
fn killed(count: u64) -> (Vec<u8>, Vec<u8>, Vec<Row>) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.db");
    let store = open(&path);
    let rows: Vec<Row> = (1..=count).map(|seq| row(seq, 300)).collect();
    rows.iter().for_each(|row| wait(store.write(change(Vec::new(), vec![row.clone()]))).unwrap());
    let files = [path.clone(), with_suffix(&path, "-wal")].map(|file| std::fs::read(file).unwrap());
    wait(store.close());
    let [file, log] = files;
    (file, log, rows)
}

#[test]
fn one_wrong_bit_anywhere_in_the_log_is_told_and_costs_nothing() {
    let (file, log, rows) = killed(60);
    let frames = (log.len() - 32) / (24 + PAGE_SIZE);
    assert!(frames > 100, "{frames}");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    // The header is in danger, too, and the frame that completes the last transaction.
    let last = log.len() - 24 - PAGE_SIZE;
    let (all, end) = (0..log.len(), last..log.len());
    let drawn: Vec<usize> = (0..30).map(|n| rng.usize(if n < 20 { all.clone() } else { end.clone() })).collect();
    let places: Vec<usize> = drawn.into_iter().chain([0, 3, 9, 17, 30]).chain((last..last + 24).step_by(3)).collect();
    for at in places {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("gatewire.db");
        let mut damaged = log.clone();
        damaged[at] ^= 1 << rng.u8(..8);
        std::fs::write(&path, &file).unwrap();
        std::fs::write(with_suffix(&path, "-wal"), &damaged).unwrap();
        let store = open(&path);
        let aside = store.status().moved_aside;
        let found = wait(store.load(everything(QueueId::OUTBOX))).unwrap().rows;
        wait(store.close());
        assert_eq!(aside.len(), 1, "byte {at}");
        assert!(found.iter().all(|row| is_one_of(row, &rows)), "byte {at}: something else was found");
        assert!(found.len() == rows.len(), "byte {at}: {} of {} found", found.len(), rows.len());
        assert!(std::fs::read(with_suffix(Path::new(&aside[0]), "-wal")).unwrap() == damaged, "it is kept as it was");
    }
}

#[test]
fn a_log_that_is_torn_where_it_was_not_synced_is_no_damage() {
    let (file, log, rows) = killed(20);
    let frame = 24 + PAGE_SIZE;
    let frames = (log.len() - 32) / frame;
    // The last transaction: its commit, and what comes before that. Its frames may have got there in any order.
    let is_commit = |index: &usize| log[32 + index * frame + 4..][..4] != [0; 4];
    let commits: Vec<usize> = (0..frames).filter(is_commit).collect();
    let [.., before, last] = commits[..] else { panic!("{commits:?}") };
    assert_eq!(last, frames - 1);
    for index in before + 1..=last {
        for part in [0..24, 24..frame, 512..frame] {
            let directory = TempDir::new().unwrap();
            let path = directory.path().join("gatewire.db");
            let mut torn = log.clone();
            torn[32 + index * frame..][part].fill(0);
            std::fs::write(&path, &file).unwrap();
            std::fs::write(with_suffix(&path, "-wal"), &torn).unwrap();
            let store = open(&path);
            assert!(store.status().moved_aside.is_empty());
            let found = wait(store.load(everything(QueueId::OUTBOX))).unwrap().rows;
            // The last message wasn't promised to anybody: it is there if it is whole.
            assert!(found == rows || found == rows[..rows.len() - 1], "{} of {}", found.len(), rows.len());
            wait(store.close());
        }
    }
}

/// A backlog that was stored at once, in the last transaction: behind what is wrong nothing shows that it had been on the disk.
#[test]
fn one_wrong_byte_in_the_last_transaction_costs_nothing_and_a_wrong_sector_no_more_than_a_page() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.db");
    let store = open(&path);
    let rows: Vec<Row> = (1..=200).map(|seq| row(seq, 300)).collect();
    wait(store.write(change(Vec::new(), vec![rows[0].clone()]))).unwrap();
    wait(store.write(change(Vec::new(), rows[1..].to_vec()))).unwrap();
    let [file, log] = [path.clone(), with_suffix(&path, "-wal")].map(|file| std::fs::read(file).unwrap());
    wait(store.close());
    let frame = 24 + PAGE_SIZE;
    let damaged_by = |at: usize, damage: &dyn Fn(&mut [u8])| {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("gatewire.db");
        let mut damaged = log.clone();
        damage(&mut damaged[at..]);
        std::fs::write(&path, &file).unwrap();
        std::fs::write(with_suffix(&path, "-wal"), &damaged).unwrap();
        let found = found(&path);
        assert!(found.iter().all(|row| is_one_of(row, &rows)), "byte {at}: something else was found");
        assert_eq!(super::found(&path), found, "and is there at the next start");
        found.len()
    };
    for at in (32..log.len()).step_by(frame / 2 + 7) {
        assert_eq!(damaged_by(at, &|rest| rest[0] ^= 4), rows.len(), "bit in byte {at}");
    }
    // Which byte is wrong can be told if it isn't in the salt.
    let last = log.len() - frame;
    for at in [last, last + 7, last + 16, last + 24, last + 30, last + 2000, log.len() - 1] {
        assert_eq!(damaged_by(at, &|rest| rest[0] ^= 0xff), rows.len(), "byte {at}");
    }
    for at in (last + 24..log.len() - 512).step_by(512) {
        let found = damaged_by(at, &|rest| rest[..512].fill(0x5a));
        assert!(found + 12 >= rows.len(), "sector at {at}: {found} of {}", rows.len());
    }
}
