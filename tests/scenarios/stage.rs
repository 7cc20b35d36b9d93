//! The nodes of a scenario, the network between them, and the clock. Nothing happens but
//! what an event asks for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quorate::configuration::Configuration;
use quorate::time::Instant;
use quorate::types::{LogIndex, ServerId, Term};
use quorate::wire::{self, Kind, Message, Role};

use super::member::{Member, address_of, ids};
use super::{client, describe};

/// How long a frame takes.
const A_HOP: Duration = Duration::from_millis(1);
/// What is waited for and has not happened by then does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many timers in a row may change nothing to be seen.
const SILENT_TIMERS: usize = 4;
/// After so many timers a node has done all that it does because of a silence.
const TIMERS_OF_A_SILENCE: usize = 16;

/// A way from one node to another.
pub type Way = (ServerId, ServerId);

#[derive(Default)]
pub struct Stage {
    pub now: Instant,
    pub members: BTreeMap<ServerId, Member>,
    on_the_way: VecDeque<Frame>,
    cut: BTreeSet<Way>,
    /// Ways whose frames are kept back.
    kept_back: BTreeSet<Way>,
    seen: BTreeMap<ServerId, Seen>,
    /// How many operations each client has begun, with the last one.
    pub asked: BTreeMap<char, (u64, Bytes)>,
    /// Only what nodes become is told, not what they say.
    is_quiet: bool,
    said: Vec<String>,
    /// Frames that were sent in the present turn.
    sent: Vec<(ServerId, Kind)>,
}

struct Frame {
    way: Way,
    kind: Kind,
    bytes: Bytes,
}

/// What was last told of a node.
#[derive(Clone, PartialEq)]
struct Seen {
    role: Role,
    term: Term,
    leader: Option<ServerId>,
    commit: LogIndex,
    configuration: Option<Configuration>,
}

impl Stage {
    /// What has been told since this was last asked.
    pub fn take_said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    pub fn say(&mut self, line: String) {
        self.said.push(line);
    }

    pub fn size(&self) -> usize {
        self.members.len()
    }

    pub fn member(&mut self, id: ServerId) -> &mut Member {
        self.members.get_mut(&id).expect("the scenario has such a node")
    }

    pub fn start(&mut self, id: ServerId) {
        let (size, now) = (self.size(), self.now);
        self.member(id).start(size, now);
        self.seen.remove(&id);
        self.end_turn(id);
        self.compare_lives(id);
    }

    /// A node that was started asks the others what they have seen of its directory, and all
    /// have seen nothing better. This takes no time and is not told: it is the same each time.
    fn compare_lives(&mut self, id: ServerId) {
        let now = self.now;
        let Some(node) = self.member(id).node_mut().filter(|node| node.state().is_born()) else {
            return;
        };
        node.on_timeout(now);
        self.end_turn(id);
        for other in ids(self.size()).filter(|other| *other != id) {
            let Some(life) = self.member(id).node().map(|node| node.state().life()) else { return };
            let asked = self.member(other);
            if asked.node().is_none() {
                let answer = asked.answer_to(life);
                self.arrive((other, id), &answer);
            }
        }
    }

    /// The node's next timer fires; not one that changes nothing to be seen.
    pub fn time_out(&mut self, id: ServerId) -> Result<(), String> {
        let before = (self.said.len(), self.on_the_way.len());
        for _ in 0..SILENT_TIMERS {
            self.fire_next(id)?;
            if (self.said.len(), self.on_the_way.len()) != before {
                break;
            }
        }
        Ok(())
    }

    /// The node's timers fire, and nobody else's, until it sends such a message.
    pub fn time_out_until_sent(&mut self, from: ServerId, kind: &str) -> Result<(), String> {
        for _ in 0..TIMERS_OF_A_SILENCE {
            self.sent.clear();
            self.fire_next(from)?;
            if self.sent.iter().any(|(_, sent)| is_called(*sent, kind)) {
                return Ok(());
            }
        }
        Err(format!("{from} sends no {kind}"))
    }

