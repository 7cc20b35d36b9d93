//! From words to flags and operands, the same way for every command.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use getopts::{Matches, Options, ParsingStyle};

use super::exit::Failure;
use crate::daemon::{fastest_cipher, life_secret, read_keys};
use crate::disk::SegmentSize;
use crate::link::REDUNDANCY_MAX;
use crate::seal::{KeyRing, Sealer, SealerConfig};
use crate::types::{ClusterHash, NODES_MAX, ServerId};
use crate::wire::{CLUSTER_NAME_BYTES_MAX, is_cluster_name};

/// The address that is asked, and listened on, unless others are given.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:9717";
/// The cluster's name unless another is given.
pub const DEFAULT_CLUSTER: &str = "quorate";
/// Where servers are listed that no flag gives.
const SERVERS_VARIABLE: &str = "QUORATE_SERVERS";
/// Where keys are that no flag names.
const KEY_FILE_VARIABLE: &str = "QUORATE_KEY_FILE";
/// More copies than this help nobody.
const REDUNDANCY_MOST: u8 = 9;
/// No length of time on a command line reaches this.
const SECONDS_MAX: u64 = 1_000_000;
/// Stands before an operand that begins with a minus, so that it is not taken for a flag.
/// No word of a command line can hold this character.
const OPERAND_MARK: char = '\0';

/// What a command line says.
#[derive(Debug)]
pub struct Words {
    matches: Matches,
    /// What is not a flag, in order.
    pub operands: Vec<String>,
}

/// Parses the words after a command's name. Flags may stand before or after operands,
/// `--` ends them, and a negative number is an operand.
pub fn parse(mut options: Options, words: &[String]) -> Result<Words, Failure> {
    options.parsing_style(ParsingStyle::FloatingFrees);
    options.optflag("", "help", "");
    let marked = words.iter().map(|word| {
        let is_number = word
            .strip_prefix('-')
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
        if is_number { format!("{OPERAND_MARK}{word}") } else { word.clone() }
    });
    let matches = options.parse(marked).map_err(|error| Failure::usage(explain(&error)))?;
    let operands = matches.free.iter().map(|word| unmark(word)).collect();
    Ok(Words { matches, operands })
}

fn unmark(word: &str) -> String {
    word.strip_prefix(OPERAND_MARK).unwrap_or(word).to_owned()
}

fn explain(error: &getopts::Fail) -> String {
    match error {
        getopts::Fail::UnrecognizedOption(flag) => {
            format!(
                "there is no flag '{}'; --help lists those that there are, and what stands after \
                 -- is no flag",
                dashed(flag)
            )
        }
        getopts::Fail::ArgumentMissing(flag) => format!("{} needs a value", dashed(flag)),
        getopts::Fail::OptionMissing(flag) => format!("{} is required", dashed(flag)),
        getopts::Fail::OptionDuplicated(flag) => {
            format!("{} stands twice; it can be given once", dashed(flag))
        }
        getopts::Fail::UnexpectedArgument(flag) => format!("{} takes no value", dashed(flag)),
    }
}

fn dashed(flag: &str) -> String {
    if flag.chars().count() == 1 { format!("-{flag}") } else { format!("--{flag}") }
}

impl Words {
    /// Whether the flag stands there.
    pub fn has(&self, flag: &str) -> bool {
        self.matches.opt_present(flag)
    }

    /// The flag's value.
    pub fn value(&self, flag: &str) -> Option<String> {
        self.matches.opt_str(flag).map(|value| unmark(&value))
    }

    /// All values of a flag that may be repeated.
    pub fn values(&self, flag: &str) -> Vec<String> {
        self.matches.opt_strs(flag).iter().map(|value| unmark(value)).collect()
    }

    /// The flag's value as a number, or what stands in for it.
    pub fn number<T: std::str::FromStr>(&self, flag: &str, otherwise: T) -> Result<T, Failure> {
        let Some(value) = self.value(flag) else { return Ok(otherwise) };
        value.parse().map_err(|_| {
            Failure::usage(format!("--{flag} is '{value}', which is not a number that fits there"))
        })
    }

    /// The flag's value as a number of bytes, above zero; K, M and G stand for powers of 1024.
    pub fn bytes(&self, flag: &str, otherwise: u64) -> Result<u64, Failure> {
        let Some(value) = self.value(flag) else { return Ok(otherwise) };
        let unit = ["K", "M", "G"].iter().position(|unit| value.ends_with(unit));
        let digits = value.trim_end_matches(['K', 'M', 'G']);
        let shift = unit.map_or(0, |place| 10 * (place + 1));
        let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        bytes.filter(|bytes| *bytes > 0).ok_or_else(|| {
            Failure::usage(format!(
                "--{flag} is '{value}'; a number of bytes above zero is expected, as in 512M (K, \
                 M and G may stand behind it)"
            ))
        })
    }

