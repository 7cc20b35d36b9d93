//! What stands where no record is: behind the journal's end, and behind the last batch of
//! each segment before.
//!
//! A synced batch is followed by its marker, so one bad sector at the journal's end cannot
//! have been a batch that was acknowledged: that would be two. But where the file itself
//! ends, any number of sectors may be gone.

use super::image::Image;
use super::names::{self, JOURNAL};
use super::scan::{Flaw, Harm, describe};
use super::sector::{Kind, Sector};
use super::writer::offset_of;

/// What is wrong behind the batches. The journal's last batch ends before the sector `end`
/// of the segment `last_used`; `is_torn` when it does because the next one was torn.
pub(super) fn flaws(images: &[Image], last_used: usize, end: usize, is_torn: bool) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for image in &images[..last_used] {
        flaws.extend(behind_sealed(image));
    }
    let last = &images[last_used];
    // What can be read there is a marker, or a part of the torn batch.
    let marker = match last.sectors.get(end) {
        Some(Sector::Valid(stamp, _)) => Some(stamp.kind),
        _ => None,
    };
    let is_ended = is_torn || marker.is_some();
    let harm = if is_ended { Harm::Nothing } else { harm_at_end(last, end) };
    flaws.extend(behind(last, end, harm));

    let above = &images[last_used + 1..];
    let goes_on = marker == Some(Kind::Continued);
    if goes_on && above.is_empty() {
        let name = names::segment(JOURNAL, last.number + 1);
        flaws.push(Flaw { name, offset: 0, what: "the file is missing", harm: Harm::TheEnd });
    }
    for (place, image) in above.iter().enumerate() {
        let may_be_used = place == 0 && (goes_on || !is_ended);
        let harm = if may_be_used || !image.exists { harm_at_end(image, 0) } else { Harm::Nothing };
        flaws.extend(behind(image, 0, harm));
    }
    flaws
}

/// What is wrong behind the last batch of a segment that another follows.
pub(super) fn behind_sealed(image: &Image) -> Vec<Flaw> {
    let end = image.end_of_batches();
    let mut flaws = behind(image, end, Harm::Nothing);
    if !matches!(image.sectors.get(end), Some(Sector::Valid(..))) {
        let what = "the mark is missing that the next file goes on from here";
        flaws.push(flaw(image, end, what, Harm::Nothing));
    }
    flaws
}

/// What may be lost from the sector on where the next batch would begin. That one alone may be
/// bad: so is a marker that was lost, or the beginning of a torn batch. But if the one behind it
/// is damaged as well, these may have been a batch and its marker; and a file that is too short
/// may have lost any number of them, whatever has become of those before its end.
fn harm_at_end(image: &Image, at: usize) -> Harm {
    match image.sectors.get(at..) {
        Some([.., Sector::Missing] | [_, Sector::Damaged, ..]) => Harm::TheEnd,
        _ => Harm::Nothing,
    }
}

/// The sectors from `from` on that cannot be read; of those that the file lacks only the
/// first. `harm` is what is lost with all of them, and told with the first.
fn behind(image: &Image, from: usize, harm: Harm) -> Vec<Flaw> {
    let mut flaws: Vec<Flaw> = Vec::new();
    for (at, sector) in image.sectors.iter().enumerate().skip(from) {
        let harm = if flaws.is_empty() { harm } else { Harm::Nothing };
        match sector {
            Sector::Damaged => flaws.push(flaw(image, at, describe(sector), harm)),
            Sector::Missing => {
                flaws.push(flaw(image, at, describe(sector), harm));
                break;
            }
            Sector::Valid(..) | Sector::Blank | Sector::Older => {}
        }
    }
    flaws
}

fn flaw(image: &Image, at: usize, what: &'static str, harm: Harm) -> Flaw {
    Flaw { name: image.name.clone(), offset: offset_of(at), what, harm }
}