    fn fire_next(&mut self, id: ServerId) -> Result<(), String> {
        let node = self.member(id).node_mut().ok_or("it does not run")?;
        let due = node.next_deadline().ok_or("it waits for nothing")?;
        self.now = self.now.max(due);
        let now = self.now;
        self.member(id).node_mut().ok_or("it does not run")?.on_timeout(now);
        self.end_turn(id);
        Ok(())
    }

    /// All frames on these ways arrive, and not yet those that are sent because of them.
    pub fn deliver(&mut self, arrives: impl Fn(Way) -> bool) {
        self.now = self.now + A_HOP;
        for frame in self.take_frames(arrives) {
            if !self.cut.contains(&frame.way) {
                self.arrive(frame.way, &frame.bytes);
            }
        }
    }

    /// The same, until no frame is on one of these ways.
    pub fn settle(&mut self, arrives: impl Fn(Way) -> bool + Copy) {
        while self.on_the_way.iter().any(|frame| self.may_arrive(frame, arrives)) {
            self.deliver(arrives);
        }
    }

    /// Frames of this kind on these ways are lost.
    pub fn lose(&mut self, kind: &str, is_lost: impl Fn(Way) -> bool) {
        self.on_the_way.retain(|frame| !is_lost(frame.way) || !is_called(frame.kind, kind));
    }

    fn may_arrive(&self, frame: &Frame, arrives: impl Fn(Way) -> bool) -> bool {
        arrives(frame.way) && !self.kept_back.contains(&frame.way)
    }

    fn take_frames(&mut self, arrives: impl Fn(Way) -> bool) -> Vec<Frame> {
        let frames = std::mem::take(&mut self.on_the_way);
        let (taken, left) = frames.into_iter().partition(|frame| self.may_arrive(frame, &arrives));
        self.on_the_way = left;
        Vec::from_iter::<VecDeque<Frame>>(taken)
    }

    fn arrive(&mut self, (from, to): Way, bytes: &Bytes) {
        let now = self.now;
        if let Some(node) = self.member(to).node_mut() {
            node.on_datagram(now, address_of(from), bytes);
            self.end_turn(to);
        }
    }

    /// A client's frame arrives.
    pub fn ask(&mut self, client: char, to: ServerId, frame: &Bytes) -> Result<(), String> {
        let now = self.now;
        let node = self.member(to).node_mut().ok_or("it does not run")?;
        node.on_datagram(now, client::address_of(client), frame);
        self.end_turn(to);
        Ok(())
    }

    pub fn cut(&mut self, way: Way) {
        self.cut.insert(way);
        self.on_the_way.retain(|frame| frame.way != way);
    }

    pub fn mend(&mut self, way: Way) {
        self.cut.remove(&way);
    }

    pub fn keep_back(&mut self, way: Way) {
        self.kept_back.insert(way);
    }

    pub fn let_go(&mut self, way: Way) {
        self.kept_back.remove(&way);
    }

    /// The disk is done with what it is busy with.
    pub fn sync(&mut self, id: ServerId) -> Result<(), String> {
        let now = self.now;
        if !self.member(id).sync(now) {
            return Err("its disk has nothing to do".into());
        }
        self.end_turn(id);
        Ok(())
    }

