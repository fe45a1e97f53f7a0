//! A file that is not a good store is refused, named, left as it is.

use kprov_control_plane::store::{Store, StoreError};
use kprov_control_plane::world::Rng;
use kprov_control_plane::world::memory::MemoryWorld;
use redb::{ReadableDatabase, TableDefinition};

use super::*;

#[tokio::test]
async fn a_foreign_file_is_left_alone() {
    let redb = std::fs::read(foreign_redb().path()).unwrap();
    for (what, bytes) in [
        ("text", b"apiVersion: v1\nkind: Config\n".to_vec()),
        ("short text", b"hi".to_vec()),
        ("zeros, then something", [vec![0; 4096], b"something".to_vec()].concat()),
        ("large", vec![7; 1 << 20]),
        ("somebody's redb", redb),
    ] {
        let memory = MemoryWorld::new(1);
        memory.disk.put(FILE, bytes.clone());
        let error = Store::open(&memory.world(), FILE).err().unwrap();
        assert!(matches!(error, StoreError::Foreign { .. }), "{what}: {error}");
        let text = error.to_string();
        assert!(text.contains(FILE) && text.contains("move it away"), "{what}: {text}");
        if what != "somebody's redb" {
            assert!(memory.disk.contents(FILE) == Some(bytes), "{what}");
        } else {
            memory_redb_still_reads(memory.disk.contents(FILE).unwrap());
        }
    }
}

const OTHER: TableDefinition<'_, &str, &str> = TableDefinition::new("other");

fn foreign_redb() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let database = redb::Database::create(file.path()).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(OTHER).unwrap().insert("its", "own").unwrap();
    write.commit().unwrap();
    file
}

fn memory_redb_still_reads(bytes: Vec<u8>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let database = redb::Database::create(file.path()).unwrap();
    let read = database.begin_read().unwrap();
    assert_eq!(read.open_table(OTHER).unwrap().get("its").unwrap().unwrap().value(), "own");
}

/// A store's file with a few hundred objects, closed tidily.
async fn good() -> (Vec<u8>, Vec<(String, String)>) {
    let memory = MemoryWorld::new(1);
    let store = open(&memory);
    for index in 0..200 {
        put(&store, &format!("pod-{index}"), &"x".repeat(index * 10)).await;
    }
    let all = names(&store, None);
    store.close().await;
    (memory.disk.contents(FILE).unwrap(), all)
}

#[tokio::test]
async fn damage_is_found_or_does_not_matter() {
    let (bytes, all) = good().await;
    let rng = MemoryWorld::new(5).rng;
    let mut found = 0;
    for round in 0..150 {
        let mut damaged = bytes.clone();
        let at = usize::try_from(rng.next_u64()).unwrap() % if round % 3 == 0 { 512 } else { bytes.len() };
        match round % 2 {
            0 => damaged[at] ^= 1 << (rng.next_u64() % 8),
            _ => damaged[at..(at + 600).min(bytes.len())].fill(0x55),
        }
        let memory = MemoryWorld::new(1);
        memory.disk.put(FILE, damaged.clone());
        match Store::open(&memory.world(), FILE) {
            Ok(store) => assert!(names(&store, None) == all, "round {round}: damage at {at} was not seen"),
            Err(StoreError::Corrupt { .. } | StoreError::Foreign { .. }) => {
                found += 1;
                assert!(memory.disk.contents(FILE) == Some(damaged), "round {round}: damage at {at} was changed");
            }
            Err(other) => panic!("round {round}: damage at {at}: {other}"),
        }
    }
    assert!(found > 30, "{found}");
}

#[tokio::test]
async fn a_file_cut_short_is_refused() {
    let (bytes, _) = good().await;
    for keep in [1, 9, 100, 511, 4096, bytes.len() / 2, bytes.len() - 4096, bytes.len() - 1] {
        let memory = MemoryWorld::new(1);
        memory.disk.put(FILE, bytes[..keep].to_vec());
        match Store::open(&memory.world(), FILE) {
            Err(error) => assert!(error.to_string().contains(FILE), "{keep}: {error}"),
            Ok(store) => panic!("{keep} of {} bytes opened with {} objects", bytes.len(), names(&store, None).len()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let world = kprov_control_plane::world::real::world(folder.path());
    let store = Store::open(&world, FILE).unwrap();
    put(&store, "a", "1").await;
    let error = Store::open(&world, FILE).err().unwrap();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    store.close().await;
    assert_eq!(names(&Store::open(&world, FILE).unwrap(), None).len(), 1);
}
