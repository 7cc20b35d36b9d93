//! Who belongs to the cluster, and who votes.

use std::fs;
use std::net::UdpSocket;

use crate::cluster::{Cluster, IDS};
use crate::processes::{Node, eventually, quorate};

/// One after the other every node loses its disk, the leader too, and nothing is lost.
#[test]
fn a_wiped_directory_gets_its_vote_back_by_itself() {
    let mut cluster = Cluster::start();
    cluster.run(&["put", "k", "1"]).expect(0);
    let first = cluster.follower();
    let second = cluster.leader();
    for (count, wiped) in [first, second].into_iter().enumerate() {
        let former = cluster.status_of(wiped)["directory"].clone();
        cluster.kill(wiped);
        fs::remove_dir_all(cluster.data_dir(wiped)).expect("the directory can be removed");
        cluster.start_node(wiped);
        cluster.wait_for_dump(wiped, format!("k\t{}\n", count + 1).as_bytes());
        let value = (count + 2).to_string();
        cluster.run(&["put", "k", &value]).expect(0);
        cluster.wait_until_well();
        let status = cluster.status_of(wiped);
        assert_eq!(status["voter"], true, "{status}");
        assert_ne!(status["directory"], former);
    }

    // The two that were wiped are a majority, and know all that was acknowledged.
    let third = IDS.into_iter().find(|id| ![first, second].contains(id)).expect("there are three");
    cluster.kill(third);
    assert_eq!(cluster.run(&["get", "k"]).expect(0).text(), "3");
    cluster.run(&["put", "k", "4"]).expect(0);
}

/// It began alone, by a line that names nobody, and loses its disk. Those who came since are heard
/// all the same, in sessions that they seek.
#[test]
fn the_founder_of_a_cluster_that_has_grown_gives_birth_to_no_other() {
    let mut cluster = Cluster::prepare_sealed();
    cluster.start_node_with(1, &[]);
    cluster.node(1).wait_until_ready();
    cluster.run(&["put", "k", "1"]).expect(0);
    for id in [2, 3] {
        let peers = cluster.list()[..id].to_vec();
        cluster.run(&["member", "add", &peers[id - 1]]).expect(0);
        cluster.start_node_with(id, &peers);
        let voters: Vec<u64> = (1..=id as u64).collect();
        eventually("it votes", || (members(&cluster) == (voters.clone(), vec![])).then_some(()));
    }

    cluster.kill(1);
    fs::remove_dir_all(cluster.data_dir(1)).expect("the directory can be removed");
    cluster.start_node_with(1, &[]);
    cluster.wait_for_dump(1, b"k\t1\n");
    cluster.wait_until_well();
}

#[test]
fn a_node_with_another_list_is_refused_before_the_birth() {
    let mut cluster = Cluster::prepare();
    cluster.start_node(1);
    cluster.start_node(3);
    let differing = differing_list(&cluster, 2);
    cluster.start_node_with(2, &differing);
    refused_with_both_lists(&mut cluster, 2);

    // The others go on to wait for a node that agrees.
    cluster.start_node(2);
    cluster.wait_until_well();
}

#[test]
fn a_node_with_another_list_is_refused_after_the_birth() {
    let mut cluster = Cluster::start();
    let refused = cluster.follower();
    cluster.kill(refused);
    let shorter: Vec<String> = cluster.list().into_iter().take(refused.max(2)).collect();
    let shorter = if refused == 3 { shorter[1..].to_vec() } else { shorter };
    cluster.start_node_with(refused, &shorter);
    assert_eq!(cluster.node(refused).wait_for_exit(), 2);
    let said = cluster.node(refused).said();
    assert!(said.contains("the flags list the nodes"), "{said}");
    assert!(said.contains("has the nodes 1, 2, 3;"), "{said}");

    // The log says who belongs to the cluster: a node that is none is only reported.
    let longer: Vec<String> =
        cluster.list().into_iter().chain(["4=127.0.0.1:9".to_owned()]).collect();
    cluster.start_node_with(refused, &longer);
    cluster.wait_until_well();
    let said = cluster.node(refused).said();
    assert!(said.contains("no members of this cluster: 4;"), "{said}");

    cluster.kill(refused);
    fs::remove_dir_all(cluster.data_dir(refused)).expect("the directory can be removed");
    let differing = differing_list(&cluster, refused);
    cluster.start_node_with(refused, &differing);
    refused_with_both_lists(&mut cluster, refused);
    cluster.run(&["put", "k", "v"]).expect(0);
}

