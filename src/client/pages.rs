//! The pages of an answer: which have come, which are under way, which were lost, and how many
//! may be under way at once.
//!
//! A page is known to be lost when one has come that was asked for later, as pieces of an
//! operation are (`operations.rs`); so each that is missing is asked for again within a round
//! trip, whatever else is missing, and as often as it is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::link::RoundTrip;
use crate::time::Instant;

/// A page is lost when one that was asked for so many later has arrived.
const REORDERED_MAX: u64 = 4;
/// No page is asked for that is so far ahead of the first missing one: those between are held.
const AHEAD_MAX: u32 = 256;
/// How many pages may be under way: at first, at least and at most.
const WINDOW_FIRST: u16 = 16;
const WINDOW_MIN: u16 = 4;
const WINDOW_MAX: u16 = 32;
/// A queue in which frames wait for longer than this, and a quarter of a round trip, is too long.
/// A process that does not run for a moment looks like a shorter one.
const QUEUE_MAX: Duration = Duration::from_millis(5);

/// Pages that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub first: u32,
    pub count: u16,
}

/// How far the pages of one answer have come.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Pages that arrived before others that precede them, and whether they are the last.
    held: BTreeMap<u32, (Bytes, bool)>,
    /// All pages before this one were handed out.
    next: u32,
    /// All pages before this one were asked for.
    asked: u32,
    /// The last one was seen.
    ends: bool,
    /// Pages that were asked for and have not come, by the order in which they were.
    under_way: BTreeMap<u32, u64>,
    /// How often a page was asked for.
    askings: u64,
    /// The order of the newest asking that was answered.
    newest_answered: u64,
    window: Window,
}

impl Pages {
    /// The first page that was not handed out.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Forgets what has come and not been handed out: the answer is another.
    pub fn begin_anew(&mut self) {
        assert_eq!(self.next, 0, "pages of another answer were handed out");
        *self = Self { window: std::mem::take(&mut self.window), ..Self::default() };
    }

    /// Whether the page was asked for, and may still be missing.
    pub fn wants(&self, page: u32) -> bool {
        (self.next..self.asked).contains(&page)
    }

    /// A page has come, on a way that takes this time.
    pub fn take_in(&mut self, page: u32, bytes: Bytes, last: bool, way: &RoundTrip, now: Instant) {
        if let Some(order) = self.under_way.remove(&page) {
            self.newest_answered = self.newest_answered.max(order);
            self.window.on_page(way, now);
        }
        if last {
            self.ends = true;
            // Those behind it do not exist.
            self.under_way.retain(|number, _| *number < page);
        }
        self.held.insert(page, (bytes, last));
    }

    /// The next page to be handed out, and whether it is the last.
    pub fn pop(&mut self) -> Option<(Bytes, bool)> {
        let page = self.held.remove(&self.next)?;
        self.next += 1;
        Some(page)
    }

    /// What to ask for now: what was lost, and as much more as the window has room for.
    pub fn due(&mut self) -> Vec<Run> {
        let newest = self.newest_answered;
        let lost = self.under_way.iter().filter(|(_, order)| **order + REORDERED_MAX <= newest);
        let mut due: Vec<u32> = lost.map(|(page, _)| *page).collect();
        let window = usize::from(self.window.pages);
        if !self.ends && self.under_way.len() <= window / 2 {
            let room = u32::try_from(window - self.under_way.len()).unwrap_or(u32::MAX);
            let beyond = self.asked.saturating_add(room).min(self.next.saturating_add(AHEAD_MAX));
            due.extend(self.asked..beyond);
            self.asked = self.asked.max(beyond);
        }
        self.ask(&due)
    }

    /// What to ask for at first, or when nothing has come for a while: what is missing of all
    /// that was asked for.
    pub fn missing(&mut self) -> Vec<Run> {
        if self.under_way.is_empty() {
            return self.due();
        }
        let missing: Vec<u32> = self.under_way.keys().copied().collect();
        self.ask(&missing)
    }

    /// Notes that these pages are asked for now, and puts those together that follow each other.
    fn ask(&mut self, pages: &[u32]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for &page in pages {
            self.askings += 1;
            self.under_way.insert(page, self.askings);
            match runs.last_mut() {
                Some(run) if run.first + u32::from(run.count) == page => run.count += 1,
                _ => runs.push(Run { first: page, count: 1 }),
            }
        }
        runs
    }
}

/// How many pages may be under way: more until frames wait in a queue, and then fewer, so that
/// what others send over the same link need not wait behind them.
#[derive(Debug)]
struct Window {
    pages: u16,
    /// A queue was seen: from now on it grows by one for as many pages as it has.
    is_steady: bool,
    arrived: u16,
    shrunk_at: Option<Instant>,
}

impl Default for Window {
    fn default() -> Self {
        Self { pages: WINDOW_FIRST, is_steady: false, arrived: 0, shrunk_at: None }
    }
}

