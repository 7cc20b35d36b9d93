//! An attacker on the way between the nodes, while clients write all the time and nodes and keys
//! come and go: it repeats, changes and invents, from the right addresses, and lacks the key.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use quorate::seal::{Cipher, KeyRing, LifeSecret, SEAL_BYTES, Sealer, SealerConfig, Secret, Step};
use quorate::time::Instant;
use quorate::types::{ClusterHash, ServerId};
use quorate::wire::{self, HEADER_BYTES};

use crate::cluster::{Cluster, IDS};
use crate::on_path::{OnPath, Passed};
use crate::processes::{eventually, quorate};
use crate::rotation::{EndOf, LINES, load_until};
use crate::sealed::{forged, forged_messages};

/// How many of the newest datagrams are repeated as they are.
const REPEATED: usize = 600;
/// Where a sealed frame names its session.
const SESSION: Range<usize> = 56..60;
/// How many of each way are changed, byte by byte.
const CHANGED: usize = 4;

#[test]
fn whoever_is_on_the_way_changes_nothing_under_load() {
    let (mut cluster, path) = Cluster::start_on_path();
    let [key, client] = ["key", "client"].map(|name| cluster.file(name));
    let words = ["keygen", "--client", "app", "--rights", "rw", "--into", &key, &client];
    quorate("", &words, b"").expect(0);
    let keys = fs::read_to_string(&key).expect("a key file is text");
    for id in IDS {
        cluster.give_keys(id, &keys);
    }
    let servers = cluster.servers();
    let (is_over, loads) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _over = EndOf(&is_over);
        scope.spawn(|| load_until(&is_over, &loads, &servers, &client));
        let mut attack = Attack { path: &path, recorded: Vec::new(), loads: &loads };
        attack.changes_nothing(&cluster);
        let (leader, follower) = (cluster.leader(), cluster.follower());
        for restarted in [&[follower][..], &[leader], &IDS[..2]] {
            for id in restarted {
                cluster.kill(*id);
                cluster.start_node(*id);
            }
            cluster.wait_until_well();
            attack.changes_nothing(&cluster);
        }
        replace_key(&mut cluster, &keys);
        let present = fs::read_to_string(&key).expect("a key file is text");
        let elsewhere = of_another_cluster(&present);
        attack.of_each_way(&elsewhere);
        attack.changes_nothing(&cluster);
        Attack::expect_causes(&cluster);
    });
    let dumped = cluster.run_as(&client, &["dump"]).expect(0).text();
    let loaded = loads.into_inner();
    println!("{loaded} loads of {LINES} lines");
    assert_eq!(dumped.lines().count(), loaded * LINES);
}

/// The key of nodes that the recordings are sealed with is none any more.
fn replace_key(cluster: &mut Cluster, keys: &str) {
    let second = cluster.file("second");
    quorate("", &["keygen", &second, "--id", "7"], b"").expect(0);
    let new = fs::read_to_string(&second).expect("a key file is text");
    let (old, of_client) = keys.split_once('\n').expect("it has two lines");
    for text in [format!("{keys}{new}"), format!("{new}{keys}"), format!("{new}{of_client}")] {
        assert!(text.contains("client app") && !old.is_empty());
        for id in IDS {
            cluster.give_keys(id, &text);
        }
        thread::sleep(Duration::from_millis(500));
    }
    fs::write(cluster.file("key"), format!("{new}{of_client}")).expect("it can be written");
    cluster.wait_until_well();
}

struct Attack<'a> {
    path: &'a OnPath,
    /// All that was ever heard, and is worth repeating.
    recorded: Vec<Passed>,
    loads: &'a AtomicUsize,
}