    /// The flag's value as a length of time in seconds, decimals allowed.
    pub fn seconds(&self, flag: &str, otherwise: f64) -> Result<Duration, Failure> {
        let seconds: f64 = self.number(flag, otherwise)?;
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|duration| !duration.is_zero() && duration.as_secs() < SECONDS_MAX)
            .ok_or_else(|| {
                Failure::usage(format!(
                    "--{flag} is {seconds}; it must be a time above zero and below \
                     {SECONDS_MAX}, in seconds"
                ))
            })
    }

    /// Adds the flag that lets any bytes be a key.
    pub fn add_key_flag(options: &mut Options) {
        options.optflag("", "key-base64", "");
    }

    /// The key that the operand is, or with `--key-base64` stands for.
    pub fn key(&self, operand: String) -> Result<Bytes, Failure> {
        if !self.has("key-base64") {
            return Ok(Bytes::from(operand));
        }
        let wrong = |_| Failure::usage(format!("'{operand}' is no base64; /g== would be one"));
        STANDARD.decode(&operand).map(Bytes::from).map_err(wrong)
    }

    /// Exactly the operands that are expected, by their names.
    pub fn expect_operands<const N: usize>(
        &self,
        names: [&str; N],
    ) -> Result<[String; N], Failure> {
        <[String; N]>::try_from(self.operands.clone()).map_err(|operands| {
            let found = match operands.as_slice() {
                [] => "no operand".to_owned(),
                [one] => format!("1 operand ({one})"),
                several => format!("{} operands ({})", several.len(), several.join(" ")),
            };
            let expected = if N == 0 { "none".to_owned() } else { names.join(" ") };
            Failure::usage(format!("found {found}, expected {expected}; --help shows an example"))
        })
    }
}

/// The flags that every client command has.
#[derive(Clone, Debug)]
pub struct ClientFlags {
    /// The nodes to ask.
    pub servers: Vec<SocketAddr>,
    /// The cluster's name.
    pub cluster: String,
    /// The keys that seal what is sent; none: it is not sealed.
    pub keys: Option<Arc<KeyRing>>,
    /// How long one operation may take.
    pub timeout: Duration,
    /// The same, if the command line says it.
    pub given_timeout: Option<Duration>,
    /// How often a frame may be sent before anything is known of its loss.
    pub redundancy_max: u8,
    /// Output is for machines.
    pub json: bool,
}

impl ClientFlags {
    /// Adds the flags to a command's own.
    pub fn add_to(options: &mut Options) {
        options.optmulti("", "server", "", "ADDR:PORT");
        options.optopt("", "cluster", "", "NAME");
        options.optopt("", "key-file", "", "FILE");
        options.optopt("", "timeout", "", "SECONDS");
        options.optopt("", "redundancy-max", "", "N");
        options.optflag("", "json", "");
    }

    /// Reads the flags. Names of hosts are resolved here, once.
    pub fn read(words: &Words) -> Result<Self, Failure> {
        let timeout = words.seconds("timeout", 5.0)?;
        Ok(Self {
            servers: of_one_family(resolve_all(&listed_servers(words)?)?)?,
            cluster: cluster(words)?,
            keys: key_file(words).map(|path| read_keys(&path)).transpose()?,
            timeout,
            given_timeout: words.has("timeout").then_some(timeout),
            redundancy_max: redundancy_max(words)?,
            json: words.has("json"),
        })
    }

    /// What seals one client's frames, if there are keys.
    pub fn sealer(&self) -> Option<Sealer> {
        let cluster = self.cluster.clone();
        let config = SealerConfig { own: ServerId::NONE, cluster, cipher: fastest_cipher() };
        Some(Sealer::new(config, Arc::clone(self.keys.as_ref()?), life_secret()))
    }

    /// The cluster's name in short.
    pub fn cluster_hash(&self) -> ClusterHash {
        ClusterHash::of(&self.cluster)
    }
}

/// How often a frame may be sent.
pub fn redundancy_max(words: &Words) -> Result<u8, Failure> {
    let max = words.number("redundancy-max", REDUNDANCY_MAX)?;
    if (1..=REDUNDANCY_MOST).contains(&max) {
        return Ok(max);
    }
    Err(Failure::usage(format!(
        "--redundancy-max is {max}; 1, nothing is sent twice, to {REDUNDANCY_MOST} is expected"
    )))
}

/// The file with keys, by the flag or the variable.
pub fn key_file(words: &Words) -> Option<PathBuf> {
    let variable = || std::env::var_os(KEY_FILE_VARIABLE).filter(|path| !path.is_empty());
    words.value("key-file").map(PathBuf::from).or_else(|| variable().map(PathBuf::from))
}

/// The cluster's name.
pub fn cluster(words: &Words) -> Result<String, Failure> {
    let name = words.value("cluster").unwrap_or_else(|| DEFAULT_CLUSTER.to_owned());
    if is_cluster_name(&name) {
        return Ok(name);
    }
    Err(Failure::usage(format!(
        "--cluster {name:?}: a name of 1 to {CLUSTER_NAME_BYTES_MAX} ASCII characters without \
         spaces is expected"
    )))
}

