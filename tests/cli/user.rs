//! A node that root starts becomes another user once it has its socket, and no node keeps rights
//! that it does not need.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::processes::{Node, eventually, quorate};

/// Every system has this user, and nothing is its own.
const NAME: &str = "nobody";

/// A directory that other users may pass, with a key of nodes in it.
fn with_key() -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("it is ours");
    let key = path(&directory, "key");
    quorate("", &["keygen", &key], b"").expect(0);
    (directory, key)
}

fn path(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).display().to_string()
}

/// Starts a node that is to become the user, and waits for what it says to that.
fn start(directory: &TempDir, data: &str, key: &str) -> Node {
    let flags = ["--id", "1", "--data-dir", data, "--listen", "127.0.0.1:0", "--user", NAME];
    let flags = [&flags[..], &["--key-file", key]].concat();
    Node::start(&flags, &directory.path().join("log"))
}

fn owner(path: &str) -> u32 {
    fs::metadata(path).expect("it is there").uid()
}

/// What the system says of each thread of the process.
fn threads(node: &Node) -> Vec<String> {
    let tasks = format!("/proc/{}/task", node.child.id());
    let tasks = fs::read_dir(tasks).expect("the node runs");
    let status = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).ok();
    tasks.filter_map(|task| status(task.ok()?)).collect()
}

/// What stands behind the name, with one space between words.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let words = line.expect("the system says it").split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn it_becomes_the_user_for_good_and_serves() {
    let (directory, key) = with_key();
    let data = path(&directory, "new/data");
    let mut node = start(&directory, &data, &key);
    if !geteuid().is_root() {
        assert_eq!(node.wait_for_exit(), 2, "{}", node.said());
        assert!(node.said().contains("only root can become another user"), "{}", node.said());
        return;
    }
    // The key is root's, and the node would not be able to read it again.
    assert_eq!(node.wait_for_exit(), 2, "{}", node.said());
    assert!(node.said().contains("it must be the file of the user"), "{}", node.said());

    let (uid, gid) = (owner(&data), fs::metadata(&data).expect("it is there").gid());
    assert!(uid != 0 && owner(&path(&directory, "new")) == uid, "what it makes is the user's");
    chown(&key, Some(uid), None).expect("root may give it away");
    let mut node = start(&directory, &data, &key);
    let address = node.wait_until_ready();
    let threads = threads(&node);
    assert!(threads.len() > 3, "{threads:?}");
    for status in threads {
        assert_eq!(field(&status, "Uid"), format!("{uid} {uid} {uid} {uid}"), "{status}");
        assert_eq!(field(&status, "Gid"), format!("{gid} {gid} {gid} {gid}"), "{status}");
        let is_its_group = |group: &str| group == gid.to_string();
        assert!(field(&status, "Groups").split(' ').all(is_its_group), "{status}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(field(&status, set), "0".repeat(16), "{set}: {status}");
        }
    }
    // Where `fs.suid_dumpable` is 1, the system gives it away to whom the process becomes.
    let memory = format!("/proc/{}/mem", node.child.id());
    assert_eq!(owner(&memory), 0, "only root gets at the memory");
    let words = ["put", "k", "v", "--key-file", &key];
    quorate(&address, &words, b"").expect(0);
    assert!(fs::read_dir(&data).expect("root may").all(|file| {
        owner(&file.expect("it can be listed").path().display().to_string()) == uid
    }));

    // What it reads again it reads as that user.
    kill_process(Pid::from_child(&node.child), Signal::HUP).expect("the node runs");
    eventually("the keys are read again", || node.said().contains("was read again").then_some(()));
    assert_eq!(node.terminate().0, 0, "{}", node.said());

    chown(&data, Some(0), None).expect("root may take it");
    let mut node = start(&directory, &data, &key);
    assert_eq!(node.wait_for_exit(), 4, "{}", node.said());
    assert!(node.said().contains("`chown -R nobody "), "{}", node.said());
}

/// The thread of the allocator is there before the program begins, and runs none of its code.
#[test]
fn without_another_user_it_keeps_what_files_of_others_take() {
    let (directory, key) = with_key();
    let data = path(&directory, "data");
    let flags = ["--id", "1", "--data-dir", &data, "--listen", "127.0.0.1:0", "--key-file", &key];
    let node = Node::start(&flags, &directory.path().join("log"));
    node.wait_until_ready();
    let is_root = geteuid().is_root();
    assert_eq!(node.said().contains("--user NAME lets it be another"), is_root, "{}", node.said());
    let most = if is_root { 1 << 1 } else { 0 };
    let ours = threads(&node).into_iter().filter(|status| !status.starts_with("Name:\tjemalloc"));
    for status in ours {
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let capabilities = u64::from_str_radix(&field(&status, set), 16).expect("it is hex");
            assert_eq!(capabilities & !most, 0, "{set}: {status}");
        }
    }
}

#[test]
fn whom_it_cannot_become_is_named() {
    let (directory, key) = with_key();
    let data = path(&directory, "data");
    for (name, expected) in
        [("nobody-of-this-name", "has no such user"), ("root", "a user that is not root")]
    {
        let flags = ["run", "--id", "1", "--data-dir", &data, "--user", name];
        let ran = quorate("", &[&flags[..], &["--key-file", &key]].concat(), b"").expect(2);
        assert!(ran.err.contains(expected), "{}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    }
    assert!(fs::metadata(&data).is_err(), "nothing was made");
}