impl Attack<'_> {
    /// Attacks each node in the name of both others. Nobody stands for election, and the clients
    /// go on.
    #[track_caller]
    fn changes_nothing(&mut self, cluster: &Cluster) {
        let before = self.loads.load(Ordering::Relaxed);
        let standing = standing(cluster);
        self.listen();
        let dropped = IDS.map(|id| replays(cluster, id));
        let repeated = self.repeat();
        for (place, id) in IDS.into_iter().enumerate() {
            // The window takes none of these: were it broken, the protocol behind it would drop
            // them, as duplicates. Some are lost for want of room.
            let (more, least) = (replays(cluster, id) - dropped[place], repeated[place] / 2);
            assert!(more >= least, "node {id} dropped {more} of {least} or more");
        }
        assert!(repeated.iter().sum::<u64>() > 50, "too few were of sessions that live");
        self.change();
        self.invent();
        assert_eq!(self::standing(cluster), standing, "the attack changed who leads");
        eventually("the load goes on", || {
            (self.loads.load(Ordering::Relaxed) > before + 1).then_some(())
        });
        let excess = self.recorded.len().saturating_sub(3 * REPEATED);
        // Those of the first life are kept, for what was sealed by the first key.
        self.recorded.drain(REPEATED.min(excess)..excess.max(REPEATED.min(excess)));
    }

    /// Hears so much from now on that there is something to repeat. What was said before may be of
    /// sessions that have ended.
    fn listen(&mut self) {
        self.recorded.extend(self.path.take_kept());
        let before = self.recorded.len();
        eventually("enough was said", || {
            self.recorded.extend(self.path.take_kept());
            (self.recorded.len() >= before + REPEATED / 2).then_some(())
        });
    }

    /// Returns how many frames of sessions that live were sent again to each node.
    fn repeat(&self) -> [u64; 3] {
        let mut repeated = [0; 3];
        let present: BTreeMap<(usize, usize), &[u8]> = self
            .recorded
            .iter()
            .filter(|passed| passed.bytes[3] < Step::Hello as u8)
            .map(|passed| ((passed.from, passed.to), &passed.bytes[SESSION]))
            .collect();
        let (old, new) = (self.recorded.iter().take(REPEATED), self.recorded.iter().rev());
        for (at, passed) in old.chain(new.take(REPEATED)).enumerate() {
            self.path.send(passed.from, passed.to, &passed.bytes);
            let session = passed.bytes.get(SESSION);
            let lives = session == present.get(&(passed.from, passed.to)).copied();
            repeated[passed.to] += u64::from(lives && passed.bytes[3] < Step::Hello as u8);
            // And back to who has sent it.
            self.path.send(passed.to, passed.from, &passed.bytes);
            let third = 3 - passed.from - passed.to;
            self.path.send(passed.from, third, &passed.bytes);
            breathe(at);
        }
        repeated
    }

    /// The last datagrams of each way, with each byte of the header changed, cut and grown.
    fn change(&self) {
        let mut left: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for passed in self.recorded.iter().rev() {
            let taken = left.entry((passed.from, passed.to)).or_default();
            *taken += 1;
            if *taken > CHANGED {
                continue;
            }
            let send = |bytes: &[u8]| self.path.send(passed.from, passed.to, bytes);
            for at in 0..passed.bytes.len().min(HEADER_BYTES + 4) {
                let mut changed = passed.bytes.clone();
                changed[at] ^= 1;
                send(&changed);
                // A number that has not arrived yet.
                let high = changed.len() - 5;
                changed[high] ^= 1;
                send(&changed);
                breathe(at);
            }
            send(&passed.bytes[..passed.bytes.len() - 1]);
            send(&[&passed.bytes[..], b"more"].concat());
        }
    }

    /// Headers are in the clear: what is invented has those of genuine frames, up to the number
    /// of the packet.
    fn invent(&self) {
        for (from, to) in ways() {
            let is_it = |passed: &&Passed| (passed.from, passed.to) == (from, to);
            let is_frame = |passed: &&Passed| passed.bytes[3] < Step::Hello as u8;
            let mut newest = self.recorded.iter().rev().filter(is_it).filter(is_frame);
            let Some(heard) = newest.next() else { continue };
            for (packet, message) in (1_u64 << 20..).zip(forged_messages()) {
                let mut plain = forged(ServerId(0), ServerId(0), 0, &message);
                plain[8..52].copy_from_slice(&heard.bytes[8..52]);
                let genuine = u64::from_le_bytes(heard.bytes[32..40].try_into().expect("eight"));
                plain[32..40].copy_from_slice(&u64::to_le_bytes(genuine + packet));
                wire::seal(&mut plain);
                self.path.send(from, to, &plain);
                let mut sealed = plain.clone();
                sealed.extend([7; SEAL_BYTES - 8]);
                sealed.extend(packet.to_le_bytes());
                wire::seal(&mut sealed);
                sealed[52..54].copy_from_slice(&heard.bytes[52..54]);
                sealed[56..60].copy_from_slice(&heard.bytes[56..60]);
                self.path.send(from, to, &sealed);
            }
        }
    }

    /// Sends all of these to each node in the name of each other one.
    fn of_each_way(&self, datagrams: &[Vec<u8>]) {
        for (from, to) in ways() {
            for bytes in datagrams {
                self.path.send(from, to, bytes);
            }
        }
    }

    /// Each node has dropped something for each of these.
    #[track_caller]
    fn expect_causes(cluster: &Cluster) {
        for id in IDS {
            let status = cluster.status_of(id);
            for cause in ["replay", "session", "seal", "key", "cluster"] {
                assert!(status["dropped"][cause].as_u64() > Some(5), "{cause}: {status}");
            }
        }
    }
}

