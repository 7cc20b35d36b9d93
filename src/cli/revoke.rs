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
more: each node has answered, and none has a session with another by it. With
--force nobody is asked. Then give the nodes the new FILE, and a SIGHUP.
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
        check_unused(key, flags)?;
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
/// nodes do not hear each other until they have another.
fn check_unused(key: &Key, flags: &ClientFlags) -> Result<(), Failure> {
    if key.holder != Holder::Node {
        return Ok(());
    }
    let asked = ask(key.id, flags)?;
    if !asked.silent.is_empty() {
        return Err(asked.failure("so whether they use the key is not known; --force asks nobody"));
    }
    let users: Vec<String> = asked.nodes_where(|node| uses(node, key.id));
    if users.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "key {} is in use between nodes, as {} says; put another one first in the file of each \
         node and give it a SIGHUP, or say --force",
        key.id,
        users.join(" and ")
    )))
}

fn uses(node: &KeyStanding, key: KeyId) -> bool {
    node.peers.iter().any(|(_, used)| *used == key.0)
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