impl Window {
    fn on_page(&mut self, way: &RoundTrip, now: Instant) {
        let bearable = QUEUE_MAX + way.least() / 4;
        let [usual, latest] = way.queued();
        if usual > bearable {
            self.shrink(way, now);
        } else if latest <= bearable {
            self.grow();
        }
    }

    /// At most once in a round trip: before, nothing shows what has become of it.
    fn shrink(&mut self, way: &RoundTrip, now: Instant) {
        let once = way.smoothed().unwrap_or_default();
        if self.shrunk_at.is_none_or(|at| now.since(at) >= once) {
            self.shrunk_at = Some(now);
            self.is_steady = true;
            self.arrived = 0;
            self.pages = (self.pages / 2).max(WINDOW_MIN);
        }
    }

    fn grow(&mut self) {
        self.arrived += 1;
        if !self.is_steady || self.arrived >= self.pages {
            self.arrived = 0;
            self.pages = (self.pages + 1).min(WINDOW_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn run(first: u32, count: u16) -> Run {
        Run { first, count }
    }

    /// Pages come, on a way of which nothing is known. Returns what is asked for then.
    fn come(pages: &mut Pages, numbers: impl IntoIterator<Item = u32>) -> Vec<Run> {
        for number in numbers {
            pages.take_in(number, Bytes::new(), false, &RoundTrip::default(), Instant(1));
        }
        while pages.pop().is_some() {}
        pages.due()
    }

    #[test]
    fn each_page_that_was_overtaken_is_asked_for_again_as_often_as_it_is() {
        let mut pages = Pages::default();
        assert_eq!(pages.missing(), [run(0, 16)]);
        let lost = [1, 3, 4];
        let arrive = (0..9).filter(|page| !lost.contains(page));
        let again = come(&mut pages, arrive);
        assert_eq!(again[..2], [run(1, 1), run(3, 2)]);
        assert_eq!(pages.due(), [], "they are under way again");
        // Page 1 is lost once more, which those show that were asked for after it.
        let newer = again[2].first;
        let further = come(&mut pages, (newer..newer + 4).chain([3, 4]));
        assert!(further.contains(&run(1, 1)), "{further:?}");
        assert_eq!(come(&mut pages, [1]).iter().filter(|run| run.first < newer).count(), 0);
    }

    #[test]
    fn after_a_silence_only_what_is_missing_is_asked_for() {
        let mut pages = Pages::default();
        pages.missing();
        pages.take_in(2, Bytes::new(), false, &RoundTrip::default(), Instant(1));
        pages.take_in(9, Bytes::new(), true, &RoundTrip::default(), Instant(1));
        assert_eq!(pages.missing(), [run(0, 2), run(3, 6)]);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut pages = Pages::default();
        pages.missing();
        let mut asked = vec![run(1, 15)];
        for _ in 0..1_000 {
            let come_now = asked.iter().flat_map(|run| run.first..run.first + u32::from(run.count));
            let without_the_first: Vec<u32> = come_now.filter(|page| *page > 0).collect();
            asked = come(&mut pages, without_the_first);
        }
        assert!(!pages.wants(AHEAD_MAX) && pages.held.len() < AHEAD_MAX as usize);
    }

    /// So many pages come on a way that takes so long, one in each millisecond.
    fn windows(window: &mut Window, way: &mut RoundTrip, millis: u64, count: u64) -> [u16; 2] {
        let (mut least, mut most) = (u16::MAX, 0);
        let begin = window.shrunk_at.unwrap_or_default();
        for number in 0..count {
            way.sample(MILLISECOND * u32::try_from(millis).unwrap());
            window.on_page(way, begin + MILLISECOND * u32::try_from(number).unwrap());
            (least, most) = (least.min(window.pages), most.max(window.pages));
        }
        [least, most]
    }

    #[test]
    fn a_window_grows_until_there_is_a_queue_and_then_shrinks() {
        let (mut window, mut way) = (Window::default(), RoundTrip::default());
        assert_eq!(windows(&mut window, &mut way, 20, 100), [WINDOW_FIRST + 1, WINDOW_MAX]);
        windows(&mut window, &mut way, 60, 1_000);
        assert_eq!(window.pages, WINDOW_MIN);
        let [_, most] = windows(&mut window, &mut way, 20, 40);
        assert!(most < WINDOW_FIRST, "it grows slowly from now on: {most}");
        assert_eq!(windows(&mut window, &mut way, 20, 1_000)[1], WINDOW_MAX);
    }

    #[test]
    fn a_moment_of_sleep_is_no_queue() {
        let (mut window, mut way) = (Window::default(), RoundTrip::default());
        windows(&mut window, &mut way, 1, 100);
        assert_eq!(windows(&mut window, &mut way, 20, 1), [WINDOW_MAX; 2]);
    }
}