    /// What happens meanwhile is told only in so far as nodes become something, or clients
    /// are answered.
    pub fn quietly<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let was_quiet = std::mem::replace(&mut self.is_quiet, true);
        let result = act(self);
        self.is_quiet = was_quiet;
        result
    }

    /// Time passes with all nodes at work.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// The same, until a node sends such a message. Only that step is told in full.
    pub fn run_until_sent(&mut self, from: ServerId, kind: &str) -> Result<(), String> {
        let end = self.now + PATIENCE;
        while self.now < end {
            let before = self.said.len();
            self.sent.clear();
            self.step();
            if self.sent.iter().any(|(sender, sent)| *sender == from && is_called(*sent, kind)) {
                return Ok(());
            }
            let told = self.said.split_off(before);
            self.said.extend(told.into_iter().filter(|line| is_news(line)));
        }
        Err(format!("{from} sends no {kind}"))
    }

    /// One millisecond, in which frames arrive that were sent before it.
    fn step(&mut self) {
        self.deliver(|_| true);
        let now = self.now;
        for id in ids(self.size()) {
            if let Some(node) = self.member(id).node_mut() {
                node.on_timeout(now);
                self.end_turn(id);
            }
        }
    }

    /// Ends the node's turn as the daemon's event loop does: frames first, then the disk.
    pub fn end_turn(&mut self, id: ServerId) {
        loop {
            let now = self.now;
            let sent = self.member(id).end_turn(now);
            self.tell_news(id);
            for (to, bytes) in sent {
                self.send(id, to, bytes);
            }
            let Some(written) = self.member(id).write().map(describe::records) else { return };
            if !written.is_empty() && !self.is_quiet {
                self.say(format!("{id} writes  {written}"));
            }
            if self.member(id).is_slow && !written.is_empty() {
                return;
            }
            self.member(id).sync(now);
        }
    }

    fn send(&mut self, from: ServerId, to: SocketAddr, bytes: Bytes) {
        let message = wire::decode(&bytes).expect("a node's own frame").message;
        if let Some(client) = client::at(to) {
            return self.say(format!("{from} -> {client}  {}", describe::message(&message)));
        }
        let Some(to) = ids(self.size()).find(|id| address_of(*id) == to) else { return };
        let way = (from, to);
        if matches!(message, Message::Resume(_) | Message::Sighted(_)) {
            return self.arrive(way, &bytes);
        }
        self.sent.push((from, Kind::of(&message)));
        let is_cut = self.cut.contains(&way);
        self.tell_frame(way, is_cut, &message);
        if !is_cut {
            self.on_the_way.push_back(Frame { way, kind: Kind::of(&message), bytes });
        }
    }

    fn tell_frame(&mut self, (from, to): Way, is_cut: bool, message: &Message) {
        if !self.is_quiet {
            let arrow = if is_cut { "-x" } else { "->" };
            self.say(format!("{from} {arrow} {to}  {}", describe::message(message)));
        }
    }

    /// What the node has become since it was last looked at.
    fn tell_news(&mut self, id: ServerId) {
        let Some(node) = self.member(id).node() else { return };
        let state = node.state();
        let now = Seen {
            role: state.role,
            term: state.term,
            leader: state.leader_id,
            commit: state.commit,
            configuration: state.is_born().then(|| state.configuration().clone()),
        };
        let Some(before) = self.seen.insert(id, now.clone()) else { return };
        for line in news(id, &before, &now) {
            self.say(line);
        }
    }

    /// How every node is, and the terms of its log's entries.
    pub fn show(&mut self) {
        for id in ids(self.size()) {
            let node = self.member(id).node();
            let how = node.map_or("is down".into(), describe::node);
            self.say(format!("{id} {how}"));
        }
    }
}

fn is_called(kind: Kind, name: &str) -> bool {
    format!("{kind:?}") == name
}

/// The mark of lines that tell what a node has become.
const NEWS: &str = "* ";

fn is_news(line: &str) -> bool {
    line.starts_with(NEWS)
}

fn news(id: ServerId, before: &Seen, now: &Seen) -> Vec<String> {
    let mut lines = Vec::new();
    if now.configuration != before.configuration
        && let Some(configuration) = &now.configuration
    {
        lines.push(format!("{NEWS}{id} knows {}", describe::members(configuration)));
    }
    let began = (before.role, before.term) != (now.role, now.term);
    match now.role {
        Role::Leader if began => lines.push(format!("{NEWS}{id} leads in term {}", now.term)),
        Role::Candidate if began && now.term > before.term => {
            lines.push(format!("{NEWS}{id} stands in term {}", now.term));
        }
        Role::Follower if before.role == Role::Leader => {
            lines.push(format!("{NEWS}{id} steps down"));
        }
        _ => {}
    }
    if let Some(leader) = now.leader.filter(|leader| *leader != id)
        && (before.leader, before.term) != (now.leader, now.term)
    {
        lines.push(format!("{NEWS}{id} follows {leader} in term {}", now.term));
    }
    if now.commit > before.commit && before.configuration.is_some() {
        lines.push(format!("{NEWS}{id} commits to {}", now.commit));
    }
    lines
}