/// A fourth node comes, and two of the first three go, the leader last.
#[test]
fn members_come_and_go() {
    let mut cluster = Cluster::start();
    cluster.run(&["put", "k", "1"]).expect(0);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    let address = socket.local_addr().expect("it is bound").to_string();
    drop(socket);
    let list: Vec<String> = cluster.list().into_iter().chain([format!("4={address}")]).collect();
    let data = cluster.directory.path().join("data-4").display().to_string();
    let mut flags = vec!["--id", "4", "--data-dir", &data, "--listen", &address];
    flags.extend(list.iter().flat_map(|peer| ["--peer", peer]));
    let log = cluster.directory.path().join("log-4");

    cluster.run(&["member", "add", &format!("4={address}")]).expect(0);
    cluster.run(&["member", "add", &format!("4={address}")]).expect(0);
    cluster.run(&["member", "add", "4=127.0.0.1:9"]).expect(4);
    assert_eq!(members(&cluster), (vec![1, 2, 3], vec![4]));
    let mut fourth = Node::start(&flags, &log);
    eventually("the fourth votes", || {
        (members(&cluster) == (vec![1, 2, 3, 4], vec![])).then_some(())
    });

    let gone = cluster.follower();
    cluster.run(&["member", "remove", &gone.to_string()]).expect(0);
    cluster.run(&["member", "remove", &gone.to_string()]).expect(0);
    cluster.kill(gone);
    cluster.run(&["put", "k", "2"]).expect(0);

    let led = cluster.leader();
    cluster.run(&["member", "remove", &led.to_string()]).expect(0);
    let left: Vec<u64> =
        [1, 2, 3, 4].into_iter().filter(|id| ![gone as u64, led as u64].contains(id)).collect();
    assert_eq!(members(&cluster), (left, vec![]));
    cluster.run(&["put", "k", "3"]).expect(0);
    cluster.kill(led);
    assert_eq!(quorate(&address, &["get", "k"], b"").expect(0).text(), "3");

    // What came by the log is known after a start, whatever the flags of the others say.
    fourth.kill();
    let _fourth = Node::start(&flags, &log);
    cluster.run(&["put", "k", "4"]).expect(0);
    assert_eq!(quorate(&address, &["get", "k"], b"").expect(0).text(), "4");
    let last = members(&cluster).0[0].to_string();
    cluster.run(&["member", "remove", &last]).expect(0);
    quorate(&address, &["member", "remove", "4"], b"").expect(4);
}

/// The voters and the learners.
fn members(cluster: &Cluster) -> (Vec<u64>, Vec<u64>) {
    let shown = cluster.run(&["member", "list", "--json"]).expect(0).json();
    let ids = |name: &str| {
        let nodes = shown[name].as_array().expect("it is a list");
        nodes.iter().map(|node| node["id"].as_u64().expect("it is a number")).collect()
    };
    (ids("voters"), ids("learners"))
}

/// The common list, but with another address for the node.
fn differing_list(cluster: &Cluster, id: usize) -> Vec<String> {
    let mut list = cluster.list();
    list[id - 1] = format!("{id}=127.0.0.1:9");
    list
}

/// The node ends by itself. Its last sentence shows the list of the others and its own.
#[track_caller]
fn refused_with_both_lists(cluster: &mut Cluster, id: usize) {
    let code = cluster.node(id).wait_for_exit();
    let said = cluster.node(id).said();
    assert_eq!(code, 2, "{said}");
    let sentence = said.lines().last().unwrap_or_default();
    let (others, own) = (cluster.list().join(" "), differing_list(cluster, id).join(" "));
    let expected = format!("it has {others}, and here stands {own}; start all nodes with");
    assert!(sentence.contains(&expected), "lacks '{expected}': {said}");
}
