//! Reading a file of which the disk does not return every page.
//!
//! docs/guarantees.md: "What a start cannot read is damage like any other". A file that cannot
//! be read as a whole is read page by page, and what is lost stands there as bytes that no
//! check takes for anything else. How much may be lost is bounded: a disk that returns little
//! of what it holds, or a cable that does, is no reason to write a journal anew without the
//! rest and to remove what a better cable would still bring.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::io::Errno;

/// What is read by itself: no smaller part of a file comes from the disk through the cache.
const PAGE_BYTES: usize = 4_096;
/// What stands where a page cannot be read. No sector of it is intact, and none passes for
/// one that was never written, as zeros would.
const LOST: u8 = 0xff;
/// The most pages of all files of a directory that may be lost: a quarter of a mebibyte.
const LOST_MAX: usize = 64;

/// How many pages of a directory could not be read so far.
#[derive(Debug, Default)]
pub struct BadPages {
    lost: Cell<usize>,
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
        self.read_pages(name, length, |page, offset| file.read_exact_at(page, offset))
    }

    /// So many bytes, each page by a call of `read`.
    fn read_pages(
        &self,
        name: &str,
        length: u64,
        mut read: impl FnMut(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        let length = usize::try_from(length).map_err(|_| ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; length];
        for (number, page) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
            let offset = (number * PAGE_BYTES) as u64;
            // An error that passes, as a cable's may, is none.
            let error = match read(page, offset).or_else(|_| read(page, offset)) {
                Ok(()) => continue,
                Err(error) if is_unreadable(&error) => error,
                Err(error) => return Err(error),
            };
            self.count(&error)?;
            page.fill(LOST);
            let lost = page.len();
            log::warn!("{name}, byte {offset}: {lost} bytes cannot be read and are lost: {error}");
        }
        Ok(bytes)
    }

    fn count(&self, error: &io::Error) -> io::Result<()> {
        self.lost.set(self.lost.get() + 1);
        if self.lost.get() <= LOST_MAX {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "more than {LOST_MAX} pages of the directory cannot be read ({error}), so it is left \
             as it is: see to the disk, its cable and the system's log, then try again; if the \
             disk is lost and the other nodes are well, start the node on an empty directory of \
             another"
        )))
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

    #[test]
    fn what_is_around_a_page_that_cannot_be_read_is_kept() {
        let read = BadPages::default().read_pages("a", 10_000, disk(|page| page == 1)).unwrap();
        assert_eq!(read.len(), 10_000);
        assert!(read[..4_096].iter().all(|byte| *byte == 1));
        assert!(read[4_096..8_192].iter().all(|byte| *byte == LOST));
        assert!(read[8_192..].iter().all(|byte| *byte == 3));
    }

    #[test]
    fn a_page_that_is_read_at_the_second_time_is_not_lost() {
        let mut reads = 0;
        let at_first = disk(|page| {
            reads += usize::from(page == 0);
            page == 0 && reads == 1
        });
        let read = BadPages::default().read_pages("a", 5_000, at_first).unwrap();
        assert!(read[..4_096].iter().all(|byte| *byte == 1));
    }

    #[test]
    fn a_disk_of_which_much_is_lost_is_refused_with_what_to_do() {
        let pages = BadPages::default();
        let of = |pages: usize| (pages * PAGE_BYTES) as u64;
        pages.read_pages("a", of(LOST_MAX - 1), disk(|_| true)).unwrap();
        pages.read_pages("b", of(2), disk(|page| page == 1)).unwrap();
        let error = pages.read_pages("c", of(1), disk(|_| true)).unwrap_err().to_string();
        assert!(error.contains("more than 64 pages of the directory"), "{error}");
        assert!(error.contains("cable"), "{error}");
    }

    #[test]
    fn another_error_is_none_of_the_disks() {
        let fails = |_: &mut [u8], _| Err(ErrorKind::PermissionDenied.into());
        let error = BadPages::default().read_pages("a", 1, fails).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let missing = BadPages::default().read(Path::new("/no/such/file"), "a").unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
