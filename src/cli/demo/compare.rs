//! Whether all nodes hold the same, and nothing acknowledged is missing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::cli::args::ClientFlags;
use crate::cli::exit::Failure;
use crate::cli::read::read_values;
use crate::types::LogIndex;
use crate::wire::Query;

/// All that a node holds: by key the index of the last write, and the value.
pub type Content = BTreeMap<Bytes, (LogIndex, Bytes)>;

/// What came of comparing the nodes.
#[derive(Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The acknowledged keys that some node lacks, or has with another value.
    pub missing: BTreeSet<Bytes>,
    /// Every node holds the same.
    pub equal: bool,
}

/// Compares what the nodes hold with each other, and with what was acknowledged.
pub fn compare(acknowledged: &BTreeMap<Bytes, Bytes>, contents: &[Content]) -> Comparison {
    let holds = |content: &Content, key: &Bytes, value: &Bytes| {
        content.get(key).is_some_and(|(_, found)| found == value)
    };
    let missing = acknowledged
        .iter()
        .filter(|(key, value)| !contents.iter().all(|content| holds(content, key, value)))
        .map(|(key, _)| key.clone())
        .collect();
    Comparison { missing, equal: contents.windows(2).all(|pair| pair[0] == pair[1]) }
}

/// What the only server of the flags holds, as it alone knows it to be committed.
///
/// # Errors
/// The node does not answer in time.
pub fn read_content(flags: &ClientFlags) -> Result<Content, Failure> {
    let mut content = Content::new();
    let all = Query::List { prefix: Bytes::new(), limit: 0 };
    read_values(flags, all, true, |found| {
        content.insert(found.key, (found.version, found.value));
        Ok(())
    })?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(pairs: &[(&'static str, u64, &'static str)]) -> Content {
        let entry = |(key, version, value): &(&'static str, u64, &'static str)| {
            (Bytes::from(*key), (LogIndex(*version), Bytes::from(*value)))
        };
        pairs.iter().map(entry).collect()
    }

    #[test]
    fn a_lost_or_changed_write_is_missing_wherever_it_is() {
        let acknowledged: BTreeMap<Bytes, Bytes> =
            [("a", "1"), ("b", "2")].map(|(key, value)| (key.into(), value.into())).into();
        let whole = content(&[("a", 5, "1"), ("b", 6, "2"), ("unacknowledged", 7, "3")]);
        let lost = content(&[("a", 5, "1")]);
        let changed = content(&[("a", 5, "1"), ("b", 6, "9")]);

        let found = compare(&acknowledged, &[whole.clone(), whole.clone(), whole.clone()]);
        assert_eq!(found, Comparison { missing: BTreeSet::new(), equal: true });
        for bad in [lost, changed] {
            for place in 0..3 {
                let mut contents = [whole.clone(), whole.clone(), whole.clone()];
                contents[place] = bad.clone();
                let found = compare(&acknowledged, &contents);
                assert_eq!(found, Comparison { missing: ["b".into()].into(), equal: false });
            }
            let alike = compare(&acknowledged, &[bad.clone(), bad.clone(), bad]);
            assert_eq!(alike, Comparison { missing: ["b".into()].into(), equal: true });
        }
    }

    #[test]
    fn an_equal_value_of_another_write_is_a_difference() {
        let contents = [content(&[("a", 5, "1")]), content(&[("a", 6, "1")])];
        assert!(!compare(&BTreeMap::new(), &contents).equal);
    }
}