fn listed_servers(words: &Words) -> Result<Vec<String>, Failure> {
    let given = words.values("server");
    if !given.is_empty() {
        return Ok(given);
    }
    listed_by_variable(&std::env::var(SERVERS_VARIABLE).unwrap_or_default())
}

fn listed_by_variable(variable: &str) -> Result<Vec<String>, Failure> {
    if variable.is_empty() {
        return Ok(vec![DEFAULT_ADDRESS.to_owned()]);
    }
    let listed: Vec<String> = variable
        .split(',')
        .map(str::trim)
        .filter(|server| !server.is_empty())
        .map(Into::into)
        .collect();
    if listed.is_empty() {
        return Err(Failure::usage(format!(
            "{SERVERS_VARIABLE} is '{variable}', which names no server; ADDR:PORT,ADDR:PORT is \
             expected"
        )));
    }
    Ok(listed)
}

fn resolve_all(servers: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    let mut addresses = Vec::new();
    for server in servers {
        let address = resolve(server)?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// A client asks all servers from one socket, which reaches those of its own family.
fn of_one_family(servers: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Failure> {
    let is_other = |server: &&SocketAddr| server.is_ipv4() != servers[0].is_ipv4();
    match servers.iter().find(is_other) {
        None => Ok(servers),
        Some(other) => Err(Failure::usage(format!(
            "the servers {} and {other} cannot be asked from one socket; give addresses of one \
             family, IPv4 or IPv6",
            servers[0]
        ))),
    }
}

/// The address that the text names.
pub fn resolve(server: &str) -> Result<SocketAddr, Failure> {
    let wrong = |why: String| {
        Failure::usage(format!(
            "'{server}' is not the address of a node: {why}; expected ADDR:PORT"
        ))
    };
    server
        .to_socket_addrs()
        .map_err(|error| wrong(error.to_string()))?
        .next()
        .ok_or_else(|| wrong("the name has no address".into()))
}

/// The node that the command is for.
pub fn own_id(words: &Words) -> Result<ServerId, Failure> {
    node_id("--id", &required(words, "id", "the node's number, as in --id 1")?)
}

/// The directory that the command is for.
pub fn data_dir(words: &Words) -> Result<PathBuf, Failure> {
    required(words, "data-dir", "a directory, as in --data-dir data").map(PathBuf::from)
}

fn required(words: &Words, flag: &str, what: &str) -> Result<String, Failure> {
    let missing = || Failure::usage(format!("--{flag} is missing; it is {what}"));
    words.value(flag).ok_or_else(missing)
}

/// The node that the text numbers.
pub fn node_id(flag: &str, text: &str) -> Result<ServerId, Failure> {
    match text.parse() {
        Ok(id) if id > 0 => Ok(ServerId(id)),
        _ => Err(Failure::usage(format!(
            "{flag} {text}: a node's number is expected, from 1 to {}",
            u16::MAX
        ))),
    }
}

/// The nodes that `--nodes` numbers, the own one among them; none: the flag is not there.
pub fn nodes(words: &Words, own: ServerId) -> Result<Option<BTreeSet<ServerId>>, Failure> {
    let Some(typed) = words.value("nodes") else { return Ok(None) };
    let numbered = typed.split(',').map(|id| node_id("--nodes", id));
    let nodes = numbered.collect::<Result<Vec<_>, _>>()?;
    let distinct: BTreeSet<ServerId> = nodes.iter().copied().collect();
    let wrong = if distinct.len() < nodes.len() {
        "names a node twice".to_owned()
    } else if distinct.len() > NODES_MAX {
        format!("names {} nodes, and a cluster has at most {NODES_MAX}", nodes.len())
    } else if !distinct.contains(&own) {
        format!("must name node {own} too")
    } else {
        return Ok(Some(distinct));
    };
    Err(Failure::usage(format!("--nodes {typed} {wrong}")))
}

/// How long the segments of a new directory are.
pub fn segment_size(words: &Words) -> Result<SegmentSize, Failure> {
    let bytes = words.bytes("segment-size", SegmentSize::default().bytes().into())?;
    SegmentSize::new(bytes).ok_or_else(|| {
        Failure::usage(format!(
            "--segment-size {bytes}: a multiple of 512 is expected, from {} to {}",
            SegmentSize::BYTES_MIN,
            SegmentSize::BYTES_MAX
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_names_nobody_is_no_default() {
        assert_eq!(listed_by_variable("").unwrap(), [DEFAULT_ADDRESS]);
        assert_eq!(listed_by_variable("a:1, b:2,").unwrap(), ["a:1", "b:2"]);
        let failure = listed_by_variable(" ,").unwrap_err();
        assert!(failure.sentence.contains("names no server"), "{failure}");
    }
}
