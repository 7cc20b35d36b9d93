//! What happens in the demo, told as it happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::compare::{self, Comparison};
use super::data::{self, Data};
use super::picture::{self, Colour, Standing};
use super::screen::Screen;
use super::traffic::{self, Record, Traffic};
use super::{PAUSE_LIMIT, Verdict, count, seconds, whole_milliseconds};
use crate::cli::exit::{Exit, Failure};
use crate::cli::local_cluster::{self, Cluster, NODES};
use crate::cli::patience::Patience;
use crate::cli::read::read_values;
use crate::cli::survey::{self, Survey};
use crate::types::{LogIndex, ServerId};
use crate::wire::{NodeStatus, Query, Role};

/// How long is waited for what takes a moment when all is well.
const STEP_MAX: Duration = Duration::from_secs(10);
/// How long loading may take.
const LOAD_MAX: Duration = Duration::from_secs(20);

/// The chart has columns of this width: so many before the kill, and so many in all.
const COLUMN: Duration = Duration::from_millis(50);
const COLUMNS_PER_SECOND: u32 = 20;
const COLUMNS_BEFORE_KILL: u32 = 20;
const COLUMNS: u32 = 60;

/// A demo under way.
pub(super) struct Story<'a> {
    pub(super) screen: Screen,
    pub(super) patience: &'a Patience,
    pub(super) cluster: Cluster,
    pub(super) data: Data,
    pub(super) started: Instant,
}

/// The kill, as it is remembered.
struct Kill {
    node: ServerId,
    /// On the record's clock.
    at: Duration,
    /// How far the node had committed.
    committed: LogIndex,
}

