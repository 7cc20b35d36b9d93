//! Reading a file of which the disk does not return every page.
//!
//! docs/guarantees.md: "What a start cannot read is damage like any other". A file that cannot
//! be read as a whole is read page by page, and what is lost stands there as bytes that no
//! check takes for anything else. How much may be lost is bounded: a disk that returns little
//! of what it holds, or a cable that does, is no reason to write a journal anew without the
//! rest. An error may pass, as that of storage which the nodes share: so what cannot be read is
//! asked for again for a while, before the node does without it.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

/// What is read by itself: no smaller part of a file comes from the disk through the cache.
const PAGE_BYTES: usize = 4_096;
/// What stands where a page cannot be read. No sector of it is intact, and none passes for
/// one that was never written, as zeros would.
const LOST: u8 = 0xff;
/// The most pages of all files of a directory that may be lost: a quarter of a mebibyte.
const LOST_MAX: usize = 64;
/// How long is waited before pages that could not be read are read once more, in milliseconds:
/// for 2 s in all.
const PAUSES: [u64; 5] = [50, 150, 300, 500, 1_000];
/// For how many files of a directory that is done. An error that has outlasted so many waits
/// does not pass by the next one.
const PATIENT_FILES: usize = 4;

/// How many pages of a directory could not be read so far.
#[derive(Debug, Default)]
pub struct BadPages {
    lost: Cell<usize>,
    /// For how many files it was in vain to wait.
    waited_for: Cell<usize>,
}

impl BadPages {
    /// All bytes of the file at `path`, which the log calls `name`.
    ///
    /// # Errors
    /// The disk's, unless it is that of a few pages.
    pub fn read(&self, path: &Path, name: &str) -> io::Result<Vec<u8>> {
        let error = match std::fs::read(path) {
            Err(error) if is_unreadable(&error) => error,
            read => return read,
        };
        log::warn!("{name} cannot be read as a whole: {error}; it is read page by page");
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let read = |page: &mut [u8], offset| file.read_exact_at(page, offset);
        self.read_pages(name, length, read, thread::sleep)
    }

    /// So many bytes, each page by a call of `read`; again after each pause, where that fails.
    fn read_pages(
        &self,
        name: &str,
        length: u64,
        mut read: impl FnMut(&mut [u8], u64) -> io::Result<()>,
        mut pause: impl FnMut(Duration),
    ) -> io::Result<Vec<u8>> {
        let length = usize::try_from(length).map_err(|_| ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; length];
        let pages = bytes.chunks_mut(PAGE_BYTES).enumerate();
        let mut unread = Vec::new();
        for (number, page) in pages {
            let offset = (number * PAGE_BYTES) as u64;
            if let Some(error) = unreadable(read(page, offset))? {
                unread.push((offset, page, error));
                self.check(unread.len())?;
            }
        }
        for length in self.pauses(unread.len()) {
            if unread.is_empty() {
                break;
            }
            pause(Duration::from_millis(*length));
            let mut left = Vec::new();
            for (offset, page, _) in unread {
                if let Some(error) = unreadable(read(page, offset))? {
                    left.push((offset, page, error));
                }
            }
            unread = left;
        }
        for (offset, page, error) in unread {
            page.fill(LOST);
            let lost = page.len();
            self.lost.set(self.lost.get() + 1);
            log::warn!("{name}, byte {offset}: {lost} bytes cannot be read and are lost: {error}");
        }
        Ok(bytes)
    }

    /// How long to wait for a file of which so many pages cannot be read.
    fn pauses(&self, unread: usize) -> &'static [u64] {
        let is_patient = unread > 0 && self.waited_for.get() < PATIENT_FILES;
        if is_patient {
            self.waited_for.set(self.waited_for.get() + 1);
        }
        if is_patient { &PAUSES } else { &[] }
    }

    /// Refuses the directory when it lacks so many pages more than are known already, and that
    /// is too much.
    fn check(&self, more: usize) -> io::Result<()> {
        if self.lost.get() + more <= LOST_MAX {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "more than {LOST_MAX} pages of the directory cannot be read, so it is left \
             as it is: see to the disk, its cable and the system's log, then try again; if the \
             disk is lost and the other nodes are well, start the node on an empty directory of \
             another"
        )))
    }
}

/// The error, if it is that of a page that cannot be read.
fn unreadable(read: io::Result<()>) -> io::Result<Option<io::Error>> {
    match read {
        Ok(()) => Ok(None),
        Err(error) if is_unreadable(&error) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// Whether the disk does not return what was asked for, and may return the rest.
fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eio() -> io::Error {
        io::Error::from_raw_os_error(Errno::IO.raw_os_error())
    }

    /// Fills a page with its number from 1 on, unless `fails` says that it cannot be read.
    fn disk(mut fails: impl FnMut(u64) -> bool) -> impl FnMut(&mut [u8], u64) -> io::Result<()> {
        move |page, offset| {
            let number = offset / PAGE_BYTES as u64;
            page.fill(u8::try_from(number + 1).unwrap());
            if fails(number) { Err(eio()) } else { Ok(()) }
        }
    }

    fn read(
        pages: &BadPages,
        length: u64,
        fails: impl FnMut(u64) -> bool,
    ) -> (io::Result<Vec<u8>>, Duration) {
        let mut waited = Duration::ZERO;
        let bytes = pages.read_pages("a", length, disk(fails), |pause| waited += pause);
        (bytes, waited)
    }

    #[test]
    fn what_is_around_a_page_that_cannot_be_read_is_kept() {
        let (read, waited) = read(&BadPages::default(), 10_000, |page| page == 1);
        let read = read.unwrap();
        assert_eq!(waited, Duration::from_secs(2));
        assert_eq!(read.len(), 10_000);
        assert!(read[..4_096].iter().all(|byte| *byte == 1));
        assert!(read[4_096..8_192].iter().all(|byte| *byte == LOST));
        assert!(read[8_192..].iter().all(|byte| *byte == 3));
    }

    #[test]
    fn an_error_that_passes_costs_no_more_than_the_wait_for_that() {
        let pages = BadPages::default();
        let mut reads = 0;
        let (read, waited) = read(&pages, 5_000, |page| {
            reads += usize::from(page == 0);
            page == 0 && reads < 4
        });
        assert!(read.unwrap()[..4_096].iter().all(|byte| *byte == 1));
        assert_eq!((waited, pages.lost.get()), (Duration::from_millis(500), 0));
    }

    #[test]
    fn a_disk_of_many_bad_files_is_not_waited_for_again_and_again() {
        let pages = BadPages::default();
        let waits: Duration = (0..10).map(|_| read(&pages, 5_000, |page| page == 0).1).sum();
        assert_eq!(Duration::from_secs(8), waits);
    }

    #[test]
    fn a_disk_of_which_much_is_lost_is_refused_with_what_to_do() {
        let pages = BadPages::default();
        let of = |pages: usize| (pages * PAGE_BYTES) as u64;
        read(&pages, of(LOST_MAX - 1), |_| true).0.unwrap();
        read(&pages, of(2), |page| page == 1).0.unwrap();
        let error = read(&pages, of(1), |_| true).0.unwrap_err().to_string();
        assert!(error.contains("more than 64 pages of the directory"), "{error}");
        assert!(error.contains("cable"), "{error}");
    }

    #[test]
    fn another_error_is_none_of_the_disks() {
        let fails = |_: &mut [u8], _| Err(ErrorKind::PermissionDenied.into());
        let error = BadPages::default().read_pages("a", 1, fails, |_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let missing = BadPages::default().read(Path::new("/no/such/file"), "a").unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
