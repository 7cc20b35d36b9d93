//! `quorate status` tells on which way frames are lost.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::processes::eventually;

/// A socket before each node, by which the others know it. Frames between nodes pass there.
struct Relay {
    fronts: Vec<UdpSocket>,
    nodes: Vec<SocketAddr>,
    done: AtomicBool,
    /// The way on which every fifth frame is lost.
    lossy: OnceLock<(usize, usize)>,
    /// Frames that were sent on the lossy way, and those of them that were lost.
    sent: AtomicU64,
    lost: AtomicU64,
}

impl Relay {
    fn before(cluster: &Cluster) -> Self {
        let front = |_| {
            let front = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
            front.set_read_timeout(Some(Duration::from_millis(20))).expect("it can be set");
            front
        };
        Self {
            fronts: (1..=3).map(front).collect(),
            nodes: (1..=3).map(|id| cluster.address(id).parse().expect("an address")).collect(),
            done: AtomicBool::new(false),
            lossy: OnceLock::new(),
            sent: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    fn list(&self) -> Vec<String> {
        let address = |front: &UdpSocket| front.local_addr().expect("it is bound");
        (1..).zip(&self.fronts).map(|(id, front)| format!("{id}={}", address(front))).collect()
    }

    /// Passes on what comes for a node, from the front of the node that has sent it.
    fn pass_on(&self, to: usize) {
        let mut buffer = [0; 2_048];
        while !self.done.load(Ordering::Relaxed) {
            let (length, from) = match self.fronts[to - 1].recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => panic!("the relay receives: {error}"),
            };
            let Some(from) = (1..=3).find(|id| self.nodes[id - 1] == from) else { continue };
            let is_lossy = self.lossy.get() == Some(&(from, to));
            if is_lossy && self.sent.fetch_add(1, Ordering::Relaxed) % 5 == 4 {
                self.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let front = &self.fronts[from - 1];
            front.send_to(&buffer[..length], self.nodes[to - 1]).expect("loopback takes it");
        }
    }
}

/// Ends the relay, also where a check has failed.
struct End<'a>(&'a Relay);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_way_on_which_frames_are_lost_is_shown_with_them() {
    let mut cluster = Cluster::prepare();
    let relay = Relay::before(&cluster);
    thread::scope(|scope| {
        let relay = &relay;
        let _end = End(relay);
        (1..=3).for_each(|to| drop(scope.spawn(move || relay.pass_on(to))));
        for id in 1..=3 {
            cluster.start_node_with(id, &relay.list());
        }
        cluster.wait_until_well();
        // Followers have nothing to say to each other.
        let (leader, follower) = (cluster.leader(), cluster.follower());
        let way = *relay.lossy.get_or_init(|| (leader, follower));
        eventually("so many frames are lost that most of them are judged", || {
            (relay.lost.load(Ordering::Relaxed) >= 60).then_some(())
        });
        check_json(&cluster, relay, way);
        check_table(&cluster, way);
    });
}

fn check_json(cluster: &Cluster, relay: &Relay, (lossy_from, lossy_to): (usize, usize)) {
    // What goes on before and after the question may differ by a few.
    let least = relay.lost.load(Ordering::Relaxed) - 20;
    let shown = cluster.run(&["status", "--json"]).json();
    let most = relay.lost.load(Ordering::Relaxed);
    let way = |from: usize, to: usize| {
        let nodes = shown["nodes"].as_array().expect("they are listed");
        let node = nodes.iter().find(|node| node["id"] == from).expect("each node is there");
        let peers = node["peers"].as_array().expect("they are listed");
        peers.iter().find(|peer| peer["id"] == to).expect("each peer is there")["ways"].clone()
    };
    let (to, from) = (&way(lossy_from, lossy_to)["to"], &way(lossy_to, lossy_from)["from"]);
    for seen in [to, from] {
        let lost = seen["lost"].as_u64().expect("it is counted");
        assert!((least..=most).contains(&lost), "{least} to {most}: {seen}");
        let loss = seen["loss"].as_f64().expect("it is measured");
        assert!((0.1..0.3).contains(&loss), "{seen}");
        assert_eq!(seen["arrived"], from["arrived"]);
    }
    let (sent, arrived) = (to["sent"].as_u64(), to["arrived"].as_u64());
    let gone = sent.zip(arrived).map(|(sent, arrived)| sent - arrived).expect("both are counted");
    assert!((least..=most + 40).contains(&gone), "{least} to {most}: {to}");
    assert_eq!(way(lossy_to, lossy_from)["to"]["lost"], 0, "the way back is clean");
}

fn check_table(cluster: &Cluster, (from, to): (usize, usize)) {
    let text = cluster.run(&["status"]).text();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let head = rows.iter().position(|row| row.starts_with(&["from", "to", "sent"]));
    let row = head.and_then(|head| {
        rows[head + 1..].iter().find(|row| row[..2] == [from.to_string(), to.to_string()])
    });
    let lost = row.unwrap_or_else(|| panic!("{text}"))[4].parse::<u64>();
    assert!(lost.is_ok_and(|lost| lost > 0), "{text}");
}