impl Story<'_> {
    /// Has it all happen.
    ///
    /// # Errors
    /// What did not happen, within its time.
    pub(super) fn tell(&mut self) -> Result<Verdict, Failure> {
        self.screen.say("quorate demo: three nodes, and what happens when their leader dies")?;
        self.give_birth()?;
        self.load()?;
        let traffic = self.start_traffic()?;
        let kill = self.kill_leader(&traffic)?;
        self.fail_over(&traffic, &kill)?;
        self.bring_back(&kill)?;
        let ended_at = traffic.now();
        let record = traffic.stop()?;
        let verdict = Verdict {
            acknowledged: self.data.pairs.len() + record.len(),
            pause: record.longest_pause(kill.at, ended_at),
            comparison: self.compare(&record)?,
        };
        self.announce(&verdict)?;
        Ok(verdict)
    }

    fn give_birth(&mut self) -> Result<(), Failure> {
        let lines = [
            "Three nodes start, each a process with a UDP port and a blank directory",
            "of its own. Once all have met, a majority of them elects a leader.",
        ];
        self.screen.step(1, "Birth", &lines)?;
        let started = Instant::now();
        self.screen.live("the nodes start");
        self.cluster.start(self.patience)?;
        let survey = self.await_survey("no leader was elected", |survey| {
            survey.answers().filter(|status| status.leader_id.is_some()).count() == NODES
        })?;
        self.show_nodes(&survey, Some(started))
    }

    fn load(&mut self) -> Result<(), Failure> {
        let first = format!("{} go in. A write is acknowledged only when", self.data.name);
        let second = "a majority has it on disk, so no single machine can take it away again.";
        self.screen.step(2, "Load", &[&first, second])?;
        let started = Instant::now();
        let total = self.data.pairs.len();
        data::load(&self.cluster.flags(), &self.data.pairs, |acknowledged| {
            self.patience.check()?;
            self.screen.live(&format!("{} of {}", count(acknowledged), count(total)));
            if started.elapsed() < LOAD_MAX { Ok(()) } else { Err(too_much(acknowledged, total)) }
        })?;
        let took = milliseconds(started.elapsed());
        self.screen.tell(&format!("{} writes acknowledged in {took}.", count(total)))?;
        self.show_example()
    }

    /// Asks a follower: whoever is asked, the answer is the newest.
    fn show_example(&mut self) -> Result<(), Failure> {
        let survey = survey::take(&self.cluster.flags());
        let follower = survey.answers().find(|status| status.role == Role::Follower);
        let asked = follower.map_or(ServerId(1), |status| status.id);
        let query = Query::Get { key: self.data.example.clone() };
        let mut found = Bytes::new();
        read_values(&self.cluster.flags_of(asked), query, false, |value| {
            found = value.value;
            Ok(())
        })?;
        let (key, value) = (shorten(&self.data.example), shorten(&found));
        self.screen.tell(&format!("Any node may be asked. Node {asked} says: {key} = {value}"))
    }

    fn start_traffic(&mut self) -> Result<Traffic, Failure> {
        let line = format!(
            "{} clients write, each a new key as soon as its last write is acknowledged.",
            traffic::CLIENTS
        );
        self.screen.step(3, "Traffic", &[&line])?;
        let traffic = Traffic::start(&self.cluster.flags())?;
        self.watch_until(&traffic, COLUMN * (COLUMNS_BEFORE_KILL + 5))?;
        let (writes, time) = (traffic.record().len(), traffic.now());
        self.screen.tell(&format!(
            "{} writes acknowledged in {}.",
            count(writes),
            seconds(time)
        ))?;
        Ok(traffic)
    }

    fn kill_leader(&mut self, traffic: &Traffic) -> Result<Kill, Failure> {
        let nobody = Failure::no_answer("there is no leader to kill");
        let survey = self.await_survey("no node led", |survey| survey.leader().is_some())?;
        let leader = survey.leader().ok_or(nobody)?;
        let process = self.cluster.process_id(leader.id).unwrap_or_default();
        let at = traffic.now();
        self.cluster.kill(leader.id)?;
        let first =
            format!("Node {} leads, so 'kill -9 {process}' takes it: no farewell,", leader.id);
        let second = "nothing flushed, as if somebody had pulled the plug.";
        self.screen.step(4, "Kill", &[&first, second])?;
        Ok(Kill { node: leader.id, at, committed: leader.commit_index })
    }

    fn fail_over(&mut self, traffic: &Traffic, kill: &Kill) -> Result<(), Failure> {
        let lines = [
            "The others miss its heartbeats, and two of three are enough to elect one of",
            "themselves. The clients find it, and send again what was not answered.",
            "Acknowledged writes per 50 ms:",
        ];
        self.screen.step(5, "Fail over", &lines)?;
        self.watch_until(traffic, kill.at + COLUMN * (COLUMNS - COLUMNS_BEFORE_KILL))?;
        self.await_writes(traffic, kill)?;
        let record = traffic.record();
        self.show_chart(&record, kill)?;
        let pause = record.longest_pause(kill.at, traffic.now());
        let colour = if pause < PAUSE_LIMIT { Colour::Green } else { Colour::Red };
        let paused = format!("Writes paused for {}.", milliseconds(pause));
        let paused = self.screen.palette.paint(colour, &paused);
        self.screen.tell(&format!("{paused} Nobody had to do anything."))?;
        let survey = survey::take(&self.cluster.flags());
        self.show_nodes(&survey, None)
    }

    /// However long writes pause: only when they never go on, the story cannot either.
    fn await_writes(&mut self, traffic: &Traffic, kill: &Kill) -> Result<(), Failure> {
        let resumed = self.patience.wait(STEP_MAX, || {
            self.cluster.check()?;
            Ok((traffic.record().count_after(kill.at) > traffic::CLIENTS).then_some(()))
        })?;
        resumed.ok_or_else(|| {
            let nodes = survey::take(&self.cluster.flags()).sentence();
            let sentence = format!("no write since node {} was killed: {nodes}", kill.node);
            Failure::new(Exit::Negative, sentence)
        })
    }

    fn show_chart(&mut self, record: &Record, kill: &Kill) -> Result<(), Failure> {
        let from = kill.at.saturating_sub(COLUMN * COLUMNS_BEFORE_KILL);
        let counts = record.counts(from, COLUMN, COLUMNS as usize);
        let (kill, second) = (COLUMNS_BEFORE_KILL as usize, COLUMNS_PER_SECOND as usize);
        let words = [(kill - second, "-1 s"), (kill, "kill -9"), (kill + second, "+1 s")];
        let chart = picture::chart(&counts, &words, self.screen.palette);
        chart.iter().try_for_each(|line| self.screen.tell(line))
    }

    fn bring_back(&mut self, kill: &Kill) -> Result<(), Failure> {
        let node = kill.node;
        let first = format!("Node {node} starts again on its old directory, while writes go on.");
        let second = "It learns who leads, and is sent what it missed.";
        self.screen.step(6, "Return", &[&first, second])?;
        let started = Instant::now();
        self.cluster.start_node(node)?;
        let survey = self.await_survey("the node did not come back", |survey| {
            survey.answers().any(|status| status.id == node)
        })?;
        let target = survey.answers().map(|status| status.commit_index).max().unwrap_or_default();
        let survey = self.await_survey("the node did not catch up", |survey| {
            survey.answers().any(|status| status.id == node && status.commit_index >= target)
        })?;
        let missed = count(usize::try_from(target.0.saturating_sub(kill.committed.0)).unwrap_or(0));
        let took = milliseconds(started.elapsed());
        self.screen
            .tell(&format!("{took} later it had all {missed} entries that it had missed."))?;
        self.show_nodes(&survey, None)
    }

    fn compare(&mut self, record: &Record) -> Result<Comparison, Failure> {
        let line = "The clients stop. Each node is asked, for itself, for all that it holds.";
        self.screen.step(7, "Compare", &[line])?;
        self.await_survey("the nodes did not come to one index", |survey| {
            let last = survey.answers().map(|status| status.last_index).max();
            let is_whole = |status: &&NodeStatus| Some(status.commit_index) == last;
            survey.answers().filter(is_whole).count() == NODES
        })?;
        let contents = local_cluster::ids()
            .map(|id| compare::read_content(&self.cluster.flags_of(id)))
            .collect::<Result<Vec<_>, _>>()?;
        let acknowledged: BTreeMap<Bytes, Bytes> =
            self.data.pairs.clone().into_iter().chain(record.pairs()).collect();
        let comparison = compare::compare(&acknowledged, &contents);
        let keys: Vec<String> = local_cluster::ids()
            .zip(&contents)
            .map(|(id, content)| format!("node {id}: {} keys", count(content.len())))
            .collect();
        let alike = if comparison.equal { "all alike" } else { "NOT alike" };
        self.screen.tell(&format!("{}; {alike}.", keys.join(", ")))?;
        if record.unacknowledged > 0 {
            let given_up = count(record.unacknowledged);
            self.screen.tell(&format!("{given_up} writes were given up without an answer."))?;
        }
        Ok(comparison)
    }

    fn announce(&mut self, verdict: &Verdict) -> Result<(), Failure> {
        let (colour, sign) =
            if verdict.is_good() { (Colour::Green, '✓') } else { (Colour::Red, '✗') };
        let missing = match verdict.comparison.missing.len() {
            0 => "none lost".to_owned(),
            some => format!("{} LOST", count(some)),
        };
        let alike = if verdict.comparison.equal { "nodes alike" } else { "nodes NOT alike" };
        let sentence = format!(
            "{sign} {} writes acknowledged, {missing}, {} pause, {alike}, in {}",
            count(verdict.acknowledged),
            milliseconds(verdict.pause),
            seconds(self.started.elapsed()),
        );
        self.screen.say("")?;
        let sentence = self.screen.palette.paint(colour, &sentence);
        self.screen.say(&sentence)
    }

    /// Asks all nodes again and again until what they say is as it should be.
    fn await_survey(
        &mut self,
        otherwise: &str,
        is_well: impl Fn(&Survey) -> bool,
    ) -> Result<Survey, Failure> {
        let flags = self.cluster.flags();
        let found = self.patience.wait(STEP_MAX, || {
            self.cluster.check()?;
            let survey = survey::take(&flags);
            let standings = standings(&survey, &self.cluster);
            self.screen.live(&picture::nodes(&standings, self.screen.palette));
            Ok(is_well(&survey).then_some(survey))
        })?;
        found.ok_or_else(|| {
            let nodes = survey::take(&flags).sentence();
            let waited = STEP_MAX.as_secs();
            Failure::no_answer(format!("{otherwise} within {waited} s: {nodes}"))
        })
    }

    /// Shows the last seconds of traffic as they go by, up to the time on the record's clock.
    fn watch_until(&mut self, traffic: &Traffic, time: Duration) -> Result<(), Failure> {
        let remaining = time.saturating_sub(traffic.now());
        let watched = self.patience.wait(remaining, || {
            self.cluster.check()?;
            let record = traffic.record();
            let from = traffic.now().saturating_sub(COLUMN * (COLUMNS + 1));
            let counts = record.counts(from, COLUMN, COLUMNS as usize);
            let line = picture::sparkline(&counts, self.screen.palette);
            self.screen.live(&format!("{line} {}", count(record.len())));
            Ok(None::<()>)
        });
        watched.map(|_| ())
    }

    fn show_nodes(&mut self, survey: &Survey, since: Option<Instant>) -> Result<(), Failure> {
        let standings = standings(survey, &self.cluster);
        let nodes = picture::nodes(&standings, self.screen.palette);
        let term = survey.leader().map_or(0, |leader| leader.term.0);
        let after =
            since.map_or(String::new(), |since| format!(", after {}", seconds(since.elapsed())));
        self.screen.tell(&format!("{nodes}term {term}{after}"))
    }
}

/// How each node is, by what it says and by what was done to it.
fn standings(survey: &Survey, cluster: &Cluster) -> Vec<(ServerId, Standing)> {
    let standing = |id: ServerId| match survey.answers().find(|status| status.id == id) {
        _ if cluster.process_id(id).is_none() => Standing::Dead,
        None => Standing::Silent,
        Some(status) if status.role == Role::Leader => Standing::Leader,
        Some(status) if status.leader_id.is_some() => Standing::Follower,
        Some(_) => Standing::Electing,
    };
    local_cluster::ids().map(|id| (id, standing(id))).collect()
}

fn too_much(acknowledged: usize, total: usize) -> Failure {
    let seconds = LOAD_MAX.as_secs();
    Failure::no_answer(format!(
        "{acknowledged} of {total} lines were acknowledged in {seconds} s; the demo takes fewer"
    ))
}

/// "312 ms".
fn milliseconds(duration: Duration) -> String {
    format!("{} ms", whole_milliseconds(duration))
}

/// Bytes for a line, of which a long rest is left out.
fn shorten(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 24;
    let text = bytes.escape_ascii().to_string();
    if text.len() <= SHOWN_MAX { text } else { format!("{}…", &text[..SHOWN_MAX]) }
}