fn ways() -> impl Iterator<Item = (usize, usize)> {
    (0..3).flat_map(|from| (0..3).map(move |to| (from, to))).filter(|(from, to)| from != to)
}

/// Lets the nodes take in what was sent, so that it is not lost for want of room.
fn breathe(at: usize) {
    if at.is_multiple_of(32) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// How many datagrams the node has dropped since they came before.
fn replays(cluster: &Cluster, id: usize) -> u64 {
    cluster.status_of(id)["dropped"]["replay"].as_u64().expect("it is counted")
}

/// Whom each node follows, and in which term.
#[track_caller]
pub fn standing(cluster: &Cluster) -> [(u64, u64); 3] {
    IDS.map(|id| {
        let status = cluster.status_of(id);
        let number = |name: &str| status[name].as_u64().expect("it is a number");
        (number("leader_id"), number("term"))
    })
}

/// A handshake and a frame of two nodes of another cluster that has the same keys.
fn of_another_cluster(keys: &str) -> Vec<Vec<u8>> {
    let keys = Arc::new(KeyRing::parse(keys).expect("they are keys"));
    let [mut one, mut two] = [1, 2].map(|id| {
        let config =
            SealerConfig { own: ServerId(id), cluster: "elsewhere".into(), cipher: Cipher::Aes };
        let life = LifeSecret::new(&Secret::new([u8::try_from(id).expect("it is small"); 32]));
        Sealer::new(config, Arc::clone(&keys), life)
    });
    let [of_one, of_two] = ["127.0.0.1:1", "127.0.0.1:2"].map(|text| text.parse().expect("it is"));
    let (now, mut said) = (Instant(1_000), Vec::new());
    let frame = || {
        let mut frame = forged(ServerId(1), ServerId(2), 1, &forged_messages()[0]);
        frame[4..8].copy_from_slice(&ClusterHash::of("elsewhere").0.to_le_bytes());
        frame
    };
    assert!(!one.seal(now, of_two, &mut frame()), "there is no session yet");
    for _ in 0..2 {
        while let Some((_, bytes)) = one.poll_send() {
            two.open(now, of_one, &mut bytes.clone()).expect("it holds the key");
            said.push(bytes);
        }
        while let Some((_, bytes)) = two.poll_send() {
            one.open(now, of_two, &mut bytes.clone()).ok();
            said.push(bytes);
        }
    }
    assert!(said.len() >= 4, "the three of a handshake, and a frame");
    said
}
