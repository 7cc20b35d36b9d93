//! Where each record stands, found by the document alone.

use std::collections::{BTreeMap, BTreeSet};

use quorate::disk::Directory;
use quorate::sim::SimDirectory;

const SECTOR: usize = 512;

/// The sectors of one file.
pub type Sectors = (String, BTreeSet<usize>);

/// For each index of an entry, where its newest record stands in an intact directory.
pub fn newest_records(directory: &SimDirectory) -> BTreeMap<u64, Sectors> {
    let mut found = BTreeMap::new();
    let mut names = directory.names().expect("names");
    names.retain(|name| name.starts_with("journal-"));
    names.sort();
    for name in names {
        let number = u32::from_str_radix(&name["journal-".len()..], 16).expect("a number");
        let file = directory.read(&name).expect("a file");
        // The payload of all sectors of this lap, each byte with its sector.
        let mut payload: Vec<(u8, usize)> = Vec::new();
        for (at, sector) in file.chunks(SECTOR).enumerate() {
            let is_batch = u32_at(sector, 4) == number && sector[12] == 1;
            if is_batch {
                let used = usize::from(u16::from_le_bytes([sector[14], sector[15]]));
                payload.extend(sector[64..64 + used].iter().map(|byte| (*byte, at)));
            }
        }
        let mut rest = payload.as_slice();
        while let [(low, _), (high, _), ..] = rest {
            let length = 2 + usize::from(u16::from_le_bytes([*low, *high]));
            let (record, behind) = rest.split_at(length);
            let is_append = record[2].0 == 1;
            if is_append {
                let index: Vec<u8> = record[3..11].iter().map(|(byte, _)| *byte).collect();
                let index = u64::from_le_bytes(index.try_into().expect("eight bytes"));
                let sectors = record.iter().map(|(_, at)| *at).collect();
                found.insert(index, (name.clone(), sectors));
            }
            rest = behind;
        }
    }
    found
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
