//! The log's word of what clients were denied: at once, and then at most once a minute, whatever
//! they ask for. `status` counts all.

use std::time::Duration;

use crate::access::{Access, Denial, Denials};
use crate::time::Instant;

/// How long one line is enough.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// What the log was told so far.
#[derive(Debug, Default)]
pub struct DenialLog {
    told: u64,
    told_at: Option<Instant>,
}

impl DenialLog {
    /// Tells the log of what was denied since it was told last, if that is long enough ago.
    pub fn update(&mut self, now: Instant, denials: &Denials, access: &Access) {
        if let Some(line) = self.next_line(now, denials, access) {
            log::warn!("{line}");
        }
    }

    fn next_line(&mut self, now: Instant, denials: &Denials, access: &Access) -> Option<String> {
        let (key, denial) = denials.last?;
        let total = denials.total();
        let is_soon = self.told_at.is_some_and(|at| now.since(at) < REPEAT_AFTER);
        if total == self.told || is_soon {
            return None;
        }
        let count = total - std::mem::replace(&mut self.told, total);
        self.told_at = Some(now);
        let who = match access.client(key) {
            Some(client) => format!("client {client} (key {key})"),
            None => format!("key {key}"),
        };
        let what = match denial {
            Denial::ReadOnly => "to write, and it may only read",
            Denial::OtherKeys => "for keys that it has no right to",
            Denial::ClientsKey => "to change the members, which takes a key of nodes",
        };
        let requests =
            if count == 1 { "a request was".into() } else { format!("{count} requests were") };
        Some(format!("{requests} denied for want of rights; the last was of {who}, {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Holder, Rights};

    #[test]
    fn a_flood_of_denials_is_a_line_a_minute() {
        let rights = Rights { write: false, prefix: String::new() };
        let access = Access::of([(2, Holder::Client("ann".into(), rights))]);
        let (mut log, mut denials) = (DenialLog::default(), Denials::default());
        let mut lines = Vec::new();
        for second in 0..150 {
            if second > 0 {
                denials.count(2, Denial::ReadOnly);
            }
            if second == 149 {
                denials.count(7, Denial::OtherKeys);
            }
            lines.extend(log.next_line(Instant(second * 1_000_000), &denials, &access));
        }
        let line = |what: &str, who: &str| {
            format!("{what} denied for want of rights; the last was of {who}")
        };
        let (ann, write) = ("client ann (key 2)", ", to write, and it may only read");
        let expected = ["a request was", "60 requests were", "60 requests were"];
        assert_eq!(lines, expected.map(|what| line(what, ann) + write));
        let last = log.next_line(Instant(181_000_000), &denials, &access);
        let keys = ", for keys that it has no right to";
        assert_eq!(last, Some(line("29 requests were", "key 7") + keys));
        assert_eq!(log.next_line(Instant(999_000_000), &denials, &access), None);
    }
}
