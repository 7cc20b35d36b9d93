//! `quorate revoke`: takes a key out of the nodes' file, and sees whether all nodes have.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use getopts::Options;
use serde_json::{Value, json};

use super::args::{self, ClientFlags};
use super::exit::{Exit, Failure, Outcome};
use super::inquiry::Inquiry;
use super::output::{note, print_line};
use super::survey;
use crate::access::Holder;
use crate::daemon::{KeyChange, random_u64};
use crate::seal::{Key, KeyId};
use crate::types::ServerId;
use crate::wire::{KeyRequest, KeyStanding, Message};

pub const HELP: &str = "\
Takes a key back, of a client or of nodes.

Usage: quorate revoke KEYID --from FILE [--force] [flags]
       quorate revoke KEYID [flags]

The first removes the key's line from FILE. A key of nodes must be in use no
more: each node has answered, and its newest session with each other is by the
first key of nodes in FILE. With --force nobody is asked. Then give the nodes
the new FILE, and a SIGHUP.
The second asks the nodes given, and every peer that these name, until each has
confirmed that it takes the key no more, or --timeout has passed. With --json an
object says it of each node.

Ask with a key that stays. docs/security.md tells how to replace a key.

Exit codes: 0 done; 1 some node still takes the key; 3 one does not answer; 4
the key is still in use, or not in FILE; 5 a disk error.

Example: quorate revoke 3 --from key
";

/// How long to wait before nodes that still take the key are asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs `quorate revoke`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    ClientFlags::add_to(&mut options);
    options.optopt("", "from", "", "FILE");
    options.optflag("", "force", "");
    let words = args::parse(options, words)?;
    let flags = ClientFlags::read(&words)?;
    let [id] = words.expect_operands(["KEYID"])?;
    let id = id.parse().map(KeyId).map_err(|_| {
        Failure::usage(format!("'{id}' is no key's number; they count from 1 to 65535"))
    })?;
    match words.value("from") {
        Some(file) => remove(id, Path::new(&file), words.has("force"), &flags),
        None if words.has("force") => Err(Failure::usage("--force is for --from FILE")),
        None => confirm(id, &flags),
    }
}

fn remove(id: KeyId, file: &Path, is_forced: bool, flags: &ClientFlags) -> Outcome {
    let mut change = KeyChange::begin(file)?;
    let shown = file.display();
    let Some(key) = change.keys().get(id) else {
        return Err(Failure::refused(format!("{shown} has no key {id}; it has {}", change.keys())));
    };
    if id == change.keys().sending().id {
        return Err(Failure::refused(format!(
            "{shown} says that key {id} is used; put another key of nodes before it, and give that \
             to all nodes first"
        )));
    }
    if !is_forced {
        check_unused(key, change.keys().sending().id, flags)?;
    }
    change.remove(id)?;
    change.finish()?;
    let sentence = format!(
        "{shown} has no key {id} any more; give it to all nodes with a SIGHUP, and 'quorate revoke \
         {id}' says when each takes it no more"
    );
    say(flags, &sentence, || json!({ "key": id.0, "removed_from": file }))?;
    Ok(Exit::Done)
}

/// Says what came of it: a sentence for people, or an object.
fn say(flags: &ClientFlags, sentence: &str, object: impl Fn() -> Value) -> Result<(), Failure> {
    if flags.json {
        return print_line(&object().to_string());
    }
    note(&format!("quorate: {sentence}"));
    Ok(())
}

/// A client's key may be taken back while it is in use, but without that of their session two
/// nodes do not hear each other until they have another. Whether both have another shows only
/// where they have a session by it: who was cut off since it started has none by any key, and may
/// know the former alone.
fn check_unused(key: &Key, used: KeyId, flags: &ClientFlags) -> Result<(), Failure> {
    if key.holder != Holder::Node {
        return Ok(());
    }
    let asked = ask(key.id, flags)?;
    if !asked.silent.is_empty() {
        return Err(asked.failure("so whether they use the key is not known; --force asks nobody"));
    }
    let unseen: Vec<String> =
        asked.by_id().into_iter().flat_map(|node| unseen_by(node, used)).collect();
    if unseen.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "key {} may be in use between nodes: {}; put key {used} first in the file of each node and \
         give it a SIGHUP, and let all of them reach each other, or say --force",
        key.id,
        unseen.join(", ")
    )))
}

/// Which others the node has not seen on this key.
fn unseen_by(node: &KeyStanding, used: KeyId) -> impl Iterator<Item = String> {
    let id = node.id;
    let others = node.peers.iter().filter(move |(_, key)| *key != used.0);
    others.map(move |(other, key)| match key {
        0 => format!("node {id} has not seen node {other} on key {used}, nor on any other"),
        key => format!("node {id} has not seen node {other} on key {used}, but on key {key}"),
    })
}

