//! An older copy of a directory is put back in its place.

use std::fs;
use std::path::Path;

use crate::cluster::Cluster;

/// The directory is copied while its node runs, and the node goes on and promises more. When
/// the copy is there instead, the others know better: it loses its vote, and gets another.
#[test]
fn an_older_copy_that_is_put_back_is_noticed() {
    let mut cluster = Cluster::start();
    let victim = cluster.follower();
    let directory = cluster.data_dir(victim);
    let copied = cluster.directory.path().join("copy");
    cluster.run(&["put", "before", "1"]).expect(0);
    copy(&directory, &copied);
    cluster.run(&["put", "after", "2"]).expect(0);
    cluster.wait_for_dump(victim, b"after\t2\nbefore\t1\n");
    let former = cluster.status_of(victim)["directory"].clone();

    cluster.kill(victim);
    fs::remove_dir_all(&directory).expect("the directory can be removed");
    copy(&copied, &directory);
    cluster.start_node(victim);
    cluster.wait_for_dump(victim, b"after\t2\nbefore\t1\n");
    cluster.wait_until_well();
    let status = cluster.status_of(victim);
    assert_ne!(status["directory"], former, "{status}");
    assert_eq!(status["voter"], true, "{status}");
    let said = cluster.node(victim).said();
    assert!(said.contains("has forgotten what it had promised"), "{said}");

    // What is read of the directory is what is there, under its new id.
    let reborn = status["directory"].clone();
    cluster.kill(victim);
    cluster.start_node(victim);
    cluster.wait_until_well();
    assert_eq!(cluster.status_of(victim)["directory"], reborn);
    assert_eq!(cluster.run(&["get", "after"]).expect(0).text(), "2");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("the copy can be made");
    for entry in fs::read_dir(from).expect("the directory can be read") {
        let path = entry.expect("a name").path();
        let name = path.file_name().expect("it has a name");
        fs::copy(&path, to.join(name)).expect("the file can be copied");
    }
}
