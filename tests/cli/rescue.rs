//! A survivor's directory, before anything is started on it.

use std::fs;

use crate::alone::Alone;
use crate::processes::quorate;

#[test]
fn without_yes_it_only_says_what_there_is() {
    let alone = Alone::start();
    alone.run(&["put", "k", "v"]).expect(0);
    let data = alone.data_dir();
    let rescue =
        |more: &[&str]| quorate("", &[&["rescue", "--data-dir", &data], more].concat(), b"");
    let ran = rescue(&["--yes"]).expect(4);
    assert!(ran.err.contains("is in use by another process"), "{ran:?}");

    let _left = alone.end();
    let inspected = || quorate("", &["inspect", &data, "--json"], b"").expect(0).json();
    let before = inspected();
    let ran = rescue(&[]).expect(4);
    for fragment in ["its log can be read to entry 3 of term 1", "nothing is changed; --yes"] {
        assert!(ran.err.contains(fragment), "lacks '{fragment}': {ran:?}");
    }
    let said = rescue(&["--json"]).expect(4).json();
    assert_eq!((&said["last_index"], &said["id"]), (&3.into(), &1.into()), "{said}");
    rescue(&["--yes", "--nodes", "2,3"]).expect(2);
    assert_eq!(inspected(), before);

    let said = rescue(&["--yes", "--json", "--nodes", "1,2"]).expect(0).json();
    assert_eq!(
        (&said["index"], &said["keys"], &said["nodes"][1]),
        (&3.into(), &1.into(), &2.into())
    );
    let after = inspected();
    assert_eq!(after["genesis"], said["genesis"]);
    for name in ["genesis", "directory"] {
        assert_ne!(after[name], before[name], "{name}");
    }
    assert_eq!((&after["last_index"], &after["incarnation"]), (&4.into(), &0.into()), "{after}");
}

/// docs/guarantees.md: "`quorate rescue --data-dir DIR` says it, with what is damaged".
#[test]
fn damage_that_nothing_is_lost_with_is_said_too() {
    let alone = Alone::start();
    let data = alone.data_dir();
    let _left = alone.end();
    let meta = format!("{data}/meta");
    let mut bytes = fs::read(&meta).expect("it can be read");
    bytes[4_196] ^= 1;
    fs::write(&meta, bytes).expect("it can be written");
    let line = "damage: meta, byte 4096: one of its two copies is not intact";
    let ran = quorate("", &["rescue", "--data-dir", &data], b"").expect(4);
    assert!(ran.err.contains(line), "{ran:?}");
    let said = quorate("", &["rescue", "--data-dir", &data, "--json"], b"").expect(4).json();
    assert!(said["damage"][0].as_str().is_some_and(|said| said.starts_with(line)), "{said}");
    assert_eq!(said["missing"], serde_json::json!([]));
}

#[test]
fn a_directory_that_belongs_to_no_cluster_or_cannot_be_read_is_refused() {
    let alone = Alone::start();
    let data = alone.data_dir();
    let _left = alone.end();
    let meta = format!("{data}/meta");
    fs::write(&meta, "spoilt").expect("it can be written");
    let ran = quorate("", &["rescue", "--data-dir", &data, "--yes"], b"").expect(5);
    assert!(ran.err.contains("both copies of its identity"), "{ran:?}");
    fs::remove_file(&meta).expect("it is there");
    let ran = quorate("", &["rescue", "--data-dir", &data, "--yes"], b"").expect(5);
    assert!(ran.err.contains("`quorate restore` makes a cluster"), "{ran:?}");
    let nobody = format!("{data}/..");
    quorate("", &["rescue", "--data-dir", &nobody, "--yes"], b"").expect(4);
}