/// Asks until all nodes have confirmed that the key is gone.
fn confirm(id: KeyId, flags: &ClientFlags) -> Outcome {
    let give_up_at = Instant::now() + flags.timeout;
    let (asked, exit) = loop {
        let asked = ask(id, flags)?;
        let exit = asked.exit();
        if exit == Exit::Done || Instant::now() >= give_up_at {
            break (asked, exit);
        }
        thread::sleep(PAUSE);
    };
    say(flags, &asked.sentence(id), || asked.to_json(id))?;
    Ok(exit)
}

/// What the nodes say, and who says nothing.
struct Asked {
    answers: BTreeMap<SocketAddr, KeyStanding>,
    silent: Vec<(SocketAddr, Option<ServerId>)>,
}

fn ask(key: KeyId, flags: &ClientFlags) -> Result<Asked, Failure> {
    let mut inquiry = Inquiry::open(flags).map_err(|error| Failure::system("a socket", &error))?;
    let survey = survey::take_by(&mut inquiry, flags);
    if let Some(failure) = survey.strangers.failure() {
        return Err(failure);
    }
    let nonce = random_u64();
    let request = Message::KeyRequest(KeyRequest { nonce, key: key.0 });
    let answers = inquiry.ask_each(&survey.answering(), request, |message| match message {
        Message::KeyStanding(standing) if standing.nonce == nonce => Some(standing),
        _ => None,
    });
    let is_silent = |(address, _): &(&SocketAddr, _)| !answers.contains_key(*address);
    let silent = survey.nodes.iter().filter(is_silent).map(|(address, node)| (*address, node.id));
    Ok(Asked { silent: silent.collect(), answers })
}

impl Asked {
    fn nodes_where(&self, is_meant: impl Fn(&KeyStanding) -> bool) -> Vec<String> {
        let meant = self.by_id().into_iter().filter(|node| is_meant(node));
        meant.map(|node| format!("node {}", node.id)).collect()
    }

    fn by_id(&self) -> Vec<&KeyStanding> {
        let mut all: Vec<&KeyStanding> = self.answers.values().collect();
        all.sort_by_key(|node| node.id);
        all
    }

    fn takers(&self) -> Vec<String> {
        self.nodes_where(|node| node.taken)
    }

    fn exit(&self) -> Exit {
        if !self.takers().is_empty() {
            Exit::Negative
        } else if !self.silent.is_empty() {
            Exit::NoAnswer
        } else {
            Exit::Done
        }
    }

    /// Whether the key is taken, as a sentence.
    fn sentence(&self, id: KeyId) -> String {
        match self.exit() {
            Exit::Done => {
                let all = self.nodes_where(|_| true).join(", ");
                format!("done: key {id} is taken no more, as each confirms: {all}")
            }
            Exit::Negative => format!(
                "key {id} is still taken, by {}; give it the new file and a SIGHUP",
                self.takers().join(" and ")
            ),
            _ => format!("{}, so it may still take the key", self.silence()),
        }
    }

    fn to_json(&self, id: KeyId) -> Value {
        let node = |node: &KeyStanding| json!({ "id": node.id.0, "taken": node.taken });
        let nodes: Vec<Value> = self.by_id().into_iter().map(node).collect();
        let done = self.exit() == Exit::Done;
        json!({ "key": id.0, "done": done, "nodes": nodes, "silent": self.silent_names() })
    }

    fn failure(&self, consequence: &str) -> Failure {
        Failure::no_answer(format!("{}, {consequence}", self.silence()))
    }

    fn silence(&self) -> String {
        format!("{} does not answer", self.silent_names().join(" and "))
    }

    fn silent_names(&self) -> Vec<String> {
        let name = |(address, id): &(SocketAddr, Option<ServerId>)| match id {
            Some(id) => format!("node {id}"),
            None => address.to_string(),
        };
        self.silent.iter().map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that was started again and is cut off from another has no session with it by any
    /// key, and that one may know the former key alone.
    #[test]
    fn a_node_that_is_not_seen_on_the_key_is_named() {
        let unseen = |keys: [u16; 2]| {
            let peers = [2, 3].map(ServerId).into_iter().zip(keys).collect();
            let node = KeyStanding { nonce: 0, id: ServerId(1), key: 1, taken: true, peers };
            unseen_by(&node, KeyId(7)).collect::<Vec<_>>()
        };
        assert_eq!(unseen([7, 7]), [""; 0]);
        let expected = [
            "node 1 has not seen node 2 on key 7, nor on any other",
            "node 1 has not seen node 3 on key 7, but on key 1",
        ];
        assert_eq!(unseen([0, 1]), expected);
    }
}
